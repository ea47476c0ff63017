"""Every way in which audio-visual segmentation is scored, each under its own name.

tpavi    AVSBench's scripts for S4 and MS3: J and F of the probability of "sounds"
avss     AVSBench-semantic's colour metric: IoU and F of each class, averaged frame by frame
pooled   conventional semantic segmentation: one confusion matrix over the whole split
davis    region J, boundary F and their mean, as in DAVIS
summary  what belongs beside any of them: counts, silent frames, what is painted on those

Each is an accumulator: `update` with one `ScoredFrame` at a time, then `compute`. The numbers of
a frame are kept under its clip's name and its place in it and reduced in that order, so results
depend neither on the order of the clips nor on the batch size nor on the number of workers.

Pixels whose truth is 255 are left out everywhere. Where a number has no frame to rest on it is
None, never 0 and never NaN.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, Literal, NamedTuple, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from avsegcli.datasets.clip import IGNORE

BETA_SQUARED = 0.3  # of every F but the boundary's: precision weighs more than recall
NUM_THRESHOLDS = 255
THRESHOLDS = np.linspace(0, 1 - 1e-10, NUM_THRESHOLDS).astype(np.float32)  # the last one is 1
HALF = 0.5  # a pixel is painted where its probability is above, strictly
BOUNDARY_TOLERANCE = 0.008  # of the diagonal

Group = Literal["video", "frame", "split"]
Result = TypeVar("Result")


@dataclass(frozen=True)
class ScoredFrame:
    """What was predicted for one annotated frame, and what is true; all at one size.

    Attributes:
        clip: name of the clip, different for each clip of a split.
        index: place of the frame in its clip.
        probs: probability that a pixel belongs to something that sounds, ``(H, W)`` in [0, 1].
        labels: predicted class of each pixel, ``(H, W)``, 0 = background.
        target: true class of each pixel, ``(H, W)``, 0 = background, 255 = not scored.

    Raises:
        ValueError: if the shapes differ, or if no pixel is scored.
    """

    clip: str
    index: int
    probs: NDArray[np.float32]
    labels: NDArray[np.uint8]
    target: NDArray[np.uint8]

    def __post_init__(self) -> None:
        if not self.probs.shape == self.labels.shape == self.target.shape:
            raise ValueError(
                f"{self.clip}, frame {self.index}: probs {self.probs.shape}, labels "
                f"{self.labels.shape} and target {self.target.shape} differ in shape"
            )
        if not self.valid.any():
            raise ValueError(f"{self.clip}, frame {self.index}: no pixel has a truth")

    @cached_property
    def valid(self) -> NDArray[np.bool_]:
        """Pixels that are scored, ``(H, W)``."""
        return np.asarray(self.target != IGNORE)

    @cached_property
    def painted(self) -> NDArray[np.bool_]:
        """Scored pixels predicted to sound, ``(H, W)``."""
        return (self.probs > HALF) & self.valid

    @cached_property
    def sounding(self) -> NDArray[np.bool_]:
        """Scored pixels that truly sound, ``(H, W)``."""
        return (self.target > 0) & self.valid

    @property
    def painted_share(self) -> float:
        """Share of the scored pixels that is painted, in [0, 1]."""
        return np.count_nonzero(self.painted) / np.count_nonzero(self.valid)


class PerFrame(Generic[Result]):
    """Keeps one result for each frame and hands them out by clip and place."""

    def __init__(self) -> None:
        self._results: dict[tuple[str, int], Result] = {}

    def keep(self, frame: ScoredFrame, result: Result) -> None:
        """Keep the result of one frame.

        Raises:
            ValueError: if this frame of this clip has been scored before.
        """
        key = (frame.clip, frame.index)
        if key in self._results:
            raise ValueError(f"frame {frame.index} of clip '{frame.clip}' is scored twice")
        self._results[key] = result

    def in_order(self) -> list[Result]:
        """Results by clip name, then by frame.

        Raises:
            ValueError: if there is none.
        """
        return [result for _, result in self.items()]

    def items(self) -> list[tuple[tuple[str, int], Result]]:
        """Results with their clip name and frame, in that order.

        Raises:
            ValueError: if there is none.
        """
        if not self._results:
            raise ValueError("no frame has been scored")
        return sorted(self._results.items(), key=lambda item: item[0])

    def by_clip(self) -> dict[str, list[Result]]:
        """Results of each clip in the order of its frames, clips by name."""
        clips: dict[str, list[Result]] = {}
        for (clip, _), result in self.items():
            clips.setdefault(clip, []).append(result)
        return clips

    def merge(self, other: "PerFrame[Result]") -> None:
        """Take in the results of other frames.

        Raises:
            ValueError: if a frame is in both.
        """
        twice = self._results.keys() & other._results.keys()
        if twice:
            clip, index = min(twice)
            raise ValueError(f"frame {index} of clip '{clip}' is scored twice")
        self._results |= other._results


class Accumulator:
    """What all metrics share: the results of other processes can be taken in."""

    def merge(self, other: Self) -> None:
        """Take in what another accumulator of the same kind has seen.

        Raises:
            ValueError: if both have seen one frame.
        """
        for name, mine in vars(self).items():
            if isinstance(mine, PerFrame):
                mine.merge(getattr(other, name))


# --- tpavi: AVSBench's scripts for S4 and MS3 ---------------------------------------------------


def f_curve(probs: NDArray[np.float32], sounding: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Compute F for masks ``probs >= threshold`` at each of the 255 thresholds.

    Every pixel is filed once under the number of thresholds that it reaches; the counts of all
    masks are then running sums over the 256 files.

    Args:
        probs: any shape, in [0, 1].
        sounding: truth, same shape.

    Returns:
        F = 1.3 P R / (0.3 P + R), 0 where that is 0 / 0; ``(255,)``.

    Example:
        >>> curve = f_curve(np.array([0.9, 0.2]), np.array([True, False]))
        >>> float(curve[0].round(4)), float(curve[100]), float(curve[250])
        (0.5652, 1.0, 0.0)
    """
    reached = np.searchsorted(THRESHOLDS, probs.astype(np.float32).ravel(), side="right")

    def count_from_above(files: NDArray[np.intp]) -> NDArray[np.int64]:
        filed = np.bincount(files, minlength=NUM_THRESHOLDS + 1)
        return filed[::-1].cumsum()[::-1][1:]

    painted = count_from_above(reached)
    hits = count_from_above(reached[sounding.ravel()])
    return f_score(hits, painted, int(np.count_nonzero(sounding)))


