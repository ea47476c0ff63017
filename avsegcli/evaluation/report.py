"""Scores as tables for a terminal, every number under the name of its convention."""

from rich.table import Table

from avsegcli.evaluation.evaluator import Scores
from avsegcli.evaluation.listening import ListeningScores


def score_tables(scores: Scores) -> list[Table]:
    """Lay out the scores: what was scored, every metric, listening if asked for, classes."""
    tables = [_summary_table(scores), _metric_table(scores)]
    if scores.listening is not None:
        tables.append(_listening_table(scores.listening))
    return [*tables, _class_table(scores)]


def _summary_table(scores: Scores) -> Table:
    summary = scores.summary
    table = _table("What was scored", "", "")
    table.add_row("clips", str(summary.num_clips))
    table.add_row("annotated frames", str(summary.num_frames))
    table.add_row("silent frames (nothing visible sounds)", f"{summary.silent_share:.1%}")
    table.add_row("J on frames with an object", _number(summary.j_object))
    table.add_row("painted area of silent frames", _number(summary.silent_area))
    table.add_row("size", "224 x 224" if scores.size == "protocol" else "native")
    if scores.unknown_classes:
        table.add_row("classes that the model does not know", str(len(scores.unknown_classes)))
    return table


def _metric_table(scores: Scores) -> Table:
    tpavi, avss, pooled, davis = scores.tpavi, scores.avss, scores.pooled, scores.davis
    group = "the split" if tpavi.group == "split" else f"each {tpavi.group}"
    rows: list[tuple[str, str, float | None]] = [
        ("tpavi", "J", tpavi.j),
        ("tpavi", f"F, best threshold of {group}", tpavi.f),
        ("avss", "mIoU", avss.miou),
        ("avss", "mIoU without background", avss.miou_no_background),
        ("avss", "mIoU of classes present", avss.miou_present),
        ("avss", "F", avss.f),
        ("avss", "F without background", avss.f_no_background),
        ("avss", "F of classes present", avss.f_present),
        ("pooled", "mIoU", pooled.miou),
        ("pooled", "mIoU of classes present", pooled.miou_present),
        ("pooled", "IoU of foreground", pooled.foreground_iou),
        ("davis", "J", davis.j),
        ("davis", "F of boundaries", davis.f),
        ("davis", "J&F", davis.j_and_f),
    ]
    table = _table("Scores by convention", "convention", "metric", "value")
    for convention, metric, value in rows:
        table.add_row(convention, metric, _number(value))
    return table


def _listening_table(listening: ListeningScores) -> Table:
    table = _table("Does it listen?", "test", "what it is", "value", "clips")
    for name, meaning in {
        "mute": "area without sound / with sound; 0 is best",
        "swap": "area with another sound / its own; 0 is best",
        "solo": "J of the sounding - of the silent object",
    }.items():
        value, clips = getattr(listening, name), getattr(listening, f"{name}_clips")
        table.add_row(name, meaning, _number(value), str(clips))
    return table


def _class_table(scores: Scores) -> Table:
    avss, pooled = scores.avss, scores.pooled
    table = _table("IoU by class", "class", "avss", "frames", "pooled")
    for index, name in enumerate(scores.classes):
        if avss.class_frames[index]:
            table.add_row(
                name,
                _number(avss.class_iou[index]),
                str(avss.class_frames[index]),
                _number(pooled.class_iou[index]),
            )
    never = avss.class_frames.count(0)
    if never:
        table.caption = f"{never} more in neither truth nor prediction"
    return table


def _table(title: str, *columns: str) -> Table:
    """A table with words on the left and, from the column of values on, numbers on the right."""
    table = Table(title=title, title_justify="left", show_header=any(columns))
    numeric = {"", "value", "clips", "avss", "frames", "pooled"}
    for place, name in enumerate(columns):
        table.add_column(name, justify="right" if place and name in numeric else "left")
    return table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
