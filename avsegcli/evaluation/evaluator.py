"""Score a predictor on a data set, by every convention at once."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from avsegcli.datasets.clip import IGNORE, ClipDataset
from avsegcli.datasets.transforms import Convention, clip_log_mel
from avsegcli.errors import DataError
from avsegcli.evaluation.classes import match_classes
from avsegcli.evaluation.listening import Listening, ListeningScores
from avsegcli.evaluation.metrics import (
    Avss,
    AvssScores,
    Davis,
    DavisScores,
    Group,
    Pooled,
    PooledScores,
    ScoredFrame,
    Summarize,
    Summary,
    Tpavi,
    TpaviScores,
)
from avsegcli.evaluation.prediction import (
    PROTOCOL_SIZE,
    ClipPredictor,
    Size,
    predict_clip,
    resize_labels,
)


@dataclass(frozen=True)
class Scores:
    """All numbers of one evaluation, each under the name of its convention."""

    size: Size  # numbers of different sizes are not comparable
    threshold: float  # of the class labels; probabilities are cut at 0.5 as the metrics define
    classes: tuple[str, ...]  # that `avss` and `pooled` score, background first
    unknown_classes: tuple[str, ...]  # classes of the data that the model does not know
    summary: Summary
    tpavi: TpaviScores
    avss: AvssScores
    pooled: PooledScores
    davis: DavisScores
    listening: ListeningScores | None  # None: not asked for

    def as_dict(self) -> dict[str, Any]:
        """Give the scores as plain values for JSON."""
        return asdict(self)


def evaluate(
    predictor: ClipPredictor,
    dataset: ClipDataset,
    *,
    size: Size = "protocol",
    threshold: float = 0.5,
    group: Group = "video",
    convention: Convention = "aligned",
    listen: bool = False,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Scores:
    """Score a predictor on every annotated frame of a data set.

    The predictor always sees the frames as they are stored. Its list of classes may differ from
    the data set's: see `match_classes`.

    Args:
        predictor: what is scored.
        dataset: clips with truth; their names must differ.
        size: "protocol": scored at 224 x 224, frames that are not square squashed, as AVSBench
            does; "native": at the size of the truth as stored.
        threshold: probability from which a pixel has a class in the class metrics.
        group: frames whose F curves `tpavi` averages.
        convention: how log-mel examples are cut from a waveform.
        listen: also compute `mute`, `swap` and `solo`, which takes about three times as long.
        seed: of the choice of sounds for `swap`.
        progress: called after each clip with the number of clips done and of all.

    Raises:
        DataError: if no clip has an annotated frame.
    """
    shared = match_classes(predictor.classes, dataset.classes)
    num_classes = len(shared.names)
    summary, tpavi, davis = Summarize(), Tpavi(group), Davis()
    avss, pooled = Avss(num_classes), Pooled(num_classes)
    listening = Listening(predictor, dataset, convention=convention, seed=seed) if listen else None

    num_scored = 0
    for index in range(len(dataset)):
        clip = dataset[index]
        rows, columns = PROTOCOL_SIZE if size == "protocol" else clip.labels.shape[1:]
        log_mel = clip_log_mel(clip.waveform, len(clip.frames), convention)
        predicted = predict_clip(
            predictor, clip.frames, log_mel, size=(rows, columns), threshold=threshold
        )
        for t in np.flatnonzero(clip.annotated).tolist():
            target = shared.of_data[resize_labels(clip.labels[t], (rows, columns))]
            if (target == IGNORE).all():
                continue
            labels = shared.of_model[predicted.labels[t]]
            frame = ScoredFrame(clip.name, t, predicted.probs[t], labels, target)
            for metric in (summary, tpavi, avss, pooled, davis):
                metric.update(frame)
            num_scored += 1
        if listening is not None:
            listening.update(index, clip, predicted.probs)
        if progress is not None:
            progress(index + 1, len(dataset))
    if num_scored == 0:
        raise DataError("no clip of this split has an annotated frame", "Choose another split.")

    return Scores(
        size=size,
        threshold=threshold,
        classes=shared.names,
        unknown_classes=shared.unknown,
        summary=summary.compute(),
        tpavi=tpavi.compute(),
        avss=avss.compute(),
        pooled=pooled.compute(),
        davis=davis.compute(),
        listening=listening.compute() if listening is not None else None,
    )
