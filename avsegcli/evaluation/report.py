"""Scores as tables for a terminal, every number under the name of its convention."""

from typing import NamedTuple

from rich.table import Table

from avsegcli.evaluation.audio_dependence import AudioDependenceScores
from avsegcli.evaluation.bootstrap import Interval
from avsegcli.evaluation.evaluator import Scores
from avsegcli.evaluation.metrics.registry import all_metrics, all_numbers, read_number


def score_tables(scores: Scores) -> list[Table]:
    """Lay out tables: model and data, every metric, audio dependence if asked for, classes."""
    tables = [_summary_table(scores), _metric_table(scores)]
    if scores.listening is not None:
        tables.append(_audio_dependence_table(scores.listening))
    return [*tables, _class_table(scores)]


def summary_rows(scores: Scores) -> list[tuple[str, str]]:
    """List the evaluated model and data, in words and values."""
    summary = scores.summary
    rows = [
        ("clips", str(summary.num_clips)),
        ("annotated frames", str(summary.num_frames)),
        ("silent frames (nothing visible sounds)", f"{summary.silent_share:.1%}"),
        ("J on frames with an object", show_number(summary.j_object)),
        ("painted area of silent frames", show_number(summary.silent_area)),
        ("size", "224 x 224" if scores.size == "protocol" else "native"),
    ]
    if scores.unknown_classes:
        rows.append(("classes that the model does not know", str(len(scores.unknown_classes))))
    return rows


def _summary_table(scores: Scores) -> Table:
    table = _table("Evaluation", "", "")
    for row in summary_rows(scores):
        table.add_row(*row)
    return table


class MetricRow(NamedTuple):
    """One number of one convention."""

    convention: str
    label: str
    value: float | None
    interval: Interval | None  # 95 %; None: not computed


def metric_rows(scores: Scores) -> list[MetricRow]:
    """Name every number of every convention."""
    return [
        MetricRow(
            metric.name,
            label_of(scores, number.key),
            read_number(scores, number.key),
            scores.intervals.get(number.key),
        )
        for metric in all_metrics()
        for number in metric.numbers
        if number.shown and (number.key != "avss.miou_known" or scores.unknown_classes)
    ]


def label_of(scores: Scores, key: str) -> str:
    """Name a number as it stands beside its convention."""
    group = "the split" if scores.avsbench.group == "split" else f"each {scores.avsbench.group}"
    return all_numbers()[key].label.format(group=group)


def _metric_table(scores: Scores) -> Table:
    table = _table(
        "Scores by convention", "convention", "metric", "value", *_interval_header(scores)
    )
    for row in metric_rows(scores):
        cells = row.convention, row.label, show_number(row.value)
        table.add_row(*cells, *([show_interval(row.interval)] if scores.intervals else []))
    if scores.intervals:
        table.caption = f"{scores.resamples:,} resamples of {scores.summary.num_clips} clips"
    return table


def _interval_header(scores: Scores) -> list[str]:
    return ["95 % interval"] if scores.intervals else []


def show_interval(interval: Interval | None) -> str:
    """Write a confidence interval with four places, a missing one as a dash."""
    return "-" if interval is None else f"{interval.low:.4f} to {interval.high:.4f}"


def audio_dependence_rows(
    listening: AudioDependenceScores,
) -> list[tuple[str, str, float | None, int]]:
    """List the audio-dependence tests: name, meaning, value, number of clips."""
    meanings = {
        "mute": "area without sound / with sound; 0 is best",
        "swap": "area with another sound / its own; 0 is best",
        "solo": "J of the sounding - of the silent object",
    }
    return [
        (name, meaning, getattr(listening, name), getattr(listening, f"{name}_clips"))
        for name, meaning in meanings.items()
    ]


def _audio_dependence_table(listening: AudioDependenceScores) -> Table:
    table = _table("Audio dependence", "test", "meaning", "value", "clips")
    for name, meaning, value, clips in audio_dependence_rows(listening):
        table.add_row(name, meaning, show_number(value), str(clips))
    return table


def _class_table(scores: Scores) -> Table:
    avss, pooled = scores.avss, scores.pooled
    table = _table("IoU by class", "class", "avss", "frames", "pooled")
    for index, name in enumerate(scores.classes):
        if avss.class_frames[index]:
            table.add_row(
                name,
                show_number(avss.class_iou[index]),
                str(avss.class_frames[index]),
                show_number(pooled.class_iou[index]),
            )
    never = avss.class_frames.count(0)
    if never:
        table.caption = f"{never} more in neither truth nor prediction"
    return table


def _table(title: str, *columns: str) -> Table:
    """A table with words on the left and, from the column of values on, numbers on the right."""
    table = Table(title=title, title_justify="left", show_header=any(columns))
    numeric = {"", "value", "95 % interval", "clips", "avss", "frames", "pooled"}
    for place, name in enumerate(columns):
        table.add_column(name, justify="right" if place and name in numeric else "left")
    return table


def show_number(value: float | None) -> str:
    """Write a score with four places, a missing one as a dash."""
    return "-" if value is None else f"{value:.4f}"
