"""The scores of classes: `avss`, averaged frame by frame, and `pooled`, over the whole split."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from avsegcli.evaluation.metrics.avsbench import (
    Accumulator,
    PerFrame,
    ScoredFrame,
    Sums,
    f_score,
    mean,
)


class _ClassCounts(NamedTuple):
    """Pixels of one frame by class; each ``(num_classes,)`` int64."""

    hits: NDArray[np.int64]  # predicted and true
    painted: NDArray[np.int64]  # predicted
    true: NDArray[np.int64]

    @property
    def union(self) -> NDArray[np.int64]:
        return self.painted + self.true - self.hits


def count_classes(frame: ScoredFrame, num_classes: int) -> _ClassCounts:
    """Count hits, predicted and true pixels of each class over the scored pixels.

    An index of `num_classes` or above is a class that is not scored: it is nobody's hit, but
    it is wrong where a scored class is true or predicted.
    """
    labels = np.minimum(frame.labels[frame.valid], num_classes)
    target = np.minimum(frame.target[frame.valid], num_classes)

    def count(indices: NDArray[np.uint8]) -> NDArray[np.int64]:
        return np.bincount(indices, minlength=num_classes)[:num_classes].astype(np.int64)

    return _ClassCounts(count(labels[labels == target]), count(labels), count(target))


class ClassSums(NamedTuple):
    """Contribution of one class in one clip to the metrics of classes."""

    class_index: int
    frames: int  # in which truth or prediction has it
    iou: float  # sum over these frames
    f: float  # likewise
    hits: int  # pixels, predicted and true
    union: int  # pixels, predicted or true


@dataclass(frozen=True)
class AvssScores:
    """IoU and F of each class, averaged over the frames where truth or prediction has it."""

    miou: float  # over all classes with background; a class that is never seen scores 0
    f: float  # likewise
    miou_no_background: float  # all classes but index 0
    f_no_background: float
    miou_present: float  # only classes that truth or prediction has in some frame
    f_present: float
    miou_known: float  # only classes that the model knows
    class_iou: tuple[float | None, ...]  # None: never seen
    class_frames: tuple[int, ...]  # frames that each class's IoU rests on


class Avss(Accumulator):
    """The metric of AVSBench-semantic, over real frames only.

    Args:
        num_classes: scored classes, background included.
        known: the indices of those that the model knows; None: all.

    Example:
        >>> def frame(index, labels, target):
        ...     labels, target = np.array(labels, np.uint8), np.array(target, np.uint8)
        ...     return ScoredFrame("clip", index, np.minimum(labels, 1), labels, target)
        >>> metric = Avss(num_classes=3)
        >>> metric.update(frame(0, labels=[[0, 0], [1, 2]], target=[[0, 0], [1, 1]]))
        >>> metric.update(frame(1, labels=[[0, 0], [0, 2]], target=[[0, 0], [0, 0]]))
        >>> scores = metric.compute()
        >>> round(scores.miou, 6), round(scores.f, 6), scores.class_iou
        (0.458333, 0.592262, (0.875, 0.5, 0.0))
    """

    def __init__(self, num_classes: int, known: Sequence[int] | None = None) -> None:
        self.num_classes = num_classes
        self._known = list(range(num_classes) if known is None else known)
        self._frames: PerFrame[_ClassCounts] = PerFrame()

    def update(self, frame: ScoredFrame) -> None:
        """Score one frame."""
        self._frames.keep(frame, count_classes(frame, self.num_classes))

    def compute(self) -> AvssScores:
        """Reduce the frames seen so far.

        Raises:
            ValueError: if there is none.
        """
        num_frames = np.zeros(self.num_classes, np.int64)
        iou_sum, f_sum = np.zeros(self.num_classes), np.zeros(self.num_classes)
        for counts in self._frames.in_order():
            num_frames += counts.union > 0
            iou_sum += counts.hits / np.maximum(counts.union, 1)
            f_sum += f_score(*counts)
        seen = num_frames > 0
        class_iou = iou_sum / np.maximum(num_frames, 1)
        class_f = f_sum / np.maximum(num_frames, 1)
        return AvssScores(
            miou=mean(class_iou),
            f=mean(class_f),
            miou_no_background=mean(class_iou[1:]),
            f_no_background=mean(class_f[1:]),
            miou_present=mean(class_iou[seen]),
            f_present=mean(class_f[seen]),
            miou_known=mean(class_iou[self._known]),
            class_iou=_or_none(class_iou, seen),
            class_frames=tuple(num_frames.tolist()),
        )

    def class_sums(self) -> dict[str, tuple[ClassSums, ...]]:
        """Sum over the frames of each clip, for each class that it has."""
        return {
            name: tuple(_sum_classes(frames)) for name, frames in self._frames.by_clip().items()
        }


def _sum_classes(frames: Sequence[_ClassCounts]) -> Iterator[ClassSums]:
    hits, painted, true = (np.stack(counts) for counts in zip(*frames, strict=True))  # (T, L + 1)
    union = painted + true - hits
    f = f_score(hits, painted, true)
    for index in np.flatnonzero(union.any(axis=0)).tolist():
        has = union[:, index] > 0
        yield ClassSums(
            class_index=index,
            frames=int(has.sum()),
            iou=float((hits[has, index] / union[has, index]).sum()),
            f=float(f[has, index].sum()),
            hits=int(hits[:, index].sum()),
            union=int(union[:, index].sum()),
        )


@dataclass(frozen=True)
class PooledScores:
    """IoU from pixels counted over the whole split: TP / (TP + FP + FN)."""

    miou: float  # over all classes with background; a class that is never seen scores 0
    miou_present: float  # only classes that truth or prediction has
    foreground_iou: float | None  # any class against background; None: neither has any
    class_iou: tuple[float | None, ...]  # None: never seen


class Pooled(Accumulator):
    """One confusion matrix over the split.

    Args:
        num_classes: scored classes, background included.

    Example:
        >>> metric = Pooled(num_classes=2)
        >>> labels, target = np.array([[1, 1, 0, 0]], np.uint8), np.array([[1, 0, 0, 0]], np.uint8)
        >>> metric.update(ScoredFrame("clip", 0, np.float32(labels), labels, target))
        >>> scores = metric.compute()
        >>> round(scores.miou, 4), scores.foreground_iou
        (0.5833, 0.5)
    """

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        self._frames: PerFrame[_ClassCounts] = PerFrame()
        self._foreground: PerFrame[tuple[int, int]] = PerFrame()  # intersection, union

    def update(self, frame: ScoredFrame) -> None:
        """Score one frame."""
        self._frames.keep(frame, count_classes(frame, self.num_classes))
        painted = (frame.labels > 0) & frame.valid
        both = int(np.count_nonzero(painted & frame.sounding))
        either = int(np.count_nonzero(painted | frame.sounding))
        self._foreground.keep(frame, (both, either))

    def compute(self) -> PooledScores:
        """Reduce the frames seen so far.

        Raises:
            ValueError: if there is none.
        """
        frames = self._frames.in_order()
        hits = np.sum([counts.hits for counts in frames], axis=0)
        union = np.sum([counts.union for counts in frames], axis=0)
        both, either = np.sum(self._foreground.in_order(), axis=0)
        seen = union > 0
        class_iou = hits / np.maximum(union, 1)
        return PooledScores(
            miou=mean(class_iou),
            miou_present=mean(class_iou[seen]),
            foreground_iou=float(both / either) if either else None,
            class_iou=_or_none(class_iou, seen),
        )

    def clip_sums(self) -> dict[str, Sums]:
        """Reduce each clip to sums."""
        clips = {}
        for name, frames in self._foreground.by_clip().items():
            both, either = np.sum(frames, axis=0).tolist()
            clips[name] = {"pooled.foreground_iou": (float(both), float(either))}
        return clips


def _or_none(values: NDArray[np.float64], seen: NDArray[np.bool_]) -> tuple[float | None, ...]:
    return tuple(float(v) if is_seen else None for v, is_seen in zip(values, seen, strict=True))
