"""Encoder of a painted video: choice, options, and a check that it works here."""

import re
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from itertools import product
from pathlib import Path
from typing import Any

import av

from avsegcli.errors import ConfigError, MediaError
from avsegcli.video.containers import CONTAINERS, container_of
from avsegcli.video.reader import VideoReader

NAMED_PRESETS = (  # of x264 and x265
    *("ultrafast", "superfast", "veryfast", "faster", "fast"),
    *("medium", "slow", "slower", "veryslow", "placebo"),
)
FRAMES = "yuv420p"  # what frames are painted in


@dataclass(frozen=True)
class Encoding:
    """Encoding of the painted video; None: as its suffix says."""

    codec: str | None = None
    crf: int | None = None
    preset: str | None = None

    def encoder(self, output: Path) -> tuple[str, dict[str, str]]:
        """Return FFmpeg's name of the encoder and its options.

        Raises:
            ConfigError: if FFmpeg has no such encoder.
        """
        usual, defaults = container_of(output).video
        codec = _video_encoder(self.codec or usual).name
        options = dict(defaults) if codec == usual else {}
        if self.crf is not None:
            options[_quality_option(codec)] = str(self.crf)
        if self.preset is not None:
            options["cpu-used" if "vp" in codec or "aom" in codec else "preset"] = self.preset
        if codec == "libx265":
            options["x265-params"] = "log-level=none"  # else it tells all about itself
        return codec, options

    def check(self, output: Path | None) -> None:
        """Raise a `ConfigError` if the encoder is not there, refuses its options or has no use."""
        if self == Encoding():
            return
        if output is None or output.suffix.lower() == ".gif":
            raise ConfigError(
                "a codec, crf or preset is given, but no painted video that is encoded so",
                f"Give -o a name that ends in one of {', '.join(CONTAINERS)}.",
            )
        codec, _ = self.encoder(output)
        if codec in ("libx264", "libx265") and self.preset not in (None, *NAMED_PRESETS):
            raise self._refused(codec)
        self.fit(output)
        with av.open(BytesIO(), "w", format=container_of(output).muxer) as file:
            try:
                file.add_stream(codec)
            except ValueError as error:
                raise ConfigError(
                    f"no {output.suffix} file holds what {codec} encodes",
                    "Choose another encoder, or another suffix.",
                ) from error

    def fit(
        self, output: Path, video: VideoReader | None = None, *, odd: bool = False
    ) -> tuple[str | None, Fraction | None]:
        """Try the encoder.

        Args:
            output: the file to be.
            video: that the frames come from; None: any.
            odd: the size is, and asks for full chroma.

        Returns:
            The format of pixels that it takes; None: that of the frames. And the unit of its time
            stamps, in seconds; None: that of the video.

        Raises:
            ConfigError: if it does not work.
            MediaError: if it does not with this video.
        """
        if self == Encoding():
            return None, None
        codec, options = self.encoder(output)
        formats = _pixel_formats(codec, odd)
        rate = video.rate if video else Fraction(25)
        time_base = video.time_base if video else 1 / rate
        refused: Exception | None = None
        for unit, pix_fmt in product((time_base, 1 / rate), formats):  # some know no fine units
            context: Any = av.CodecContext.create(codec, "w")
            context.width, context.height = 256, 256
            context.pix_fmt = pix_fmt
            context.framerate, context.time_base = rate, unit
            context.options = options
            try:
                context.open()
            except av.FFmpegError as error:
                refused = refused or error
            else:
                self._refuse_idle(codec, context.options)
                return None if pix_fmt == FRAMES else pix_fmt, None if unit == time_base else unit
        if video is None:
            raise self._refused(codec) from refused
        raise MediaError(
            f"the encoder {codec} does not take {video.path}, of {float(video.rate):g} frames a "
            "second",
            "Choose another encoder.",
        ) from refused

    def _refuse_idle(self, codec: str, unknown: dict[str, str]) -> None:
        """Raise if an encoder that has been opened left an option of the user's alone."""
        for name, given in (("crf", self.crf), ("preset", self.preset)):
            if given is not None and str(given) in unknown.values():
                raise ConfigError(f"the encoder {codec} knows no {name}", f"Leave --{name} out.")

    def _refused(self, codec: str) -> ConfigError:
        given = {"crf": self.crf, "preset": self.preset}
        said = ", ".join(f"{key} {value}" for key, value in given.items() if value is not None)
        where = f"with: {said}" if said else "on this machine"
        hint = f"`ffmpeg -h encoder={codec}` lists what it takes."
        if self.preset is not None and codec in ("libx264", "libx265"):
            hint = f"Presets are {', '.join(NAMED_PRESETS)}."
        elif self.preset is not None and codec.startswith("lib"):
            hint = "Presets are whole numbers, larger ones faster."
        return ConfigError(f"the encoder {codec} does not work {where}", hint)


def _video_encoder(name: str) -> av.Codec:
    """Return the encoder of a name, or FFmpeg's first of a codec: libx264 for h264."""
    try:
        encoder = av.Codec(name, "w")
    except ValueError:
        encoder = None
    if encoder is None or encoder.type != "video":
        raise ConfigError(
            f"no video encoder is called '{name}' here",
            "For example libx264, libx265, libsvtav1, libvpx-vp9, h264_nvenc.",
        )
    return encoder


def _pixel_formats(codec: str, odd: bool) -> list[str]:
    """Return the formats of pixels of an encoder that frames can be turned into, best first."""
    encoder = av.Codec(codec, "w")
    known = [known.name for known in encoder.video_formats or ()] or [FRAMES]
    usable = [name for name in known if re.match(r"yuvj?4|nv12", name)]
    if not usable:
        raise ConfigError(
            f"the encoder {codec} takes no YUV frames, only {', '.join(known)}",
            "For example libx264, libx265, prores_ks or ffv1 do.",
        )
    return sorted(usable, key=lambda name: (name != FRAMES, odd and "444" not in name))


def _quality_option(codec: str) -> str:
    for ending, option in (("_nvenc", "cq"), ("_qsv", "global_quality"), ("_videotoolbox", "q")):
        if codec.endswith(ending):
            return option
    return "crf"
