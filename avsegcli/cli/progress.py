"""Progress bars and final tables of `avseg segment`."""

from collections.abc import Sequence
from threading import Lock
from typing import TYPE_CHECKING, Self

import typer
from rich import box
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from avsegcli.cli.tables import open_console

if TYPE_CHECKING:
    from avsegcli.outputs.frame_result import Summary
    from avsegcli.segment.batch import Job

MOST_TIMES = 8  # of a class in the table
WIDE = 60  # columns; a narrower terminal has no room for the speed


class SpeedBars:
    """A bar with the speed for each video that is worked on, if standard error is a terminal.

    Else, if there are several videos, a line for each when it ends.

    Args:
        shown: print anything at all.
        total: number of videos.
    """

    def __init__(self, *, shown: bool, total: int = 1) -> None:
        console = open_console(stderr=True)
        self._prints_lines = shown and not console.is_terminal and total > 1
        self._total, self._ended = total, 0
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            *([TextColumn("{task.fields[speed]}")] if console.width >= WIDE else []),
            TimeRemainingColumn(),
            console=console,
            disable=not (shown and console.is_terminal),
        )
        self._tasks: dict[int, TaskID] = {}
        self._lock = Lock()

    def update(self, job: "Job", seconds: float, total: float | None) -> None:
        """Show that so many seconds of a video are done, of so many."""
        with self._lock:
            if id(job) not in self._tasks:
                task = self._progress.add_task(job.video.name, total=None, speed="")
                self._tasks[id(job)] = task
            task = self._tasks[id(job)]
            elapsed = next(one.elapsed for one in self._progress.tasks if one.id == task)
            speed = f"{seconds / elapsed:.1f} x real time" if elapsed else ""
            self._progress.update(task, completed=seconds, total=total, speed=speed)

    def end(self, job: "Job") -> None:
        """Take away the bar of a video, or print its line."""
        with self._lock:
            self._ended += 1
            if self._prints_lines:
                told = f": {job.error}" if job.error else f" in {job.seconds:.1f} s"
                count = f"{self._ended}/{self._total}"
                typer.echo(f"avseg: {count} {job.video} {job.status}{told}", err=True)
            task = self._tasks.pop(id(job), None)
            if task is not None:
                self._progress.remove_task(task)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()


def event_table(summary: "Summary") -> Table:
    """Lay out which class sounds when, and how long in all."""
    title = ", ".join(str(path) for path in summary.outputs)
    table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", caption_justify="left")
    table.add_column("class", no_wrap=True)
    table.add_column("when")
    table.add_column("seconds", justify="right")
    for name in dict.fromkeys(event.class_name for event in summary.events):
        events = [event for event in summary.events if event.class_name == name]
        times = [f"{_clock(event.start)}-{_clock(event.end)}" for event in events]
        if len(times) > MOST_TIMES:
            times[MOST_TIMES:] = [f"and {len(times) - MOST_TIMES} more"]
            table.caption = "All times: --timeline FILE.csv"
        when = ", ".join(times)
        table.add_row(name, when, f"{sum(event.end - event.start for event in events):.1f}")
    if not summary.events:
        table.add_row("-", "nothing in the picture is found to sound", "0.0")
    return table


def batch_table(jobs: "Sequence[Job]") -> Table:
    """Lay out how each video of a run went; the last line counts."""
    table = Table(box=box.SIMPLE_HEAD, show_footer=True)
    counts = [
        (status, sum(job.status == status for job in jobs))
        for status in ("done", "skipped", "failed")
    ]
    table.add_column("file", footer=", ".join(f"{n} {status}" for status, n in counts if n))
    table.add_column("status", no_wrap=True)
    table.add_column("seconds", justify="right", footer=f"{sum(job.seconds for job in jobs):.1f}")
    table.add_column("sounding classes, or error")
    for job in jobs:
        events = job.summary.events if job.summary else []
        names = ", ".join(dict.fromkeys(event.class_name for event in events))
        told = job.error or names or ("nothing" if job.summary else "")
        table.add_row(str(job.video), job.status, f"{job.seconds:.1f}", told)
    return table


def _clock(seconds: float) -> str:
    """Write a time as mm:ss.s.

    Example:
        >>> _clock(83.26)
        '01:23.3'
    """
    tenths = round(seconds * 10)
    return f"{tenths // 600:02d}:{tenths % 600 // 10:02d}.{tenths % 10}"
