"""Ways to show what sounds in a frame; `overlay.py` is the first of them."""

from abc import ABC, abstractmethod
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from avsegcli.inference.masks import Box, Masks
from avsegcli.render.overlay import Painter
from avsegcli.video.reader import copy_of, planes_of

DIMMED = 0.28  # of the brightness that is left of what does not sound
FADED = 0.35  # of its colour
BLUR_SHARE = 1 / 18  # of the shorter side of the frame
FEATHER_SHARE = 1 / 240  # of the shorter side; softness of the edges
PLAIN = (24, 128, 128)  # Y, U, V behind what is cut out

Planes = list[NDArray[np.uint8]]


class _Staged(Painter, ABC):
    """Leaves what sounds as it is, and puts something else in place of the rest."""

    def paint(self, frame: Any, masks: Masks) -> Any:
        """Paint one frame; see `Painter.paint`. Also frames in which nothing sounds."""
        staged = copy_of(frame)
        planes = planes_of(staged)
        self._stage(planes)
        if masks.regions:
            self._restore(planes, planes_of(frame), masks)
        self.write_texts(planes, masks)
        return staged

    def _restore(self, planes: Planes, originals: Planes, masks: Masks) -> None:
        """Put what sounds back, softly at its edges, within the box around all of it."""
        soft = 2 * round(FEATHER_SHARE * min(self.width, self.height)) + 1
        boxes = [region.box for region in masks.regions]
        box = Box(
            max(0, min(box.left for box in boxes) - soft) & ~1,
            max(0, min(box.top for box in boxes) - soft) & ~1,
            min(self.width, max(box.right for box in boxes) + soft),
            min(self.height, max(box.bottom for box in boxes) + soft),
        )
        sounding = (masks.labels()[box.slices] > 0).astype(np.float32)
        sounding = np.asarray(cv2.blur(sounding, (soft, soft)), np.float32)
        for index, (plane, original) in enumerate(zip(planes, originals, strict=True)):
            step = 1 if index == 0 else 2
            top, left = box.top // step, box.left // step
            window = plane[top : -(-box.bottom // step), left : -(-box.right // step)]
            height, width = window.shape
            weight = cv2.resize(sounding, (width, height), interpolation=cv2.INTER_AREA)
            kept = original[top:, left:][:height, :width]
            window[:] = cv2.blendLinear(kept, window, weight, 1 - weight)

    @abstractmethod
    def _stage(self, planes: Planes) -> None:
        """Change the whole frame into what is around the things that sound."""


class Spotlight(_Staged):
    """Everything else is dim and pale."""

    def _stage(self, planes: Planes) -> None:
        for plane, (share, ground) in zip(
            planes, ((DIMMED, 16), (FADED, 128), (FADED, 128)), strict=True
        ):
            plane[:] = cv2.convertScaleAbs(plane, alpha=share, beta=(1 - share) * ground)


class Cutout(_Staged):
    """Everything else is a plain dark ground."""

    def _stage(self, planes: Planes) -> None:
        for plane, ground in zip(planes, PLAIN, strict=True):
            plane[:] = ground


class BlurOthers(_Staged):
    """Everything else is out of focus."""

    def _stage(self, planes: Planes) -> None:
        radius = BLUR_SHARE * min(self.width, self.height)
        for index, plane in enumerate(planes):
            size = 2 * max(1, round(radius / (1 if index == 0 else 2))) + 1
            once = cv2.blur(plane, (size, size))  # twice: without the corners of a box
            plane[:] = cv2.blur(once, (size, size))


class Outline(Painter):
    """The outlines only."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **{**options, "alpha": 0.0})


class SideBySide(Painter):
    """The frame as it is, and painted beside it."""

    wide = 2

    def paint(self, frame: Any, masks: Masks) -> Any:
        """Paint one frame; see `Painter.paint`. The result is twice as wide."""
        painted = super().paint(frame, masks)
        both = av.VideoFrame(2 * frame.width, frame.height, "yuv420p")
        for plane, left, right in zip(
            planes_of(both), planes_of(frame), planes_of(painted), strict=True
        ):
            plane[:, : left.shape[1]] = left
            plane[:, plane.shape[1] - right.shape[1] :] = right
        both.pts, both.time_base, both.duration = frame.pts, frame.time_base, frame.duration
        both.colorspace, both.color_range = frame.colorspace, frame.color_range
        return both


STYLES: dict[str, type[Painter]] = {
    "overlay": Painter,
    "outline": Outline,
    "spotlight": Spotlight,
    "cutout": Cutout,
    "side-by-side": SideBySide,
    "blur-others": BlurOthers,
}
