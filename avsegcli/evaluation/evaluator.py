"""Score a predictor on a data set, by every convention at once."""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from avsegcli.datasets.clip import IGNORE, Clip, ClipDataset
from avsegcli.datasets.transforms import Convention, log_mel_of
from avsegcli.distributed import SINGLE_PROCESS, Processes
from avsegcli.errors import DataError
from avsegcli.evaluation.audio_dependence import AudioDependence, AudioDependenceScores
from avsegcli.evaluation.bootstrap import ClipTable, Interval, confidence_intervals
from avsegcli.evaluation.class_mapping import ClassMap, match_classes
from avsegcli.evaluation.gallery import BestAndWorst
from avsegcli.evaluation.metrics.avsbench import (
    Accumulator,
    AvsBenchJF,
    AvsBenchScores,
    Group,
    ScoredFrame,
    Summary,
    Sums,
    iou,
    mean,
)
from avsegcli.evaluation.metrics.davis import Davis, DavisScores
from avsegcli.evaluation.metrics.miou import Avss, AvssScores, ClassSums, PooledScores
from avsegcli.evaluation.metrics.registry import MetricSettings, all_metrics, own_metrics
from avsegcli.evaluation.prediction import (
    PROTOCOL_SIZE,
    ClipPrediction,
    ClipPredictor,
    Size,
    predict_clip,
)
from avsegcli.evaluation.read_ahead import read_ahead
from avsegcli.evaluation.saved_predictions import SavedPredictions
from avsegcli.inference.preprocess import resize_labels

Kind = TypeVar("Kind", bound=Accumulator)


@dataclass(frozen=True)
class ClipScores:
    """Scores of one clip."""

    name: str
    avsbench_j: float
    avsbench_f: float | None  # None: nothing visible sounds in it
    davis_j: float
    davis_f: float
    sums: Sums = field(default_factory=dict)  # what it adds to each number
    classes: tuple[ClassSums, ...] = ()  # likewise, of the classes that it has


@dataclass(frozen=True)
class Scores:
    """All numbers of one evaluation, each under the name of its convention."""

    size: Size  # numbers of different sizes are not comparable
    classes: tuple[str, ...]  # that `avss` and `pooled` score, background first
    unknown_classes: tuple[str, ...]  # classes of the data that the model does not know
    summary: Summary
    avsbench: AvsBenchScores
    avss: AvssScores
    pooled: PooledScores
    davis: DavisScores
    listening: AudioDependenceScores | None  # None: not asked for
    clips: tuple[ClipScores, ...]  # by name
    own: dict[str, float | None] = field(default_factory=dict)  # metrics of installed packages
    resamples: int = 0  # of the bootstrap; 0: no intervals were asked for
    intervals: dict[str, Interval] = field(default_factory=dict)  # 95 %, by number

    def as_dict(self) -> dict[str, Any]:
        """Give the scores as plain values for JSON."""
        values = asdict(self)
        values["avsbench"]["j_and_f"] = self.avsbench.j_and_f  # a property, which asdict leaves out
        return values


