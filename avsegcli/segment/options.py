"""Options of `avseg segment` and `Segmenter`."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral, Real
from pathlib import Path
from typing import TypedDict

from avsegcli.errors import ConfigError
from avsegcli.render.colors import Palette, parse_palette
from avsegcli.render.look import Look
from avsegcli.video.codecs import Encoding
from avsegcli.video.reader import SoundTrack
from avsegcli.video.span import Span

Time = float | str  # seconds, or as FFmpeg takes times: "1:30"


@dataclass(frozen=True)
class SegmentOptions:
    """Options of the segmentation of a video, validated when they are made.

    Attributes:
        fps: analysed frames a second; of a video with fewer, all are.
        threshold: probability above which a pixel counts, in (0, 1); None: the predictor's.
        audio: a file whose sound is taken instead of the video's own.
        audio_stream: which sound stream of the file, from 1 on; None: its default one.
        start: where to begin, in seconds or as FFmpeg takes times ("1:30"); all times of the
            results count from there.
        end: where to end, likewise.
        deinterlace: make one picture of the two half pictures of interlaced video.
        style: of painted videos, one of `avsegcli.render.styles.STYLES`.
        alpha: opacity of the masks in [0, 1].
        palette: RGB colours of the classes, by their names or from index 1 on, also as
            `parse_palette` reads them; the rest take the built-in ones.
        legend: list the sounding classes in a corner.
        labels: write the class beside each mask.
        codec: FFmpeg's name of the encoder of the painted video; None: that of its suffix.
        crf: quality of the encoder, lower is better; None: a good one.
        preset: of the encoder; None: a fast one.
        every_frame: masks of every frame of the video, not of the analysed ones only.

    Raises:
        ConfigError: if a value is out of its range.

    Example:
        >>> SegmentOptions(start="1:30", style="spotlight").span.start
        Fraction(90, 1)
    """

    fps: float = 4.0
    threshold: float | None = None
    audio: str | Path | None = None
    audio_stream: int | None = None
    start: Time | None = None
    end: Time | None = None
    deinterlace: bool = True
    style: str = "overlay"
    alpha: float = 0.5
    palette: str | Palette = ()
    legend: bool = True
    labels: bool = True
    codec: str | None = None
    crf: int | None = None
    preset: str | None = None
    every_frame: bool = False

    def __post_init__(self) -> None:
        fps, threshold, stream = self.fps, self.threshold, self.audio_stream
        if not (isinstance(fps, Real) and 0 < fps < math.inf):
            raise ConfigError(f"fps must be a number above 0, not {fps!r}")
        if threshold is not None and not (isinstance(threshold, Real) and 0 < threshold < 1):
            raise ConfigError(f"threshold must be above 0 and below 1, not {threshold!r}")
        if not (stream is None or isinstance(stream, Integral)):
            raise ConfigError(f"audio_stream must be a whole number, not {stream!r}")
        _ = self.span, self.look  # validate themselves

    @cached_property
    def span(self) -> Span:
        """The part of the video that is asked for."""
        return Span.of(self.start, self.end)

    @cached_property
    def look(self) -> Look:
        """Style, colours and texts of the painted video."""
        palette = parse_palette(self.palette) if isinstance(self.palette, str) else self.palette
        palette = palette if isinstance(palette, Mapping) else tuple(palette)
        return Look(self.style, self.alpha, palette, self.legend, self.labels)

    @cached_property
    def encoding(self) -> Encoding:
        """Encoder of the painted video."""
        return Encoding(self.codec, self.crf, self.preset)

    def sound_of(self, video: Path) -> SoundTrack:
        """Return the sound that goes with a video, and the part of both that is asked for."""
        return SoundTrack(Path(self.audio or video), self.audio_stream, self.span)


class OptionArguments(TypedDict, total=False):
    """The fields of `SegmentOptions` as keyword arguments."""

    fps: float
    threshold: float | None
    audio: str | Path | None
    audio_stream: int | None
    start: Time | None
    end: Time | None
    deinterlace: bool
    style: str
    alpha: float
    palette: str | Palette
    legend: bool
    labels: bool
    codec: str | None
    crf: int | None
    preset: str | None
    every_frame: bool
