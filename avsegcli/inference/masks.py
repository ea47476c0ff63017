"""Class probabilities at the resolution of the network to masks at the size of the video."""

import math
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from avsegcli.inference.postprocess import MASK_THRESHOLD, above_threshold

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

    def overlap(self, other: "Box") -> "Box | None":
        """Return what two boxes share, None if nothing."""
        left, top = max(self.left, other.left), max(self.top, other.top)
        right, bottom = min(self.right, other.right), min(self.bottom, other.bottom)
        return Box(left, top, right, bottom) if left < right and top < bottom else None

    def within(self, outer: "Box") -> "Box":
        """Return the same box, counted from the corner of another."""
        x, y = outer.left, outer.top
        return Box(self.left - x, self.top - y, self.right - x, self.bottom - y)


class Region(NamedTuple):
    """Mask of one sounding class in a frame."""

    class_index: int
    score: float  # mean probability of the class where it is above the threshold, in [0, 1]
    area: int  # pixels
    box: Box  # around the mask; left and top are even
    mask: NDArray[np.bool_]  # (box height, box width); True = the class sounds there
    outlines: list[NDArray[np.int32]]  # closed lines around pieces and holes, (P, 1, 2) x, y
    largest: Box  # around the largest connected piece
    centre: tuple[float, float]  # x, y in the middle of its outline, in pixels


class Masks(NamedTuple):
    """Class of each pixel of a frame; the masks do not overlap."""

    width: int  # of the frame
    height: int
    regions: list[Region]  # one for each class that sounds, rising class index

    def labels(self) -> NDArray[np.uint8]:
        """Return the class of every pixel of the frame, ``(H, W)``; 0 is the background."""
        labels = np.zeros((self.height, self.width), np.uint8)
        for region in self.regions:
            np.copyto(labels[region.box.slices], np.uint8(region.class_index), where=region.mask)
        return labels


class _Candidate(NamedTuple):
    """A class that is above the threshold somewhere."""

    class_index: int
    score: float
    box: Box
    fine: NDArray[np.float32]  # (box height, box width) probabilities
    mask: NDArray[np.bool_]  # (box height, box width)


class MaskFinder:
    """Finds the masks of what sounds in the frames of one video.

    The probabilities are resampled to the size of the frame within the box where something may
    reach the threshold, smoothly: else an outline would have a corner in every cell. A pixel
    belongs to its most probable class if that probability is above `threshold`. Connected
    pieces under 0.1 % of the frame are dropped.

    Args:
        width: of the frames, in pixels.
        height: of the frames, in pixels.
        threshold: in (0, 1).

    Example:
        >>> probs = np.zeros((2, 8, 8), np.float32)
        >>> probs[1, 2:6, 2:6] = 1.0
        >>> masks = MaskFinder(64, 64)(probs)
        >>> masks.regions[0].class_index, masks.regions[0].box
        (1, Box(left=16, top=16, right=48, bottom=48))
    """

    def __init__(self, width: int, height: int, threshold: float = MASK_THRESHOLD) -> None:
        self.width = width
        self.height = height
        self.threshold = threshold

    def __call__(self, probs: NDArray[np.float32]) -> Masks:
        """Find the masks of one frame.

        Args:
            probs: class probabilities, ``(L + 1, h, w)`` in [0, 1]; index 0, the background,
                is not looked at.
        """
        peaks = probs[1:].max(axis=(1, 2))
        candidates = [
            self._candidate(int(index) + 1, probs[index + 1])
            for index in np.flatnonzero(above_threshold(peaks, self.threshold))
        ]
        for number, one in enumerate(candidates):
            for other in candidates[:number]:
                _settle(one, other)
        smallest = SPECK * self.width * self.height
        regions = [_region(candidate, smallest) for candidate in candidates]
        return Masks(self.width, self.height, [region for region in regions if region is not None])

    def _candidate(self, class_index: int, coarse: NDArray[np.float32]) -> _Candidate:
        """Resample the probabilities of one class, ``(h, w)``, where they matter."""
        sure = above_threshold(coarse, self.threshold)
        left, right, *columns = _span(np.any(sure, axis=0), self.width)
        top, bottom, *rows = _span(np.any(sure, axis=1), self.height)
        cells = coarse[slice(*rows), slice(*columns)]
        h, w = cells.shape
        smooth = cv2.resize(cells, (SMOOTHED * w, SMOOTHED * h), interpolation=cv2.INTER_CUBIC)
        fine = np.asarray(cv2.resize(smooth, (right - left, bottom - top)), np.float32)
        score = float(coarse[sure].mean())
        mask = above_threshold(fine, self.threshold)
        return _Candidate(class_index, score, Box(left, top, right, bottom), fine, mask)


def _settle(one: _Candidate, other: _Candidate) -> None:
    """Give pixels that two classes claim to the more probable one."""
    shared = one.box.overlap(other.box)
    if shared is not None:
        mine, theirs = shared.within(one.box).slices, shared.within(other.box).slices
        more = one.fine[mine] > other.fine[theirs]
        one.mask[mine] &= more
        other.mask[theirs] &= ~more


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


def _region(candidate: _Candidate, smallest: float) -> Region | None:
    """Drop the specks of one class; describe what is left, None if nothing is."""
    mask = candidate.mask
    outlines, hierarchy = cv2.findContours(
        mask.view(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE
    )
    # Pick's theorem: the pixels on and within a closed line through pixel centres.
    areas = [cv2.contourArea(outline) + len(outline) / 2 + 1 for outline in outlines]
    pieces = []
    for index, outline in enumerate(outlines):
        if hierarchy[0, index, 3] >= 0:  # a hole
            continue
        if areas[index] >= smallest:
            pieces.append(index)
        else:
            _erase(mask, outline)
    if not pieces:
        return None
    holes = [i for i, area in enumerate(areas) if hierarchy[0, i, 3] in pieces and area >= smallest]
    largest = max(pieces, key=lambda piece: areas[piece])
    centre_x, centre_y = outlines[largest].reshape(-1, 2).mean(axis=0).tolist()
    bounds = [_bounds(outlines[piece]) for piece in pieces]
    inner = Box(
        min(box.left for box in bounds) & ~1,
        min(box.top for box in bounds) & ~1,
        max(box.right for box in bounds),
        max(box.bottom for box in bounds),
    )
    left, top = candidate.box.left, candidate.box.top
    corner = Box(-left, -top, 0, 0)  # of the frame, seen from the candidate's box
    return Region(
        class_index=candidate.class_index,
        score=candidate.score,
        area=cv2.countNonZero(mask.view(np.uint8)),
        box=inner.within(corner),
        mask=mask[inner.slices],
        outlines=[outlines[i] + np.array([left, top], np.int32) for i in pieces + holes],
        largest=bounds[pieces.index(largest)].within(corner),
        centre=(left + centre_x, top + centre_y),
    )


def _bounds(outline: NDArray[np.int32]) -> Box:
    left, top, width, height = cv2.boundingRect(outline)
    return Box(left, top, left + width, top + height)


def _erase(mask: NDArray[np.bool_], outline: NDArray[np.int32]) -> None:
    """Clear what lies on and within an outline."""
    box = _bounds(outline)
    inside = np.zeros(box.shape, np.uint8)
    cv2.drawContours(inside, [outline], -1, 1, cv2.FILLED, offset=(-box.left, -box.top))
    mask[box.slices] &= inside == 0
