"""Look of a painted video: style, colours and texts."""

from dataclasses import dataclass
from numbers import Real

from avsegcli.errors import ConfigError
from avsegcli.render.colors import Palette, check_colours, class_colours
from avsegcli.render.overlay import Painter
from avsegcli.render.styles import STYLES


@dataclass(frozen=True)
class Look:
    """Look of painted videos.

    Raises:
        ConfigError: if a value is out of its range.
    """

    style: str = "overlay"  # one of `STYLES`
    alpha: float = 0.5  # opacity of masks, in [0, 1]
    palette: Palette = ()
    legend: bool = True  # list the sounding classes in a corner
    labels: bool = True  # write the class beside each mask

    def __post_init__(self) -> None:
        if not (isinstance(self.alpha, Real) and 0 <= self.alpha <= 1):
            raise ConfigError(f"alpha must be from 0 to 1, not {self.alpha!r}")
        check_colours(self.palette)
        if self.style not in STYLES:
            raise ConfigError(f"no style is called '{self.style}'", f"One of {', '.join(STYLES)}.")

    def painter(
        self, classes: tuple[str, ...], width: int, height: int, *, colorspace: int
    ) -> Painter:
        """Make the painter of one video.

        Args:
            classes: names; index 0 is the background.
            width: of the frames, in pixels.
            height: of the frames, in pixels.
            colorspace: FFmpeg's number of the video's YUV matrix.
        """
        return STYLES[self.style](
            classes,
            width,
            height,
            colorspace=colorspace,
            alpha=self.alpha,
            palette=class_colours(self.palette, classes),
            legend=self.legend,
            labels=self.labels,
        )