def f_score(
    hits: NDArray[np.int64], painted: NDArray[np.int64], true: NDArray[np.int64] | int
) -> NDArray[np.float64]:
    """Compute F with beta² = 0.3 from pixel counts; 0 where it is 0 / 0.

    With P = hits / painted and R = hits / true, 1.3 P R / (0.3 P + R) is
    1.3 hits / (0.3 true + painted): one division, and 0 / 0 only where all three are 0.

    Example:
        >>> f_score(np.array([8, 0]), np.array([12, 0]), np.array([8, 0])).round(4).tolist()
        [0.7222, 0.0]
    """
    weight = BETA_SQUARED * np.asarray(true) + painted
    scaled = (1 + BETA_SQUARED) * hits
    return np.asarray(np.divide(scaled, weight, out=np.zeros_like(scaled), where=weight > 0))


@dataclass(frozen=True)
class TpaviScores:
    """J and F of AVSBench's own scripts."""

    j: float  # mean over frames; a frame without object scores the share of pixels left alone
    f: float  # mean over groups of the best point of the group's mean curve
    group: Group  # whose curves are averaged before the best point is taken
    num_groups: int

    @property
    def j_and_f(self) -> float:
        """The mean of J and F, as AVS papers have it."""
        return (self.j + self.f) / 2


class _Tpavi(NamedTuple):
    j: float
    curve: NDArray[np.float64] | None  # (255,); None if nothing sounds