def evaluate(
    predictor: ClipPredictor | SavedPredictions,
    dataset: ClipDataset,
    *,
    size: Size = "protocol",
    group: Group = "video",
    convention: Convention = "aligned",
    listen: bool = False,
    seed: int = 0,
    bootstrap: int = 0,
    gallery: BestAndWorst | None = None,
    workers: int = 1,
    processes: Processes = SINGLE_PROCESS,
    progress: Callable[[int, int], None] | None = None,
) -> Scores:
    """Score a predictor on every annotated frame of a data set.

    The predictor always sees the frames as they are stored. Its list of classes may differ from
    the data set's: see `match_classes`.

    Args:
        predictor: a model, or saved predictions.
        dataset: clips with truth; their names must differ.
        size: "protocol": scored at 224 x 224, frames that are not square squashed, as AVSBench
            does; "native": at the size of the truth as stored.
        group: frames whose F curves `avsbench` averages.
        convention: how log-mel examples are cut from a waveform.
        listen: also compute `mute`, `swap` and `solo`, which takes about three times as long; only
            of a model.
        seed: of the choice of sounds for `swap`, and of clips for the bootstrap.
        bootstrap: resamples of the clips from which confidence intervals are computed; 0: none.
        gallery: is shown every clip.
        workers: threads that read clips ahead.
        processes: among which the clips are divided; each gets the scores of all.
        progress: called after each clip with the number of clips done and of all, of this process.

    Raises:
        DataError: if no clip has an annotated frame, or a clip cannot be read.
    """
    shared = match_classes(predictor.classes, dataset.classes)
    metrics = _Metrics(group, shared)
    listening = None
    if listen and not isinstance(predictor, SavedPredictions):
        listening = AudioDependence(predictor, dataset, convention=convention, seed=seed)

    share = processes.share(len(dataset))
    with closing(read_ahead(dataset, share, workers)) as clips:
        for done, (index, clip) in enumerate(zip(share, clips, strict=True), start=1):
            rows, columns = PROTOCOL_SIZE if size == "protocol" else clip.labels.shape[1:]
            predicted = _predict(predictor, clip, (rows, columns), convention)
            frames = _scored_frames(clip, predicted, shared, (rows, columns))
            metrics.update(frames)
            if listening is not None:
                listening.update(index, clip, predicted.probs)
            if gallery is not None and frames:
                j = mean([iou(frame.painted, frame.sounding) for frame in frames])
                said = shared.of_model[predicted.labels]
                gallery.offer(clip, j, shared.of_data[clip.labels], said)
            if progress is not None:
                progress(done, len(share))

    for other in _others(processes, metrics):
        metrics.merge(other)
    if listening is not None:
        for profiles in _others(processes, listening):
            listening.merge(profiles)
    if gallery is not None:
        for exhibits in _others(processes, gallery):
            gallery.merge(exhibits)
    if not metrics.has_frames:
        raise DataError("no clip of this split has an annotated frame", "Choose another split.")

    computed, scored = metrics.compute(), metrics.compute_clips()
    table = ClipTable(
        [clip.sums for clip in scored],
        [clip.classes for clip in scored],
        len(shared.names),
        known_indices(shared.names, shared.unknown),
    )
    return Scores(
        size=size,
        classes=shared.names,
        unknown_classes=shared.unknown,
        summary=computed["summary"],
        avsbench=computed["avsbench"],
        avss=computed["avss"],
        pooled=computed["pooled"],
        davis=computed["davis"],
        listening=listening.compute(processes) if listening is not None else None,
        clips=scored,
        own={metric.name: computed[metric.name] for metric in own_metrics()},
        resamples=bootstrap,
        intervals=confidence_intervals(table, resamples=bootstrap, seed=seed),
    )


def known_indices(classes: Sequence[str], unknown: Sequence[str]) -> list[int]:
    """List the indices of the scored classes that the model knows."""
    return [index for index, name in enumerate(classes) if name not in unknown]


class _Metrics:
    """All metrics side by side, by name."""

    def __init__(self, group: Group, shared: ClassMap) -> None:
        known = known_indices(shared.names, shared.unknown)
        settings = MetricSettings(group, len(shared.names), known)
        self._all = {metric.name: metric.build(settings) for metric in all_metrics()}
        self.has_frames = False

    def update(self, frames: list[ScoredFrame]) -> None:
        """Score the frames of one clip."""
        for frame in frames:
            for metric in self._all.values():
                metric.update(frame)
            self.has_frames = True

    def merge(self, other: "_Metrics") -> None:
        """Merge the results of another process."""
        for name, mine in self._all.items():
            mine.merge(other._all[name])
        self.has_frames |= other.has_frames

    def compute(self) -> dict[str, Any]:
        """Reduce the frames of all clips, by metric."""
        return {name: metric.compute() for name, metric in self._all.items()}

    def compute_clips(self) -> tuple[ClipScores, ...]:
        """Reduce each clip by itself."""
        avsbench, davis = self._get(AvsBenchJF).compute_clips(), self._get(Davis).compute_clips()
        sums: dict[str, Sums] = {name: {} for name in avsbench}
        for metric in self._all.values():
            for name, values in metric.clip_sums().items():
                sums[name] |= values
        classes = self._get(Avss).class_sums()
        return tuple(
            ClipScores(name, *avsbench[name], *davis[name], sums[name], classes[name])
            for name in avsbench
        )

    def _get(self, kind: type[Kind]) -> Kind:
        return next(metric for metric in self._all.values() if isinstance(metric, kind))


def _predict(
    predictor: ClipPredictor | SavedPredictions,
    clip: Clip,
    size: tuple[int, int],
    convention: Convention,
) -> ClipPrediction:
    if isinstance(predictor, SavedPredictions):
        return predictor.predict(clip, size)
    return predict_clip(predictor, clip.frames, log_mel_of(clip, convention), size=size)


def _scored_frames(
    clip: Clip, predicted: ClipPrediction, shared: ClassMap, size: tuple[int, int]
) -> list[ScoredFrame]:
    """Bring truth and prediction of the frames that have a truth to the scored classes."""
    frames = []
    for t in np.flatnonzero(clip.annotated).tolist():
        target: NDArray[np.uint8] = shared.of_data[resize_labels(clip.labels[t], size)]
        if (target != IGNORE).any():
            labels = shared.of_model[predicted.labels[t]]
            frames.append(ScoredFrame(clip.name, t, predicted.probs[t], labels, target))
    return frames


def _others(processes: Processes, mine: Any) -> list[Any]:
    """Exchange the results of the processes; return those of the others."""
    return [found for rank, found in enumerate(processes.gather(mine)) if rank != processes.rank]
