"""Every way in which audio-visual segmentation is scored, each under its own name.

avsbench    AVSBench's scripts for S4 and MS3: J and F of the probability of "sounds"
avss     AVSBench-semantic's colour metric: IoU and F of each class, averaged frame by frame
pooled   conventional semantic segmentation: one confusion matrix over the whole split
davis    region J, boundary F and their mean, as in DAVIS
summary  beside any of them: counts, silent frames, painted area of silent frames

`avss` and `pooled` are in `class_metrics`, `davis` in `davis`, the rest is here. Each is an
accumulator: `update` with one `ScoredFrame` at a time, then `compute`. The numbers of a frame are
kept under its clip's name and its place in it and reduced in that order, so results depend neither
on the order of the clips nor on the batch size nor on the number of workers.

Pixels whose truth is 255 are left out everywhere. Where a number has no frame to rest on it is
None, never 0 and never NaN.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, Literal, NamedTuple, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from avsegcli.datasets.clip import IGNORE
from avsegcli.inference.postprocess import above_threshold

NUM_THRESHOLDS = 255
THRESHOLDS = np.linspace(0, 1 - 1e-10, NUM_THRESHOLDS).astype(np.float32)  # the last one is 1

Group = Literal["video", "frame", "split"]
Result = TypeVar("Result")
Sums = dict[str, tuple[float, float]]  # of a clip: a sum and what it is divided by, by number


@dataclass(frozen=True)
class ScoredFrame:
    """Prediction and ground truth of one annotated frame, at one size.

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
        return above_threshold(self.probs) & self.valid

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
    """A metric that sees one frame after the other; results of other processes can be merged."""

    def update(self, frame: ScoredFrame) -> None:
        """Score one frame."""
        raise NotImplementedError

    def compute(self) -> Any:
        """Reduce the frames seen so far."""
        raise NotImplementedError

    def clip_sums(self) -> dict[str, Sums]:
        """Reduce each clip to sums, whose quotients over all clips are the numbers.

        From these, intervals and comparisons are computed. Numbers of classes are not among them.
        """
        return {}

    def merge(self, other: Self) -> None:
        """Merge another accumulator of the same kind.

        Raises:
            ValueError: if both have seen one frame.
        """
        for name, mine in vars(self).items():
            if isinstance(mine, PerFrame):
                mine.merge(getattr(other, name))


# --- avsbench: AVSBench's scripts for S4 and MS3 ------------------------------------------------


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
    13 hits / (3 true + 10 painted): one division, 0 / 0 only where all three are 0, and a perfect
    mask has exactly 1.

    Example:
        >>> f_score(np.array([8, 0]), np.array([12, 0]), np.array([8, 0])).round(4).tolist()
        [0.7222, 0.0]
    """
    weight = 3 * np.asarray(true) + 10 * painted
    return np.asarray(np.divide(13 * hits, weight, out=np.zeros(weight.shape), where=weight > 0))


@dataclass(frozen=True)
class AvsBenchScores:
    """J and F of AVSBench's own scripts."""

    j: float  # mean over frames; a frame without object scores the share of pixels left alone
    f: float  # mean over groups of the best point of the group's mean curve
    group: Group  # whose curves are averaged before the best point is taken
    num_groups: int

    @property
    def j_and_f(self) -> float:
        """The mean of J and F, as AVS papers have it."""
        return (self.j + self.f) / 2


class _AvsBenchFrame(NamedTuple):
    j: float
    curve: NDArray[np.float64] | None  # (255,); None if nothing sounds


class AvsBenchJF(Accumulator):
    """The metric of S4 and MS3.

    Args:
        group: frames whose F curves are averaged before the maximum is taken; a group without
            any object scores F = 0 and still counts. The reference group is one video.

    Example:
        >>> g = np.tile(np.array([1, 1, 0, 0], np.uint8), (4, 1))
        >>> p = np.tile(np.array([1, 1, 1, 0], np.float32), (4, 1))
        >>> metric = AvsBenchJF()
        >>> metric.update(ScoredFrame("clip", 0, p, p.astype(np.uint8), g))
        >>> scores = metric.compute()
        >>> round(scores.j, 4), round(scores.f, 4)
        (0.6667, 0.7222)
    """

    def __init__(self, group: Group = "video") -> None:
        self.group = group
        self._frames: PerFrame[_AvsBenchFrame] = PerFrame()

    def update(self, frame: ScoredFrame) -> None:
        """Score one frame."""
        if not frame.sounding.any():
            self._frames.keep(frame, _AvsBenchFrame(1 - frame.painted_share, None))
            return
        curve = f_curve(frame.probs[frame.valid], frame.sounding[frame.valid])
        self._frames.keep(frame, _AvsBenchFrame(iou(frame.painted, frame.sounding), curve))

    def compute(self) -> AvsBenchScores:
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
        return AvsBenchScores(
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

    def clip_sums(self) -> dict[str, Sums]:
        """Reduce each clip to sums; with one group for the whole split F has none."""
        clips: dict[str, Sums] = {}
        by_clip = self.compute_clips()
        for name, results in self._frames.by_clip().items():
            clips[name] = {"avsbench.j": (math.fsum(result.j for result in results), len(results))}
            if self.group == "video":
                clips[name]["avsbench.f"] = (by_clip[name][1] or 0.0, 1)
            elif self.group == "frame":
                best = [0.0 if r.curve is None else float(r.curve.max()) for r in results]
                clips[name]["avsbench.f"] = (math.fsum(best), len(best))
        return clips


# --- summary ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Summary:
    """Statistics reported beside every metric."""

    num_clips: int
    num_frames: int  # annotated ones
    silent_share: float  # share of frames in which nothing visible sounds
    j_object: float | None  # mean J over the other frames; None: there is none
    silent_area: float | None  # mean painted share of the silent frames; None: there is none


class SummaryMetric(Accumulator):
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

    def clip_sums(self) -> dict[str, Sums]:
        """Reduce each clip to sums."""
        clips: dict[str, Sums] = {}
        for name, frames in self._frames.by_clip().items():
            silent = [value for is_silent, value in frames if is_silent]
            others = [value for is_silent, value in frames if not is_silent]
            clips[name] = {
                "summary.j_object": (math.fsum(others), len(others)),
                "summary.silent_area": (math.fsum(silent), len(silent)),
            }
        return clips


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
