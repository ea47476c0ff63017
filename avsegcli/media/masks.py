"""Class probabilities at the resolution of the network to masks at the size of the video."""

import math
from functools import lru_cache
from typing import NamedTuple, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

Scalar = TypeVar("Scalar", bound=np.generic)

SPECK = 0.001  # of the frame; smaller pieces of mask are dropped
SPLINE_REACH = 2  # cells of the coarse grid that a fine pixel depends on, to either side


class Box(NamedTuple):
    """A rectangle in pixels; right and bottom lie outside it."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self.bottom - self.top, self.right - self.left

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns, to cut the box out of a plane."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def within(self, outer: "Box") -> "Box":
        """Return the same box, counted from the corner of another."""
        x, y = outer.left, outer.top
        return Box(self.left - x, self.top - y, self.right - x, self.bottom - y)


class Region(NamedTuple):
    """Where one class sounds in a frame."""

    class_index: int
    area: int  # pixels
    score: float  # mean probability of the class where it reaches the threshold, in [0, 1]
    box: Box  # of its largest connected piece
    centre: tuple[float, float]  # x, y of that piece, in pixels
    outlines: list[NDArray[np.int32]]  # closed lines around pieces and holes, (P, 1, 2) x, y


class Masks(NamedTuple):
    """Which class sounds at each pixel of a frame."""

    width: int  # of the frame
    height: int
    box: Box  # outside it nothing sounds; left and top are even
    labels: NDArray[np.uint8]  # (box height, box width): class index, 0 background
    regions: list[Region]  # one for each class that sounds, rising class index

    def full(self) -> NDArray[np.uint8]:
        """Return the class of every pixel of the frame, ``(H, W)``."""
        labels = np.zeros((self.height, self.width), np.uint8)
        labels[self.box.slices] = self.labels
        return labels


@lru_cache(maxsize=8)
def interpolation(coarse: int, fine: int) -> NDArray[np.float32]:
    """Compute the weights that resample a line of `coarse` cells to `fine` pixels.

    Catmull-Rom splines: they pass through the cells' values as linear interpolation does, but
    the outline of a thresholded mask comes out round instead of with a corner in every cell.

    Returns:
        ``(fine, coarse)``; each row sums to 1. The outer cells are repeated beyond the border.

    Example:
        >>> interpolation(3, 6)[2].tolist()  # beside the middle of cell 1
        [0.203125, 0.8671875, -0.0703125]
    """
    place = (np.arange(fine) + 0.5) * coarse / fine - 0.5  # in cells
    cell = np.floor(place).astype(int)
    weights = np.zeros((fine, coarse), np.float32)
    for offset in range(1 - SPLINE_REACH, SPLINE_REACH + 1):
        distance = np.abs(place - cell - offset)
        weight = np.where(
            distance < 1,
            1.5 * distance**3 - 2.5 * distance**2 + 1,
            -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2,
        )
        np.add.at(weights, (np.arange(fine), np.clip(cell + offset, 0, coarse - 1)), weight)
    return weights


class MaskFinder:
    """Finds the masks of what sounds in the frames of one video.

    The probabilities are resampled to the size of the frame within the box where something may
    reach the threshold. A pixel belongs to its most probable class if that probability is at
    least `threshold`. Connected pieces under 0.1 % of the frame are dropped.

    Not to be shared by threads: it holds the memory that it works in.

    Args:
        width: of the frames, in pixels.
        height: of the frames, in pixels.
        threshold: in (0, 1].

    Example:
        >>> probs = np.zeros((2, 8, 8), np.float32)
        >>> probs[1, 2:6, 2:6] = 1.0
        >>> masks = MaskFinder(64, 64)(probs)
        >>> masks.regions[0].class_index, masks.regions[0].box
        (1, Box(left=16, top=16, right=48, bottom=48))
    """

    def __init__(self, width: int, height: int, threshold: float = 0.5) -> None:
        self.width = width
        self.height = height
        self.threshold = threshold
        # Fresh pages for arrays of this size would cost more than the arithmetic.
        self._fine = np.empty(width * height, np.float32)
        self._best = np.empty(width * height, np.float32)
        self._wins = np.empty(width * height, np.bool_)

    def __call__(self, probs: NDArray[np.float32]) -> Masks:
        """Find the masks of one frame.

        Args:
            probs: class probabilities, ``(L + 1, h, w)`` in [0, 1]; index 0, the background,
                is not looked at.
        """
        width, height, threshold = self.width, self.height, self.threshold
        classes = [int(c) + 1 for c in np.flatnonzero(probs[1:].max(axis=(1, 2)) >= threshold)]
        if not classes:
            return Masks(width, height, Box(0, 0, 0, 0), np.zeros((0, 0), np.uint8), [])
        boxes = [_box_to_resample(probs[c] >= threshold, width, height) for c in classes]
        lefts, tops, rights, bottoms = zip(*(box for box, _ in boxes), strict=True)
        whole = Box(min(lefts), min(tops), max(rights), max(bottoms))
        labels = np.zeros(whole.shape, np.uint8)
        best = _shaped(self._best, whole)
        best.fill(threshold)
        for c, (box, cells) in zip(classes, boxes, strict=True):
            by_rows, by_columns = cells.slices
            rows = interpolation(probs.shape[1], height)[box.top : box.bottom, by_rows]
            columns = interpolation(probs.shape[2], width)[box.left : box.right, by_columns]
            fine = _shaped(self._fine, box)
            np.matmul(rows @ probs[c][cells.slices], columns.T, out=fine)
            inner = box.within(whole).slices
            wins = np.greater_equal(fine, best[inner], out=_shaped(self._wins, box))
            np.copyto(labels[inner], np.uint8(c), where=wins)
            np.maximum(best[inner], fine, out=best[inner])
        regions = []
        for c, (box, _) in zip(classes, boxes, strict=True):
            score = float(probs[c][probs[c] >= threshold].mean())
            part = labels[box.within(whole).slices]
            region = _region(part, c, score, box, SPECK * width * height)
            if region is not None:
                regions.append(region)
        return Masks(width, height, whole, labels, regions)


def _shaped(memory: NDArray[Scalar], box: Box) -> NDArray[Scalar]:
    """Use the first part of a flat array as one of the shape of a box."""
    height, width = box.shape
    return memory[: height * width].reshape(height, width)


def _box_to_resample(wanted: NDArray[np.bool_], width: int, height: int) -> tuple[Box, Box]:
    """Return the box of the frame that the wanted cells may reach, and the cells it needs."""
    h, w = wanted.shape
    rows = np.flatnonzero(wanted.any(axis=1)).tolist()
    columns = np.flatnonzero(wanted.any(axis=0)).tolist()
    left, right = max(0, columns[0] - 1), min(w, columns[-1] + 2)
    top, bottom = max(0, rows[0] - 1), min(h, rows[-1] + 2)
    box = Box(
        math.floor(left * width / w) & ~1,
        math.floor(top * height / h) & ~1,
        math.ceil(right * width / w),
        math.ceil(bottom * height / h),
    )
    reach = SPLINE_REACH + 1  # the box begins up to a pixel outside its first cell
    cells = Box(
        max(0, left - reach), max(0, top - reach), min(w, right + reach), min(h, bottom + reach)
    )
    return box, cells


def _region(
    labels: NDArray[np.uint8], class_index: int, score: float, box: Box, smallest: float
) -> Region | None:
    """Drop the specks of one class from `labels`; describe what is left, None if nothing is."""
    mask = cv2.compare(labels, class_index, cv2.CMP_EQ)
    outlines, hierarchy = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    # Pick's theorem: the pixels on and within a closed line through pixel centres.
    areas = [cv2.contourArea(outline) + len(outline) / 2 + 1 for outline in outlines]
    pieces = []
    for index, outline in enumerate(outlines):
        if hierarchy[0, index, 3] >= 0:  # a hole
            continue
        if areas[index] >= smallest:
            pieces.append(index)
        else:
            _erase(labels, outline, class_index)
            _erase(mask, outline, 255)
    if not pieces:
        return None
    holes = [i for i, area in enumerate(areas) if hierarchy[0, i, 3] in pieces and area >= smallest]
    largest = outlines[max(pieces, key=lambda piece: areas[piece])]
    left, top, width, height = cv2.boundingRect(largest)
    moments = cv2.moments(largest)
    weight = moments["m00"]  # 0 if the piece is a line
    centre_x = moments["m10"] / weight if weight else left + width / 2
    centre_y = moments["m01"] / weight if weight else top + height / 2
    corner = np.array([box.left, box.top], np.int32)
    return Region(
        class_index=class_index,
        area=cv2.countNonZero(mask),
        score=score,
        box=Box(left, top, left + width, top + height).within(Box(-box.left, -box.top, 0, 0)),
        centre=(box.left + centre_x, box.top + centre_y),
        outlines=[outlines[index] + corner for index in pieces + holes],
    )


def _erase(labels: NDArray[np.uint8], outline: NDArray[np.int32], value: int) -> None:
    """Set to 0 what has this value on and within an outline."""
    left, top, width, height = cv2.boundingRect(outline)
    window = labels[top : top + height, left : left + width]
    inside = np.zeros((height, width), np.uint8)
    cv2.drawContours(inside, [outline], -1, 1, cv2.FILLED, offset=(-left, -top))
    window[(inside == 1) & (window == value)] = 0
