"""The files that `avseg eval` writes: JSON, CSV, a sheet of pictures, a page."""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass
from pathlib import Path

import cv2
import numpy as np

from avsegcli.errors import ConfigError
from avsegcli.evaluation.evaluator import Scores
from avsegcli.evaluation.gallery import BestAndWorst, draw_examples
from avsegcli.evaluation.html_report import html_report
from avsegcli.evaluation.report import audio_dependence_rows, label_of, metric_rows
from avsegcli.files.atomic import check_can_create, resolved_path, write_atomically

COLUMNS = ("scope", "name", "convention", "metric", "value")  # of the CSV
SHEETS = (".png", ".jpg", ".jpeg")


@dataclass(frozen=True)
class ScoreFiles:
    """Paths of the files of scores; None: not written."""

    json: Path | None = None  # all numbers
    csv: Path | None = None  # likewise, a number a row
    sheet: Path | None = None  # the worst and best clips
    report: Path | None = None  # a page with everything

    def check(self, *, force: bool = False) -> None:
        """Find out before the work whether the files can be written.

        Raises:
            ConfigError: if a file is wanted twice, or a sheet is no picture.
            AvsegError: if a file cannot be written there, or exists and may not be replaced.
        """
        paths = [path for path in astuple(self) if path is not None]
        for place, path in enumerate(paths):
            if resolved_path(path) in map(resolved_path, paths[:place]):
                raise ConfigError(f"two files would be written to {path}", "Name two of them.")
            check_can_create(path, force=force)
        if self.sheet is not None and self.sheet.suffix.lower() not in SHEETS:
            raise ConfigError(f"{self.sheet} is no picture", f"A sheet ends in {', '.join(SHEETS)}")

    @property
    def show_clips(self) -> bool:
        """Whether pictures of clips are wanted."""
        return self.sheet is not None or self.report is not None

    def write(self, scores: Scores, gallery: BestAndWorst, origin: Mapping[str, str]) -> None:
        """Write the files that were asked for.

        Args:
            scores: all numbers.
            gallery: the clips to show.
            origin: model and data, in words.

        Raises:
            AvsegError: if a file cannot be written.
        """
        if self.json is not None:
            write_atomically(self.json, json.dumps({**origin, **scores.as_dict()}, indent=1) + "\n")
        if self.csv is not None:
            write_atomically(self.csv, score_csv(scores))
        if self.sheet is not None:
            picture = np.ascontiguousarray(draw_examples(gallery, scores.classes)[..., ::-1])
            _, coded = cv2.imencode(self.sheet.suffix, picture)
            write_atomically(self.sheet, coded.tobytes())
        if self.report is not None:
            write_atomically(self.report, html_report(scores, gallery, origin))


def score_csv(scores: Scores) -> str:
    """Write the scores as CSV.

    Scope is "split", "class" or "clip", name that of the class or clip. A number that there is
    not, as the IoU of a class that is never seen, has no row.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    table.writerows(row for row in _rows(scores) if row[-1] is not None)
    return text.getvalue()


def _summary(scores: Scores) -> dict[str, float | None]:
    summary = scores.summary
    return {
        "clips": summary.num_clips,
        "annotated frames": summary.num_frames,
        "share of silent frames": summary.silent_share,
        "J on frames with an object": summary.j_object,
        "painted area of silent frames": summary.silent_area,
        "classes that the model does not know": len(scores.unknown_classes),
    }


def _rows(scores: Scores) -> Iterator[tuple[str, str, str, str, float | None]]:
    for metric, value in _summary(scores).items():
        yield "split", "", "summary", metric, value
    for row in metric_rows(scores):
        yield "split", "", row.convention, row.label, row.value
    for key, interval in scores.intervals.items():
        convention, label = key.partition(".")[0], label_of(scores, key)
        yield "split", "", convention, f"{label}, 2.5 %", interval.low
        yield "split", "", convention, f"{label}, 97.5 %", interval.high
    if scores.intervals:
        yield "split", "", "bootstrap", "resamples", scores.resamples
    if not scores.unknown_classes:  # a table has no need of it then
        label = label_of(scores, "avss.miou_known")
        yield "split", "", "avss", label, scores.avss.miou_known
    yield "split", "", "avsbench", "groups of F", scores.avsbench.num_groups
    if scores.listening is not None:
        for name, _, value, clips in audio_dependence_rows(scores.listening):
            yield "split", "", "listening", name, value
            yield "split", "", "listening", f"clips of {name}", clips
    for index, name in enumerate(scores.classes):
        yield "class", name, "avss", "IoU", scores.avss.class_iou[index]
        yield "class", name, "avss", "frames", scores.avss.class_frames[index]
        yield "class", name, "pooled", "IoU", scores.pooled.class_iou[index]
    for clip in scores.clips:
        yield "clip", clip.name, "avsbench", "J", clip.avsbench_j
        yield "clip", clip.name, "avsbench", "F", clip.avsbench_f
        yield "clip", clip.name, "davis", "J", clip.davis_j
        yield "clip", clip.name, "davis", "F of boundaries", clip.davis_f
