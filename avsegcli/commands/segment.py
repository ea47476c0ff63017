"""`avseg segment`: paint the sounding objects of a video."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from avsegcli.segmenter import Summary


class DeviceChoice(StrEnum):
    """Where the network runs."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"
    MPS = "mps"


def segment(
    video: Annotated[Path, typer.Argument(help="A video with sound.", show_default=False)],
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            help="The painted video: .mp4, .mov, .mkv or .webm.",
            show_default=False,
        ),
    ],
    fps: Annotated[
        float, typer.Option(help="Analysed frames a second; between them masks are interpolated.")
    ] = 4.0,
    alpha: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Opacity of the masks; 0: outlines only.")
    ] = 0.5,
    threshold: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            help="Mask probability from which a pixel counts.",
            show_default="that of the model, 0.5",
        ),
    ] = None,
    device: Annotated[
        DeviceChoice, typer.Option(help="Where the network runs.")
    ] = DeviceChoice.AUTO,
    weights: Annotated[
        Path | None, typer.Option(help="A checkpoint.", show_default="the packaged one")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the output if it exists.")
    ] = False,
    quiet: Annotated[
        bool, typer.Option("-q", "--quiet", help="Print nothing but warnings and errors.")
    ] = False,
) -> None:
    """Paint the sounding objects of VIDEO, and say which class sounds when.

    Example: avseg segment clip.mp4 -o painted.mp4
    """
    from rich.console import Console

    from avsegcli.segmenter import Segmenter

    segmenter = Segmenter(weights=weights, device=device.value)
    segmenter.check_files(video, output, force=force)
    predictor = segmenter.predictor
    if not quiet:
        typer.echo(
            f"avseg: {predictor.model_name} ({len(predictor.classes) - 1} classes) "
            f"on {predictor.device_name}",
            err=True,
        )
    with _SpeedBar(video.name, shown=not quiet) as bar:
        summary = segmenter.segment_file(
            video,
            output,
            fps=fps,
            alpha=alpha,
            threshold=threshold,
            force=force,
            progress=bar.update,
        )
    for problem in summary.problems:
        typer.echo(f"avseg: warning: {problem}", err=True)
    if not quiet:
        Console().print(_table(summary))


class _SpeedBar:
    """A progress bar with the speed, on standard error if that is a terminal."""

    def __init__(self, name: str, *, shown: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[speed]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not (shown and console.is_terminal),
        )
        self._task = self._progress.add_task(name, total=None, speed="")

    def update(self, seconds: float, total: float | None) -> None:
        """Show that so many seconds of the video are done, of so many."""
        elapsed = self._progress.tasks[0].elapsed
        speed = f"{seconds / elapsed:.1f} x real time" if elapsed else ""
        self._progress.update(self._task, completed=seconds, total=total, speed=speed)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._progress.stop()


def _table(summary: "Summary") -> "Table":
    """Lay out which class sounds when, and how long in all."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, title=str(summary.output), title_justify="left")
    table.add_column("class", no_wrap=True)
    table.add_column("when")
    table.add_column("seconds", justify="right")
    for name in dict.fromkeys(event.class_name for event in summary.events):
        events = [event for event in summary.events if event.class_name == name]
        when = ", ".join(f"{_clock(event.start)}-{_clock(event.end)}" for event in events)
        table.add_row(name, when, f"{sum(event.end - event.start for event in events):.1f}")
    if not summary.events:
        table.add_row("-", "nothing in the picture is found to sound", "0.0")
    return table


def _clock(seconds: float) -> str:
    """Write a time as mm:ss.s.

    Example:
        >>> _clock(83.26)
        '01:23.3'
    """
    tenths = round(seconds * 10)
    return f"{tenths // 600:02d}:{tenths % 600 // 10:02d}.{tenths % 10}"
