"""Videos with transparency: what sounds, cut out of its surroundings."""

from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from avsegcli.errors import MediaError
from avsegcli.inference.masks import Masks
from avsegcli.video.reader import SoundTrack, VideoReader, planes_of
from avsegcli.video.writer import VideoWriter

# Suffix to encoder, its options, pixel format.
ENCODERS: dict[str, tuple[str, dict[str, str], str]] = {
    ".mov": ("prores_ks", {"profile": "4444", "alpha_bits": "8", "vendor": "apl0"}, "yuva444p10le"),
    ".webm": (
        "libvpx-vp9",
        {"crf": "28", "b": "0", "deadline": "realtime", "cpu-used": "7", "auto-alt-ref": "0"},
        "yuva420p",
    ),
}
SOFT_EDGE = 3  # pixels over which opacity rises


def check_alpha(path: Path) -> None:
    """Make sure that a format with transparency is known by the suffix.

    Raises:
        MediaError: if none is.
    """
    if path.suffix.lower() not in ENCODERS:
        raise MediaError(
            f"cannot write {path}: no video with transparency is known by its suffix",
            f"Use one of {', '.join(ENCODERS)}.",
        )


class AlphaWriter(VideoWriter):
    """Writes frames that are opaque where something sounds; otherwise as `VideoWriter`."""

    def __init__(
        self, path: Path, video: VideoReader, sound: SoundTrack, *, name: Path | None = None
    ) -> None:
        codec, options, pix_fmt = ENCODERS[path.suffix.lower()]
        super().__init__(path, video, sound, name=name, encoder=(codec, options), pix_fmt=pix_fmt)

    def add(self, frame: Any, masks: Masks) -> None:
        """Append one yuv420p frame with its masks."""
        self.write(with_alpha(frame, masks))


def with_alpha(frame: Any, masks: Masks) -> Any:
    """Copy a yuv420p frame to yuva420p, opaque where something sounds, softly at the edges."""
    cut = av.VideoFrame(frame.width, frame.height, "yuva420p")
    *planes, alpha = planes_of(cut)
    for source, target in zip(planes_of(frame), planes, strict=True):
        target[:] = source
    opaque = (masks.labels() > 0).astype(np.uint8) * np.uint8(255)
    alpha[:] = cv2.blur(opaque, (SOFT_EDGE, SOFT_EDGE))
    cut.pts, cut.time_base, cut.duration = frame.pts, frame.time_base, frame.duration
    cut.colorspace, cut.color_range = frame.colorspace, frame.color_range
    return cut
