"""The metric of DAVIS: regions and boundaries."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from avsegcli.evaluation.metrics.avsbench import Accumulator, PerFrame, ScoredFrame, Sums, iou, mean

BOUNDARY_TOLERANCE = 0.008  # of the diagonal


def boundary(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Find the pixels that differ from their right, lower or lower-right neighbour.

    The last row and column have one neighbour to differ from, the last pixel none.

    Args:
        mask: ``(H, W)``.

    Returns:
        ``(H, W)``.

    Example:
        >>> boundary(np.array([[1, 1, 0], [1, 1, 0]], bool)).astype(int).tolist()
        [[0, 1, 0], [0, 1, 0]]
    """
    edge = np.zeros_like(mask)
    edge[:, :-1] |= mask[:, :-1] != mask[:, 1:]
    edge[:-1] |= mask[:-1] != mask[1:]
    edge[:-1, :-1] |= mask[:-1, :-1] != mask[1:, 1:]
    return edge


def boundary_f(painted: NDArray[np.bool_], sounding: NDArray[np.bool_]) -> float:
    """Compute DAVIS's F of two masks ``(H, W)``: how well their boundaries match.

    A boundary pixel matches if the other boundary is at most ``ceil(0.008 * diagonal)`` pixels
    away. 1 if neither mask has a boundary, 0 if only one has.
    """
    edges = boundary(painted), boundary(sounding)
    has_edge = edges[0].any(), edges[1].any()
    if not all(has_edge):
        return 0.0 if any(has_edge) else 1.0
    reach = math.ceil(BOUNDARY_TOLERANCE * math.hypot(*painted.shape))
    # Distances matter up to `reach` only: look at no more than the edges' surroundings.
    either = edges[0] | edges[1]
    rows, columns = np.flatnonzero(either.any(axis=1)), np.flatnonzero(either.any(axis=0))
    window = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    ours, theirs = edges[0][window], edges[1][window]
    precision = np.mean(distance_transform_edt(~theirs)[ours] <= reach)
    recall = np.mean(distance_transform_edt(~ours)[theirs] <= reach)
    if precision + recall == 0:
        return 0.0
    return float(2 * precision * recall / (precision + recall))


@dataclass(frozen=True)
class DavisScores:
    """Region and boundary, mean over frames; no first or last frame is skipped."""

    j: float
    f: float  # not comparable between sizes
    j_and_f: float


class Davis(Accumulator):
    """Region similarity J, boundary accuracy F and their mean.

    Pixels without truth are background in both masks, as in DAVIS's own code.

    Example:
        >>> g = np.tile(np.array([1, 1, 0, 0], np.uint8), (4, 1))
        >>> p = np.tile(np.array([1, 1, 1, 0], np.float32), (4, 1))
        >>> metric = Davis()
        >>> metric.update(ScoredFrame("clip", 0, p, p.astype(np.uint8), g))
        >>> scores = metric.compute()
        >>> round(scores.j, 4), scores.f, round(scores.j_and_f, 4)
        (0.6667, 1.0, 0.8333)
    """

    def __init__(self) -> None:
        self._frames: PerFrame[tuple[float, float]] = PerFrame()

    def update(self, frame: ScoredFrame) -> None:
        """Score one frame."""
        scores = iou(frame.painted, frame.sounding), boundary_f(frame.painted, frame.sounding)
        self._frames.keep(frame, scores)

    def compute(self) -> DavisScores:
        """Reduce the frames seen so far.

        Raises:
            ValueError: if there is none.
        """
        frames = self._frames.in_order()
        j, f = mean([j for j, _ in frames]), mean([f for _, f in frames])
        return DavisScores(j, f, (j + f) / 2)

    def compute_clips(self) -> dict[str, tuple[float, float]]:
        """Reduce each clip by itself to J and F."""
        clips = self._frames.by_clip().items()
        return {
            name: (mean([j for j, _ in frames]), mean([f for _, f in frames]))
            for name, frames in clips
        }

    def clip_sums(self) -> dict[str, Sums]:
        """Reduce each clip to sums."""
        return {
            name: {
                "davis.j": (math.fsum(j for j, _ in frames), len(frames)),
                "davis.f": (math.fsum(f for _, f in frames), len(frames)),
            }
            for name, frames in self._frames.by_clip().items()
        }
