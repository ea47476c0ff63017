"""Compare evaluations of several models on the same clips, from the JSON files of `avseg eval`."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from rich.table import Table

from avsegcli.errors import ConfigError, DataError
from avsegcli.evaluation.bootstrap import RESAMPLES, ClipTable, Interval, difference_intervals
from avsegcli.evaluation.metrics.miou import ClassSums
from avsegcli.evaluation.metrics.registry import all_numbers, current_scores, read_number

PER_CLASS = ("avss.", "pooled.miou")  # numbers that depend on the list of classes
ANOTHER = "compare what was scored with the same --dataset, --split and --size"


@dataclass(frozen=True)
class Evaluation:
    """One JSON file of `avseg eval`."""

    path: Path
    values: dict[str, Any]

    @property
    def clips(self) -> dict[str, dict[str, Any]]:
        """Scores of each clip, by its name."""
        return {clip["name"]: clip for clip in self.values["clips"]}

    @cached_property
    def table(self) -> ClipTable | None:
        """The sums of the clips; None: an older version did not write them."""
        clips = self.values["clips"]
        if not all(clip.get("sums") and "classes" in clip for clip in clips):
            return None
        classes, unknown = self.values["classes"], self.values.get("unknown_classes", ())
        return ClipTable(
            [{key: tuple(sums) for key, sums in clip["sums"].items()} for clip in clips],
            [[ClassSums(*entry) for entry in clip["classes"]] for clip in clips],
            len(classes),
            [index for index, name in enumerate(classes) if name not in unknown],
        )


def read_evaluation(path: Path) -> Evaluation:
    """Read a JSON file of `avseg eval`.

    Raises:
        DataError: if it cannot be read, or is something else.
    """
    try:
        values = current_scores(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {path}: {error}") from error
    needed = {"clips", "size", "classes", "avsbench", "davis"}
    if not isinstance(values, dict) or not needed <= values.keys() or not values["clips"]:
        raise DataError(f"{path} has no scores", "give files of 'avseg eval --json'")
    values["clips"].sort(key=lambda clip: clip["name"])
    return Evaluation(path, values)


class Change(NamedTuple):
    """A clip that two models score differently."""

    clip: str
    before: float  # avsbench J
    after: float


@dataclass(frozen=True)
class Comparison:
    """Evaluations side by side; the first is what the others are compared with.

    Args:
        names: what the evaluations are called in tables.
        evaluations: at least two, on the same clips.
        seed: of the bootstrap.

    Raises:
        ConfigError: if there are fewer than two.
        DataError: if they are not of the same clips, or at different sizes.
    """

    names: tuple[str, ...]
    evaluations: tuple[Evaluation, ...]
    resamples: int = RESAMPLES
    seed: int = 0

    def __post_init__(self) -> None:
        if len(self.evaluations) < 2:
            raise ConfigError("one file alone cannot be compared", "give two or more")
        first, *others = self.evaluations
        for other in others:
            if first.values["size"] != other.values["size"]:
                sizes = first.values["size"], other.values["size"]
                raise DataError(
                    f"{first.path} is scored at size {sizes[0]}, {other.path} at {sizes[1]}",
                    ANOTHER,
                )
            apart = first.clips.keys() ^ other.clips.keys()
            if apart:
                raise DataError(
                    f"{first.path} and {other.path} are not of the same clips: only one of them "
                    f"has '{min(apart)}'",
                    ANOTHER,
                )

    @property
    def notes(self) -> list[str]:
        """Remarks for the reader, one sentence each."""
        notes = []
        if len({tuple(e.values["classes"]) for e in self.evaluations}) > 1:
            notes.append("the lists of classes differ: numbers of classes are left out")
        if len({e.values["avsbench"].get("group") for e in self.evaluations}) > 1:
            notes.append("the groups of avsbench F differ: it is left out")
        old = [str(e.path) for e in self.evaluations if e.table is None]
        if old:
            notes.append(f"no intervals: {', '.join(old)} is of an older version of avseg")
        return notes

    @property
    def keys(self) -> list[str]:
        """The numbers that all have and that can be compared."""
        classes = len({tuple(e.values["classes"]) for e in self.evaluations}) == 1
        groups = len({e.values["avsbench"].get("group") for e in self.evaluations}) == 1
        return [
            number.key
            for number in all_numbers().values()
            if all(read_number(e.values, number.key) is not None for e in self.evaluations)
            and (classes or not number.key.startswith(PER_CLASS))
            and (groups or number.key not in ("avsbench.f", "avsbench.j_and_f"))
            and (number.key != "avss.miou_known" or self._has_unknown_classes)
        ]

    @property
    def _has_unknown_classes(self) -> bool:
        return any(e.values.get("unknown_classes") for e in self.evaluations)

    @cached_property
    def intervals(self) -> list[dict[str, Interval]]:
        """Intervals of the differences from the first, by number, for each of the others."""
        first, *others = (e.table for e in self.evaluations)
        return [
            {}
            if first is None or other is None
            else difference_intervals(first, other, resamples=self.resamples, seed=self.seed)
            for other in others
        ]

    def changes(self, other: int = 1) -> list[Change]:
        """List the clips by how much J changes from the first evaluation to another."""
        before, after = self.evaluations[0].clips, self.evaluations[other].clips
        changes = [
            Change(name, before[name]["avsbench_j"], after[name]["avsbench_j"]) for name in before
        ]
        return sorted(changes, key=lambda change: (-abs(change.after - change.before), change.clip))

    def as_dict(self) -> dict[str, Any]:
        """Give all numbers as plain values for JSON."""
        first = self.evaluations[0].values
        return {
            "files": [str(e.path) for e in self.evaluations],
            "resamples": self.resamples,
            "numbers": {
                key: [read_number(e.values, key) for e in self.evaluations] for key in self.keys
            },
            "differences": [
                {
                    key: {
                        "difference": _difference(first, other.values, key),
                        "interval": intervals.get(key),
                    }
                    for key in self.keys
                }
                for other, intervals in zip(self.evaluations[1:], self.intervals, strict=True)
            ],
            "clips": [
                [change._asdict() for change in self.changes(other)]
                for other in range(1, len(self.evaluations))
            ],
        }


def comparison_tables(comparison: Comparison, clips: int = 10) -> list[Table]:
    """Lay out the numbers side by side, and the clips that changed most.

    Args:
        comparison: the result to show.
        clips: how many of them, for each evaluation but the first.
    """
    names = comparison.names
    pairs = len(names) == 2
    table = Table(title=f"{len(comparison.evaluations[0].clips)} clips", title_justify="left")
    table.add_column("metric")
    for name in names:
        table.add_column(name, justify="right")
    for name in names[1:]:
        table.add_column("difference" if pairs else f"{name} - {names[0]}", justify="right")
        table.add_column("95 % interval", justify="right")
    first = comparison.evaluations[0].values
    for key in comparison.keys:
        cells = [f"{read_number(e.values, key):.4f}" for e in comparison.evaluations]
        for other, intervals in zip(comparison.evaluations[1:], comparison.intervals, strict=True):
            cells += _difference_cells(_difference(first, other.values, key), intervals.get(key))
        table.add_row(all_numbers()[key].short, *cells)
    if any(comparison.intervals):
        table.caption = "*: the interval of the difference is on one side of 0"
    return [
        table,
        *(
            _change_table(comparison, other, clips)
            for other in range(1, len(names))
            if clips and comparison.changes(other)[0].before != comparison.changes(other)[0].after
        ),
    ]


def _difference(first: dict[str, Any], other: dict[str, Any], key: str) -> float:
    before, after = read_number(first, key), read_number(other, key)
    assert before is not None
    assert after is not None
    return after - before


def _difference_cells(difference: float, interval: Interval | None) -> tuple[str, str]:
    if interval is None:
        return f"{difference:+.4f}", "-"
    star = " *" if interval.low > 0 or interval.high < 0 else ""
    return f"{difference:+.4f}{star}", f"{interval.low:+.4f} to {interval.high:+.4f}"


def _change_table(comparison: Comparison, other: int, clips: int) -> Table:
    names = comparison.names[0], comparison.names[other]
    table = Table(title="Most changed, avsbench J", title_justify="left")
    table.add_column("clip")
    for name in (*names, "difference"):
        table.add_column(name, justify="right")
    for change in comparison.changes(other)[:clips]:
        numbers = f"{change.before:.4f}", f"{change.after:.4f}"
        table.add_row(change.clip, *numbers, f"{change.after - change.before:+.4f}")
    return table


def tell_names_apart(evaluations: Sequence[Evaluation]) -> tuple[str, ...]:
    """Call each evaluation by its file, with as many folders as tell it from the others."""
    parts = [e.path.with_suffix("").parts for e in evaluations]
    for length in range(1, max(map(len, parts)) + 1):
        names = tuple("/".join(part[-length:]) for part in parts)
        if len({*names}) == len(names):
            return names
    raise ConfigError(f"{evaluations[0].path} is given twice", "name each file once")
