"""The metrics in one place: how each is computed, which numbers it gives, how these are called.

Tables, JSON, CSV, reports, plots, intervals and comparisons are made from this list. A metric of
one's own is a `FrameMetric` in an entry point of the group ``avseg.metrics``.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar, NamedTuple

from avsegcli.errors import AvsegError
from avsegcli.evaluation.metrics.avsbench import (
    Accumulator,
    AvsBenchJF,
    Group,
    PerFrame,
    ScoredFrame,
    SummaryMetric,
    Sums,
    mean,
)
from avsegcli.evaluation.metrics.davis import Davis
from avsegcli.evaluation.metrics.miou import Avss, Pooled
from avsegcli.plugins import METRICS as METRIC_PLUGINS
from avsegcli.plugins import load_plugin, plugin_names


class Number(NamedTuple):
    """One number that a metric gives."""

    key: str  # place in `Scores` and in JSON
    label: str  # in a table, beside the name of its metric
    short: str  # by itself, as in a plot
    shown: bool = True  # in the table of scores


class MetricSettings(NamedTuple):
    """Settings that a metric may depend on."""

    group: Group  # whose F curves are averaged
    num_classes: int  # scored ones, background included
    known: Sequence[int]  # indices of those that the model knows


@dataclass(frozen=True)
class Metric:
    """A metric: its accumulator and its numbers."""

    name: str
    build: Callable[[MetricSettings], Accumulator]
    numbers: tuple[Number, ...]


class FrameMetric(Accumulator, ABC):
    """A metric of single frames whose mean over the frames is the result; a base for one's own.

    A subclass says `name`, which is its place in files, and `label`, and has `score`. Its mean
    comes with a confidence interval, as every other number.
    """

    name: ClassVar[str]
    label: ClassVar[str]

    def __init__(self) -> None:
        self._frames: PerFrame[float | None] = PerFrame()

    @abstractmethod
    def score(self, frame: ScoredFrame) -> float | None:
        """Score one frame; None: it does not count."""

    def update(self, frame: ScoredFrame) -> None:
        """Keep the score of one frame."""
        self._frames.keep(frame, self.score(frame))

    def compute(self) -> float | None:
        """Compute the mean over the frames that count; None if none does."""
        values = [value for value in self._frames.in_order() if value is not None]
        return mean(values) if values else None

    def clip_sums(self) -> dict[str, Sums]:
        """Sum the scores of each clip."""
        counted = {
            clip: [value for value in values if value is not None]
            for clip, values in self._frames.by_clip().items()
        }
        return {
            clip: {f"own.{self.name}": (sum(values), len(values))}
            for clip, values in counted.items()
        }


BUILT_IN = (
    Metric(
        "summary",
        lambda _: SummaryMetric(),
        (
            Number("summary.j_object", "J on frames with an object", "J with an object", False),
            Number(
                "summary.silent_area", "painted area of silent frames", "area, silent frames", False
            ),
        ),
    ),
    Metric(
        "avsbench",
        lambda settings: AvsBenchJF(settings.group),
        (
            Number("avsbench.j", "J", "avsbench J"),
            Number("avsbench.f", "F, best threshold of {group}", "avsbench F"),
            Number("avsbench.j_and_f", "J&F", "avsbench J&F"),
        ),
    ),
    Metric(
        "avss",
        lambda settings: Avss(settings.num_classes, settings.known),
        (
            Number("avss.miou", "mIoU", "avss mIoU"),
            Number("avss.miou_no_background", "mIoU without background", "avss mIoU, foreground"),
            Number("avss.miou_present", "mIoU of classes present", "avss mIoU, present"),
            Number("avss.miou_known", "mIoU of classes that the model knows", "avss mIoU, known"),
            Number("avss.f", "F", "avss F"),
            Number("avss.f_no_background", "F without background", "avss F, foreground"),
            Number("avss.f_present", "F of classes present", "avss F, present"),
        ),
    ),
    Metric(
        "pooled",
        lambda settings: Pooled(settings.num_classes),
        (
            Number("pooled.miou", "mIoU", "pooled mIoU"),
            Number("pooled.miou_present", "mIoU of classes present", "pooled mIoU, present"),
            Number("pooled.foreground_iou", "IoU of foreground", "pooled IoU of foreground"),
        ),
    ),
    Metric(
        "davis",
        lambda _: Davis(),
        (
            Number("davis.j", "J", "davis J"),
            Number("davis.f", "F of boundaries", "davis F"),
            Number("davis.j_and_f", "J&F", "davis J&F"),
        ),
    ),
)
AUDIO_DEPENDENCE = (  # computed from whole clips, by `listening`
    Number("listening.mute", "mute", "mute", False),
    Number("listening.swap", "swap", "swap", False),
    Number("listening.solo", "solo", "solo", False),
)


@cache
def own_metrics() -> tuple[Metric, ...]:
    """Load the metrics that installed packages bring.

    Raises:
        AvsegError: if one cannot be loaded, is not a `FrameMetric`, or has the name of another.
    """
    found: list[Metric] = []
    for entry in plugin_names(METRIC_PLUGINS):
        kind = load_plugin(METRIC_PLUGINS, entry)
        if not (isinstance(kind, type) and issubclass(kind, FrameMetric)):
            raise AvsegError(f"the metric '{entry}' is not a subclass of FrameMetric")
        if kind.name in [metric.name for metric in (*BUILT_IN, *found)]:
            raise AvsegError(f"the metric '{entry}' has the name of another one: {kind.name}")
        number = Number(f"own.{kind.name}", kind.label, f"{kind.name} {kind.label}")
        found.append(Metric(kind.name, _builder(kind), (number,)))
    return tuple(found)


def all_metrics() -> tuple[Metric, ...]:
    """List every metric: those of avseg, then those of installed packages."""
    return (*BUILT_IN, *own_metrics())


def all_numbers() -> dict[str, Number]:
    """List every number that can be shown, by its key."""
    numbers = [number for metric in all_metrics() for number in metric.numbers]
    return {number.key: number for number in (*numbers, *AUDIO_DEPENDENCE)}


def _builder(kind: type[FrameMetric]) -> Callable[[MetricSettings], Accumulator]:
    return lambda _: kind()


def current_key(key: str) -> str:
    """Return a key of scores by its present name: earlier versions said `tpavi` for `avsbench`.

    Example:
        >>> current_key("tpavi.j"), current_key("tpavi_f"), current_key("avss.miou")
        ('avsbench.j', 'avsbench_f', 'avss.miou')
    """
    return re.sub(r"^tpavi(?=[._]|$)", "avsbench", key)


def current_scores(values: Any) -> Any:
    """Return the contents of a JSON file of scores with all its keys by their present names."""
    if isinstance(values, dict):
        return {current_key(key): current_scores(entry) for key, entry in values.items()}
    return [current_scores(entry) for entry in values] if isinstance(values, list) else values


def read_number(scores: Any, key: str) -> float | None:
    """Read a number from `Scores` or from its JSON; None where there is none.

    Example:
        >>> read_number({"avsbench": {"j": 0.5}, "listening": None}, "avsbench.j")
        0.5
        >>> read_number({"listening": None}, "listening.mute") is None
        True
    """
    value = scores
    for name in key.split("."):
        value = value.get(name) if isinstance(value, dict) else getattr(value, name, None)
    return value
