"""Carry class probabilities along the motion between pictures of a video.

What sounds in the frames between two that the network has seen would fade out in one place and
in at another if it were only mixed: optical flow says where each thing went in between.
"""

from functools import cached_property
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from avsegcli.media.decode import planes_of

FLOW_SIZE = 160  # longer side of the pictures whose motion is measured, in pixels
FINEST_SCALE = 1  # the flow is found at 1 / 2 ** this of that size
FLOW_SMALLEST = 12  # pixels; the flow of smaller pictures is not defined
RELEVANT = 0.25  # class probability; classes that reach it nowhere are not carried
NOISE = 2.0  # grey levels that two pictures of the same thing differ by, on average
STILL = 8  # grey levels; if no cell of the probabilities changes as much, nothing has moved
CUT = 20.0  # grey levels; pictures that differ more after following the motion show other things
MEMORY_S = 0.5  # seconds; answers farther apart may say different things and both be right


class Seen(NamedTuple):
    """A frame that the network has seen, and what it said."""

    time: float  # seconds
    luma: NDArray[np.uint8]  # small
    probs: NDArray[np.float32]  # (L + 1, h, w) in [0, 1]; index 0 the background


def small_luma(frame: Any) -> NDArray[np.uint8]:
    """Return the luma of a yuv420p frame, scaled down to `FLOW_SIZE`."""
    luma = planes_of(frame)[0]
    height, width = luma.shape
    scale = min(1.0, FLOW_SIZE / max(width, height))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(luma, size, interpolation=cv2.INTER_AREA), np.uint8)


class Motion:
    """Follows what the network has seen through one video."""

    @cached_property
    def _flow(self) -> Any:
        flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        flow.setFinestScale(FINEST_SCALE)
        return flow

    def between(self, before: Seen, after: Seen, frame: Any, weight: float) -> NDArray[np.float32]:
        """Find the probabilities of a frame between two that were seen.

        Each of the two counts by its nearness in time and by how well it explains the picture:
        at a cut only the second matters.

        Args:
            before: the last frame that was seen.
            after: the next one.
            frame: yuv420p.
            weight: its place in time, 0 at `before`, 1 at `after`.

        Returns:
            ``(L + 1, h, w)`` in [0, 1].
        """
        probs = before.probs + np.float32(weight) * (after.probs - before.probs)
        classes = _relevant(before, after)
        if not len(classes):
            return probs
        luma = small_luma(frame)
        earlier, error_before = self._carry(before, luma, classes)
        later, error_after = self._carry(after, luma, classes)
        trust_before = (1 - weight) / (error_before + NOISE) ** 2
        trust_after = weight / (error_after + NOISE) ** 2
        share = np.float32(trust_after / (trust_before + trust_after))
        probs[classes] = earlier + share * (later - earlier)
        probs[0] = 1 - probs[1:].max(0)
        return probs

    def steady(self, before: Seen, seen: Seen, after: Seen) -> Seen:
        """Take out what the network said, or forgot, about a single frame.

        Each probability becomes the middle one of three: its own and those carried from the
        frames before and after; unless one of them is far away or shows something else.
        """
        near = max(seen.time - before.time, after.time - seen.time) <= MEMORY_S
        classes = _relevant(before, seen, after)
        if not near or not len(classes):
            return seen
        earlier, error_before = self._carry(before, seen.luma, classes)
        later, error_after = self._carry(after, seen.luma, classes)
        if max(error_before, error_after) > CUT:
            return seen
        own = seen.probs[classes]
        low, high = np.minimum(earlier, later), np.maximum(earlier, later)
        probs = seen.probs.copy()
        probs[classes] = np.clip(own, low, high)  # the middle one
        probs[0] = 1 - probs[1:].max(0)
        return seen._replace(probs=probs)

    def _carry(
        self, seen: Seen, luma: NDArray[np.uint8], classes: NDArray[np.intp]
    ) -> tuple[NDArray[np.float32], float]:
        """Move probabilities to where things are in another picture, if that explains it better.

        Returns:
            The probabilities of the classes, ``(C, h, w)``; how far the pictures differ, in grey
            levels.
        """
        probs = seen.probs[classes]
        size = probs.shape[2], probs.shape[1]
        change = cv2.absdiff(seen.luma, luma)
        error = float(change.mean())
        still = cv2.resize(change, size, interpolation=cv2.INTER_AREA).max() < STILL
        if still or min(luma.shape) < FLOW_SMALLEST:
            return probs, error
        flow = self._flow.calc(luma, seen.luma, None)  # (H, W, 2): where each pixel was, relative
        error_moved = float(cv2.absdiff(_moved(seen.luma, flow), luma).mean())
        if error_moved >= error:
            return probs, error
        scale = np.array(size, np.float32) / luma.shape[::-1]
        coarse = (cv2.resize(flow, size, interpolation=cv2.INTER_AREA) * scale).astype(np.float32)
        return np.stack([_moved(plane, coarse) for plane in probs]), error_moved


def _relevant(*seen: Seen) -> NDArray[np.intp]:
    """Return the indices of the classes that may be anywhere in one of the frames."""
    peaks = np.max([one.probs[1:].max(axis=(1, 2)) for one in seen], axis=0)
    return np.flatnonzero(peaks >= RELEVANT) + 1


def _moved(plane: NDArray[Any], flow: NDArray[np.float32]) -> NDArray[Any]:
    """Take each pixel of a plane ``(H, W)`` from a step ``(H, W, 2)`` away."""
    height, width = plane.shape
    places = flow + np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1, dtype=np.float32)
    return np.asarray(
        cv2.remap(plane, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    )
