"""Carry class probabilities along the motion between pictures of a video.

What sounds in the frames between two that the network has seen would fade out in one place and
in at another if it were only mixed: optical flow says where each thing went in between.
"""

from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from avsegcli.video.reader import planes_of

FLOW_SIZE = 80  # longer side of the pictures whose motion is measured, in pixels
ROWS = 4  # of a frame that are read for each row of them, at least
FLOW_SMALLEST = 12  # pixels; the flow of smaller pictures is not defined
RELEVANT = 0.25  # class probability; classes that reach it nowhere are not carried
STILL = 8  # grey levels; if no cell of the probabilities changes as much, nothing has moved
CUT = 20.0  # grey levels; pictures that differ more after following the motion show other things
MEMORY_S = 0.5  # seconds; answers farther apart may say different things and both be right


class KeyFrame(NamedTuple):
    """An analysed frame and its class probabilities."""

    time: float  # seconds
    luma: NDArray[np.uint8]  # small
    probs: NDArray[np.float32]  # (L + 1, h, w) in [0, 1]; index 0 the background


def downscaled_luma(frame: Any) -> NDArray[np.uint8]:
    """Return the luma of a yuv420p frame, scaled down to `FLOW_SIZE`."""
    luma = planes_of(frame)[0]
    height, width = luma.shape
    scale = min(1.0, FLOW_SIZE / max(width, height))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    luma = luma[:: max(1, int(1 / scale) // ROWS)]  # most of the time goes into reading memory
    for _ in range(2):  # halving is what OpenCV does fastest
        if luma.shape[0] >= 2 * size[1] and luma.shape[1] >= 2 * size[0]:
            half = luma.shape[1] // 2, luma.shape[0] // 2
            luma = cv2.resize(luma, half, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(luma, size, interpolation=cv2.INTER_AREA), np.uint8)


class Flow(NamedTuple):
    """Optical flow between two key frames, and their remaining difference.

    Steps are those of optical flow: how far away the content of a cell is found in the other
    frame. None: nothing moves, or no motion explains the other picture better.
    """

    onward: NDArray[np.float32] | None  # (h, w, 2) x, y in cells; from the first to the second
    back: NDArray[np.float32] | None
    error: float  # grey levels that remain between the pictures after following the motion


class OpticalFlow:
    """Carries class probabilities along the optical flow of one video."""

    def __init__(self) -> None:
        self._flows: dict[tuple[float, float], Flow] = {}  # by the times of both frames

    @cached_property
    def _flow(self) -> Any:
        flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        flow.setFinestScale(0)
        return flow

    def interpolate(
        self, before: KeyFrame, after: KeyFrame, frame: Any, weight: float
    ) -> NDArray[np.float32]:
        """Find the probabilities of a frame between two that were seen.

        What was seen in the farther one is moved to where things are in the nearer one, both are
        mixed, and the mixture is moved to where things are in this frame. At a cut between the
        two, a frame takes after the one that it looks like.

        Args:
            before: the last frame that was seen.
            after: the next one.
            frame: yuv420p.
            weight: its place in time, 0 at `before`, 1 at `after`.

        Returns:
            ``(L + 1, h, w)`` in [0, 1].
        """
        classes = _relevant(before, after)
        if not len(classes):
            return before.probs + np.float32(weight) * (after.probs - before.probs)
        luma = downscaled_luma(frame)
        flow = self._flow_between(before, after)
        if flow.error > CUT:
            like_before = _difference(luma, before.luma) <= _difference(luma, after.luma)
            return before.probs if like_before else after.probs
        first, second = before.probs[classes], after.probs[classes]
        if weight <= 0.5:
            near, second = before, _warp(second, flow.onward)
        else:
            near, first = after, _warp(first, flow.back)
        mixed = first + np.float32(weight) * (second - first)
        steps, _ = self._steps(luma, near.luma, mixed.shape[1:])
        probs = near.probs.copy()
        probs[classes] = _warp(mixed, steps)
        probs[0] = 1 - probs[1:].max(0)
        return probs

    def temporal_median(self, before: KeyFrame, seen: KeyFrame, after: KeyFrame) -> KeyFrame:
        """Remove outliers in time: what was predicted, or missed, in a single frame only.

        Each probability becomes the middle one of three: its own and those carried from the
        frames before and after; unless one of them is far away or shows something else.
        """
        near = max(seen.time - before.time, after.time - seen.time) <= MEMORY_S
        classes = _relevant(before, seen, after)
        if not near or not len(classes):
            return seen
        from_before, from_after = self._flow_between(before, seen), self._flow_between(seen, after)
        if max(from_before.error, from_after.error) > CUT:
            return seen
        earlier = _warp(before.probs[classes], from_before.back)
        later = _warp(after.probs[classes], from_after.onward)
        low, high = np.minimum(earlier, later), np.maximum(earlier, later)
        probs = seen.probs.copy()
        probs[classes] = np.clip(seen.probs[classes], low, high)  # the middle one
        probs[0] = 1 - probs[1:].max(0)
        return seen._replace(probs=probs)

    def _flow_between(self, before: KeyFrame, after: KeyFrame) -> Flow:
        """Find how things move between two seen frames, once for each two."""
        times = before.time, after.time
        if times not in self._flows:
            cells = before.probs.shape[1:]
            onward, error = self._steps(before.luma, after.luma, cells)
            back, error_back = self._steps(after.luma, before.luma, cells)
            self._flows = dict([*self._flows.items()][-1:])  # of the frames before
            self._flows[times] = Flow(onward, back, max(error, error_back))
        return self._flows[times]

    def _steps(
        self, luma: NDArray[np.uint8], other: NDArray[np.uint8], cells: tuple[int, ...]
    ) -> tuple[NDArray[np.float32] | None, float]:
        """Find how far away the content of each cell of a picture is in another.

        Returns:
            ``(h, w, 2)`` in cells, or None; how far the pictures then differ, in grey levels.
        """
        size = cells[1], cells[0]
        change = cv2.absdiff(other, luma)
        error = float(cv2.mean(change)[0])
        still = cv2.resize(change, size, interpolation=cv2.INTER_AREA).max() < STILL
        if still or min(luma.shape) < FLOW_SMALLEST:
            return None, error
        flow = self._flow.calc(luma, other, None)
        error_moved = _difference(_warp(other[None], flow)[0], luma)
        if error_moved >= error:
            return None, error
        scale = (np.array(size) / luma.shape[::-1]).astype(np.float32)
        return cv2.resize(flow, size, interpolation=cv2.INTER_AREA) * scale, error_moved


def _relevant(*seen: KeyFrame) -> NDArray[np.intp]:
    """Return the indices of the classes that may be anywhere in one of the frames."""
    peaks = np.max([one.probs[1:].max(axis=(1, 2)) for one in seen], axis=0)
    return np.flatnonzero(peaks >= RELEVANT) + 1


def _difference(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Return how many grey levels two pictures differ by on average."""
    return float(cv2.mean(cv2.absdiff(one, other))[0])


def _warp(planes: NDArray[Any], steps: NDArray[np.float32] | None) -> NDArray[Any]:
    """Take each pixel of planes ``(C, H, W)`` from a step ``(H, W, 2)`` away; None: from itself."""
    if steps is None:
        return planes
    places = _pixel_grid(*planes.shape[1:]) + steps
    return np.stack(
        [
            cv2.remap(plane, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            for plane in planes
        ]
    )


@lru_cache(maxsize=2)
def _pixel_grid(height: int, width: int) -> NDArray[np.float32]:
    """The x, y of each pixel, ``(height, width, 2)``."""
    return np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1, dtype=np.float32)
