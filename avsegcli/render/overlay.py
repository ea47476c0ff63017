"""Paint masks, class names and a legend on frames, straight on their YUV planes."""

from collections.abc import Sequence
from functools import cached_property, lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from avsegcli.inference.masks import Box, Masks, Region
from avsegcli.render.colors import Colour, class_colours
from avsegcli.render.text import RenderedText, YuvColours, draw_label, draw_legend
from avsegcli.video.reader import copy_of, planes_of

TEXT_SHARE = 0.0195  # height of a capital letter, of the shorter side of the frame, ...
TEXT_PIXELS = 7  # ... but at least this
OUTLINE_SHARE = 1 / 280  # thickness of outlines, of the shorter side of the frame
OUTLINE_STEP = 4  # of an outline every so many pixels become a point of the line drawn, ...
OUTLINE_STEP_SHARE = 1 / 90  # ... or this part of the shorter side of the frame, if it is more
SUBPIXEL_BITS = 4
LABEL_INERTIA = 0.75  # of a label's place in the last frame
LABEL_JUMP = 0.15  # of the shorter side; farther than this it does not glide
MOST_COVERED = 0.25  # of the frame by one text; what would cover more of a tiny one is left out


class Painter:
    """Paints what sounds on the frames of one video, in order.

    Each class has its own colour: a translucent fill, an outline, a label with its name above
    the largest piece. A legend in the corner lists what sounds in the frame. Labels glide from
    frame to frame, hence the order.

    Args:
        classes: names; index 0 is the background.
        width: of the frames, in pixels.
        height: of the frames, in pixels.
        colorspace: FFmpeg's number of the video's YUV matrix.
        alpha: opacity of the fill in [0, 1]; 0 leaves outlines and names only.
        palette: RGB colours of the classes, from index 1 on; the rest take the built-in ones.
        legend: list the sounding classes in a corner.
        labels: write the class beside each mask.
    """

    wide = 1  # times the width of the video: that of painted frames

    def __init__(
        self,
        classes: tuple[str, ...],
        width: int,
        height: int,
        *,
        colorspace: int = 2,
        alpha: float = 0.5,
        palette: Sequence[Colour] = (),
        legend: bool = True,
        labels: bool = True,
    ) -> None:
        self.classes = classes
        self.colours = class_colours(palette)
        self._with_legend = legend
        self._with_labels = labels
        self.width = width
        self.height = height
        self.alpha = alpha
        self._to_yuv = YuvColours(colorspace, height)
        shorter = min(width, height)
        self._capital = max(TEXT_PIXELS, round(TEXT_SHARE * shorter))  # pixels
        self._thickness = max(1, round(OUTLINE_SHARE * shorter))
        self._step = max(OUTLINE_STEP, round(OUTLINE_STEP_SHARE * shorter))
        self._margin = round(self._capital * 4 / 3) & ~1
        self._label = lru_cache(maxsize=256)(self._make_label)
        self._legend = lru_cache(maxsize=64)(self._make_legend)
        self._pixel_grid: dict[int, tuple[float, float]] = {}  # of the labels in the last frame

    @cached_property
    def _tables(self) -> list[NDArray[np.uint8]]:
        """Y, U and V of the class indices, each ``(256,)``."""
        colours = [(0, 0, 0), *self.colours]
        yuv = (self._to_yuv(np.array(colours)) + 0.5).astype(np.uint8)
        return list(np.ascontiguousarray(yuv.T))

    def paint(self, frame: Any, masks: Masks) -> Any:
        """Paint one frame.

        Args:
            frame: yuv420p; it is not drawn on.
            masks: what sounds where in it.

        Returns:
            A painted copy; the frame itself if nothing sounds in it.
        """
        if not masks.regions:
            self._pixel_grid.clear()
            return frame
        painted = copy_of(frame)
        planes = planes_of(painted)
        for region in masks.regions:
            self._fill(planes, region)
            self._outline(planes, region)
        self.write_texts(planes, masks)
        return painted

    def write_texts(self, planes: list[NDArray[np.uint8]], masks: Masks) -> None:
        """Draw the legend and the labels on the planes of a frame, as far as they are wanted."""
        if not masks.regions:
            self._pixel_grid.clear()
            return
        legend = self._legend(tuple(region.class_index for region in masks.regions))
        taken = []
        if self._with_legend and self._fits(legend):
            taken.append(self._put(planes, legend, self._margin, self._margin))
        places = self._glide(masks.regions)
        for region in masks.regions:
            label = self._label(region.class_index)
            if self._with_labels and self._fits(label):
                place = self._free_place(label, places[region.class_index], taken)
                if place is not None:
                    taken.append(self._put(planes, label, *place))

    def _fill(self, planes: list[NDArray[np.uint8]], region: Region) -> None:
        luma = np.ascontiguousarray(region.mask).view(np.uint8)
        chroma = np.ascontiguousarray(luma[::2, ::2])
        masks = luma, chroma, chroma
        for plane, mask, table in zip(planes, masks, self._tables, strict=True):
            step = 1 if mask is luma else 2
            height, width = mask.shape
            window = plane[region.box.top // step :, region.box.left // step :][:height, :width]
            colour = float(table[region.class_index])
            filled = cv2.convertScaleAbs(window, alpha=1 - self.alpha, beta=self.alpha * colour)
            cv2.copyTo(filled, mask, window)

    def _outline(self, planes: list[NDArray[np.uint8]], region: Region) -> None:
        lines = [_smooth(outline, self._step) for outline in region.outlines]
        for index, (plane, table) in enumerate(zip(planes, self._tables, strict=True)):
            step = 1 if index == 0 else 2
            cv2.polylines(
                plane,
                [np.rint(line / step * (1 << SUBPIXEL_BITS)).astype(np.int32) for line in lines],
                isClosed=True,
                color=int(table[region.class_index]),
                thickness=max(1, self._thickness // step),
                lineType=cv2.LINE_AA if index == 0 else cv2.LINE_8,  # eyes see it in luma only
                shift=SUBPIXEL_BITS,
            )

    def _glide(self, regions: list[Region]) -> dict[int, tuple[float, float]]:
        """Return where the middle of the lower edge of each class's label wants to be."""
        jump = LABEL_JUMP * min(self.width, self.height)
        places = {}
        for region in regions:
            x, y = region.centre[0], float(region.largest.top)
            before = self._pixel_grid.get(region.class_index)
            if before is not None and max(abs(before[0] - x), abs(before[1] - y)) < jump:
                x += LABEL_INERTIA * (before[0] - x)
                y += LABEL_INERTIA * (before[1] - y)
            places[region.class_index] = x, y
        self._pixel_grid = places
        return places

    def _free_place(
        self, text_image: RenderedText, foot: tuple[float, float], taken: list[Box]
    ) -> tuple[int, int] | None:
        """Return the corner of a label near `foot`, inside the frame; None if texts fill it.

        It moves down past the other texts, or up where there is no room below.
        """
        left = round(foot[0] - text_image.width / 2)
        left = max(0, min(left, self.width - text_image.width)) & ~1
        lowest = (self.height - text_image.height) & ~1
        wanted = round(foot[1] - text_image.height - 2 * self._thickness)
        wanted = max(0, min(wanted, lowest)) & ~1
        for down in (True, False):
            top = wanted
            for _ in range(len(taken) + 1):
                box = Box(left, top, left + text_image.width, top + text_image.height)
                other = next((other for other in taken if box.overlap(other)), None)
                if other is None:
                    return left, top
                above, below = other.top - text_image.height - 2, other.bottom + 2
                top = min(below, lowest) if down else max(above, 0)
        return None

    def _fits(self, text_image: RenderedText) -> bool:
        return (
            text_image.width + self._margin <= self.width
            and text_image.height + self._margin <= self.height
            and text_image.width * text_image.height <= MOST_COVERED * self.width * self.height
        )

    def _put(
        self, planes: list[NDArray[np.uint8]], text_image: RenderedText, left: int, top: int
    ) -> Box:
        text_image.put(planes, left, top)
        return Box(left, top, left + text_image.width, top + text_image.height)

    def _make_label(self, class_index: int) -> RenderedText:
        name, colour = self.classes[class_index], self.colours[class_index - 1]
        return draw_label(name, colour, self._capital, self._to_yuv)

    def _make_legend(self, class_indices: tuple[int, ...]) -> RenderedText:
        names = [self.classes[index] for index in class_indices]
        colours = [self.colours[index - 1] for index in class_indices]
        return draw_legend(names, colours, self._capital, self._to_yuv)


def _smooth(outline: NDArray[np.int32], step: int) -> NDArray[np.float32]:
    """Thin out and smooth a closed line of pixels, ``(P, 1, 2)``, to every `step`-th point."""
    if len(outline) < 6 * step:
        return outline.astype(np.float32)
    points = outline[::step].astype(np.float32)
    around = np.roll(points, 1, axis=0) + np.roll(points, -1, axis=0)
    return np.asarray((around + 2 * points) / 4, np.float32)
