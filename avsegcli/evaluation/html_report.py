"""One page of HTML with everything that an evaluation found; it needs no other file."""

import base64
from collections.abc import Mapping, Sequence
from html import escape

import cv2
import numpy as np
from numpy.typing import NDArray

from avsegcli import __version__
from avsegcli.evaluation.evaluator import Scores
from avsegcli.evaluation.gallery import BestAndWorst, Example, caption, draw_example
from avsegcli.evaluation.report import (
    audio_dependence_rows,
    metric_rows,
    show_interval,
    show_number,
    summary_rows,
)

CONVENTIONS = {
    "avsbench": "AVSBench's own scripts for S4 and MS3: a frame without an object scores the share "
    "of pixels left alone; F at the best of 255 thresholds.",
    "avss": "AVSBench-semantic's colour metric: IoU and F of each class, averaged frame by frame, "
    "over real frames only.",
    "pooled": "one confusion matrix over the whole split, as elsewhere in semantic segmentation.",
    "davis": "regions and boundaries as in DAVIS; no first or last frame is skipped.",
}
JPEG_QUALITY = 88

_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: 0; }
h2 { font-size: 1.1rem; margin-top: 2.2rem; }
table { border-collapse: collapse; }
th, td { padding: .2rem .9rem .2rem 0; text-align: left; border-bottom: 1px solid #8884; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
td.bar { width: 12rem; }
td.bar div { height: .7rem; background: #3a7bd5; border-radius: .2rem; }
figure { margin: 1rem 0; }
figure img { max-width: 100%; }
figcaption, .note { color: #777; font-size: .9em; }
details { margin-top: 2rem; }
"""


def html_report(scores: Scores, gallery: BestAndWorst, origin: Mapping[str, str]) -> str:
    """Write the scores, by convention and class, and the worst and best clips as a page.

    Args:
        scores: all numbers.
        gallery: the clips to show.
        origin: model and data, in words.
    """
    said = " · ".join(f"{escape(key)}: {escape(value)}" for key, value in origin.items())
    parts = [
        f"<h1>Audio-visual segmentation: scores</h1><p class='note'>{said}</p>",
        _section("Evaluation", _table(summary_rows(scores), ("", ""))),
        _section("Scores by convention", _metrics(scores)),
    ]
    if scores.listening is not None:
        rows = [
            (name, meaning, show_number(value), str(clips))
            for name, meaning, value, clips in audio_dependence_rows(scores.listening)
        ]
        header = ("test", "meaning", "value", "clips")
        parts.append(_section("Audio dependence", _table(rows, header)))
    parts.append(_section("IoU by class", _classes(scores)))
    for title, examples in (("Worst", gallery.worst()), ("Best", gallery.best())):
        if examples:
            figures = "".join(_figure(example, scores.classes) for example in examples)
            parts.append(_section(f"{title} clips by davis J", figures))
    parts.append(f"<details><summary>Every clip</summary>{_clips(scores)}</details>")
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width'><title>avseg: scores</title>"
        f"<style>{_STYLE}</style></head><body>{''.join(parts)}"
        f"<p class='note'>avseg {__version__}</p></body></html>\n"
    )


def _metrics(scores: Scores) -> str:
    rows = [
        (row.convention, row.label, show_number(row.value), show_interval(row.interval))
        for row in metric_rows(scores)
    ]
    notes = "".join(f"<li><b>{name}</b>: {escape(CONVENTIONS[name])}</li>" for name in CONVENTIONS)
    table = _table(rows, ("convention", "metric", "value", "95 % interval"))
    return (
        f"{table}<ul class='note'>{notes}</ul>"
        "<p class='note'>Numbers of different conventions, or of different sizes, are not "
        "comparable.</p>"
    )


def _classes(scores: Scores) -> str:
    rows = []
    for index, name in enumerate(scores.classes):
        iou = scores.avss.class_iou[index]
        if iou is not None:
            cells = (iou, scores.avss.class_frames[index], scores.pooled.class_iou[index])
            numbers = (show_number(cells[0]), str(cells[1]), show_number(cells[2]))
            row = "".join(f"<td class='number'>{number}</td>" for number in numbers)
            bar = f"<td class='bar'><div style='width:{100 * iou:.1f}%'></div></td>"
            rows.append(f"<tr><td>{escape(name)}</td>{bar}{row}</tr>")
    never = scores.avss.class_frames.count(0)
    note = f"<p class='note'>{never} more in neither truth nor prediction.</p>" if never else ""
    columns = ("class", "", "avss", "frames", "pooled")
    header = _row("th", columns, (False, False, True, True, True))
    return f"<table>{header}{''.join(rows)}</table>{note}"


def _clips(scores: Scores) -> str:
    rows = [
        (
            clip.name,
            *map(show_number, (clip.avsbench_j, clip.avsbench_f, clip.davis_j, clip.davis_f)),
        )
        for clip in sorted(scores.clips, key=lambda clip: (clip.davis_j, clip.name))
    ]
    return _table(rows, ("clip", "avsbench J", "avsbench F", "davis J", "davis F"))


def _figure(example: Example, classes: tuple[str, ...]) -> str:
    strip = np.ascontiguousarray(draw_example(example)[..., ::-1])
    text = escape(caption(example, classes))
    return (
        f"<figure><figcaption>{text}</figcaption>"
        f"<img alt='{text}' src='data:image/jpeg;base64,{_encode(strip)}'></figure>"
    )


def _encode(bgr: NDArray[np.uint8]) -> str:
    _, coded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return base64.b64encode(coded.tobytes()).decode()


def _section(title: str, content: str) -> str:
    return f"<h2>{escape(title)}</h2>{content}"


def _table(rows: Sequence[Sequence[str]], header: Sequence[str]) -> str:
    numeric = [all(map(_is_number, column)) for column in zip(*rows, strict=True)]
    body = "".join(_row("td", row, numeric) for row in rows)
    return f"<table>{_row('th', header, numeric) if any(header) else ''}{body}</table>"


def _row(tag: str, cells: Sequence[str], numeric: Sequence[bool]) -> str:
    text = "".join(
        f"<{tag}{' class=number' if is_numeric else ''}>{escape(cell)}</{tag}>"
        for cell, is_numeric in zip(cells, numeric, strict=True)
    )
    return f"<tr>{text}</tr>"


def _is_number(cell: str) -> bool:
    return cell == "-" or cell.lstrip("-")[:1].isdecimal()
