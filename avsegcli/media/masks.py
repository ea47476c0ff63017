"""Class probabilities at the resolution of the network to masks at the size of the video."""

import math
from typing import NamedTuple, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

Scalar = TypeVar("Scalar", bound=np.generic)

SPECK = 0.001  # of the frame; smaller pieces of mask are dropped
MARGIN = 3  # cells around what reaches the threshold that its outline may depend on
SMOOTHED = 4  # cells are divided by this with cubic splines, from there on linearly


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


class MaskFinder:
    """Finds the masks of what sounds in the frames of one video.

    The probabilities are resampled to the size of the frame within the box where something may
    reach the threshold; smoothly, else the outline would have a corner in every cell. A pixel belongs to its most probable class if that probability is at
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
            fine = _resampled(probs[c][cells.slices], out=_shaped(self._fine, box))
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


def _resampled(cells: NDArray[np.float32], out: NDArray[np.float32]) -> NDArray[np.float32]:
    """Resample coarse cells to the pixels of `out`, beyond the border repeating the outer ones."""
    h, w = cells.shape
    smooth = cv2.resize(cells, (SMOOTHED * w, SMOOTHED * h), interpolation=cv2.INTER_CUBIC)
    height, width = out.shape
    cv2.resize(smooth, (width, height), dst=out, interpolation=cv2.INTER_LINEAR)
    return out


def _box_to_resample(wanted: NDArray[np.bool_], width: int, height: int) -> tuple[Box, Box]:
    """Return the box of the frame that the wanted cells may reach, and the box of its cells."""
    left, right, *columns = _span(wanted.any(axis=0), width)
    top, bottom, *rows = _span(wanted.any(axis=1), height)
    return Box(left, top, right, bottom), Box(columns[0], rows[0], columns[1], rows[1])


def _span(wanted: NDArray[np.bool_], pixels: int) -> tuple[int, int, int, int]:
    """Return first and last pixel, first and last cell of what to resample along one axis.

    Both begin at a border that cells and pixels share, so that the box is resampled just as the
    whole frame would be: outlines must not tremble when the box changes from frame to frame.
    Pixels begin at an even one.
    """
    cells = len(wanted)
    shared = math.gcd(cells, pixels)
    step, pixel_step = cells // shared, pixels // shared
    if pixel_step % 2:
        step, pixel_step = 2 * step, 2 * pixel_step
    places = np.flatnonzero(wanted).tolist()
    first = max(0, places[0] - MARGIN) // step
    last = -(-(places[-1] + 1 + MARGIN) // step)
    return (
        first * pixel_step,
        min(last * pixel_step, pixels),
        first * step,
        min(last * step, cells),
    )


def _region(
    labels: NDArray[np.uint8], class_index: int, score: float, box: Box, smallest: float
) -> Region | None:
    """Drop the specks of one class from `labels`; describe what is left, None if nothing is."""
    mask = (labels == class_index).view(np.uint8)
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
            _erase(mask, outline, 1)
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