class Tpavi(Accumulator):
    """The metric of S4 and MS3.

    Args:
        group: frames whose F curves are averaged before the maximum is taken; a group without
            any object scores F = 0 and still counts. The reference group is one video.

    Example:
        >>> g = np.tile(np.array([1, 1, 0, 0], np.uint8), (4, 1))
        >>> p = np.tile(np.array([1, 1, 1, 0], np.float32), (4, 1))
        >>> metric = Tpavi()
        >>> metric.update(ScoredFrame("clip", 0, p, p.astype(np.uint8), g))
        >>> scores = metric.compute()
        >>> round(scores.j, 4), round(scores.f, 4)
        (0.6667, 0.7222)
    """

    def __init__(self, group: Group = "video") -> None:
        self.group = group
        self._frames: PerFrame[_Tpavi] = PerFrame()

    def update(self, frame: ScoredFrame) -> None:
        """Score one frame."""
        if not frame.sounding.any():
            self._frames.keep(frame, _Tpavi(1 - frame.painted_share, None))
            return
        curve = f_curve(frame.probs[frame.valid], frame.sounding[frame.valid])
        self._frames.keep(frame, _Tpavi(iou(frame.painted, frame.sounding), curve))

    def compute(self) -> TpaviScores:
        """Reduce the frames seen so far.

        Raises:
            ValueError: if there is none.
        """
        groups: dict[object, list[NDArray[np.float64]]] = {}
        for key, result in self._frames.items():
            name = {"video": key[0], "frame": key, "split": None}[self.group]
            curves = groups.setdefault(name, [])
            if result.curve is not None:
                curves.append(result.curve)
        best = [float(np.mean(c, axis=0).max()) if c else 0.0 for c in groups.values()]
        return TpaviScores(
            j=mean([result.j for result in self._frames.in_order()]),
            f=mean(best),
            group=self.group,
            num_groups=len(groups),
        )

    def compute_clips(self) -> dict[str, tuple[float, float | None]]:
        """Reduce each clip by itself to J and F; F is None if nothing visible sounds in it."""
        clips = {}
        for name, results in self._frames.by_clip().items():
            curves = [result.curve for result in results if result.curve is not None]
            best = float(np.mean(curves, axis=0).max()) if curves else None
            clips[name] = mean([result.j for result in results]), best
        return clips


# --- avss and pooled: scores of classes ---------------------------------------------------------


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


@dataclass(frozen=True)
class AvssScores:
    """IoU and F of each class, averaged over the frames where truth or prediction has it."""

    miou: float  # over all classes with background; a class that is never seen scores 0
    f: float  # likewise
    miou_no_background: float  # all classes but index 0
    f_no_background: float
    miou_present: float  # only classes that truth or prediction has in some frame
    f_present: float
    class_iou: tuple[float | None, ...]  # None: never seen
    class_frames: tuple[int, ...]  # frames that each class's IoU rests on


class Avss(Accumulator):
    """The metric of AVSBench-semantic, over real frames only.

    Args:
        num_classes: scored classes, background included.

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

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
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
            class_iou=_or_none(class_iou, seen),
            class_frames=tuple(num_frames.tolist()),
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


# --- davis --------------------------------------------------------------------------------------


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

    def compute_clips(self) -> dict[str, float]:
        """Reduce each clip by itself to J&F."""
        clips = self._frames.by_clip().items()
        return {name: mean([(j + f) / 2 for j, f in frames]) for name, frames in clips}


# --- summary ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Summary:
    """What belongs beside every metric."""

    num_clips: int
    num_frames: int  # annotated ones
    silent_share: float  # share of frames in which nothing visible sounds
    j_object: float | None  # mean J over the other frames; None: there is none
    silent_area: float | None  # mean painted share of the silent frames; None: there is none


class Summarize(Accumulator):
    """Counts, and J and painted area apart for frames with and without an object."""

    def __init__(self) -> None:
        self._frames: PerFrame[tuple[bool, float]] = PerFrame()  # silent; painted share or J

    def update(self, frame: ScoredFrame) -> None:
        """Score one frame."""
        if frame.sounding.any():
            self._frames.keep(frame, (False, iou(frame.painted, frame.sounding)))
        else:
            self._frames.keep(frame, (True, frame.painted_share))

    def compute(self) -> Summary:
        """Reduce the frames seen so far.

        Raises:
            ValueError: if there is none.
        """
        frames = self._frames.in_order()
        silent = [value for is_silent, value in frames if is_silent]
        others = [value for is_silent, value in frames if not is_silent]
        return Summary(
            num_clips=len(self._frames.by_clip()),
            num_frames=len(frames),
            silent_share=len(silent) / len(frames),
            j_object=mean(others) if others else None,
            silent_area=mean(silent) if silent else None,
        )


# --- arithmetic ---------------------------------------------------------------------------------


def iou(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """Compute the intersection over union of two masks; 1 if both are empty."""
    union = np.count_nonzero(first | second)
    return np.count_nonzero(first & second) / union if union else 1.0


def mean(values: "list[float] | NDArray[np.float64]") -> float:
    """Compute a mean that does not depend on the order; 0 of nothing.

    Example:
        >>> mean([1e16, 1.0, -1e16]) == mean([1.0, 1e16, -1e16]) == 1 / 3
        True
    """
    return math.fsum(values) / max(len(values), 1)


def _or_none(values: NDArray[np.float64], seen: NDArray[np.bool_]) -> tuple[float | None, ...]:
    return tuple(float(v) if is_seen else None for v, is_seen in zip(values, seen, strict=True))
