"""Options, inputs and outputs that the commands for evaluation and analysis share."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from avsegcli.errors import ConfigError

if TYPE_CHECKING:
    from avsegcli.datasets.clip import ClipDataset
    from avsegcli.inference.graph_predictor import GraphPredictor
    from avsegcli.inference.torch_predictor import Predictor


class EngineChoice(StrEnum):
    """Runtime of the network."""

    AUTO = "auto"
    ONNX = "onnx"
    OPENVINO = "openvino"
    TORCH = "torch"


class FormatChoice(StrEnum):
    """Format of printed tables."""

    TEXT = "text"
    MARKDOWN = "markdown"
    LATEX = "latex"
    CSV = "csv"


Dataset = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        "--data",
        metavar="s4|ms3|avss|DIR",
        help="Clips: a subset of AVSBench, by name or folder, what compose wrote, or videos with "
        "masks; without it the packaged test set.",
    ),
]
DataRoot = Annotated[
    Path | None,
    typer.Option(
        help="AVSBench's folder, for a subset by name.", show_default="that of AVSEG_DATA"
    ),
]
Split = Annotated[str, typer.Option(help="Which clips of it: train, val or test.")]
Weights = Annotated[
    Path | None, typer.Option(help="A checkpoint; without it the packaged weights.")
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Engine = Annotated[
    EngineChoice,
    typer.Option(help="What runs it: on a CPU ONNX Runtime, with GPUs and checkpoints torch."),
]
SeveralWeights = Annotated[
    list[Path] | None,
    typer.Option(
        metavar="FILE...",
        help="Checkpoints, or graphs of 'avseg export', to compare; without it the packaged model.",
    ),
]
OutputFolder = Annotated[Path | None, typer.Option("-o", "--output", help="Folder for the files.")]
Force = Annotated[bool, typer.Option("--force", help="Replace files that are there already.")]


Format = Annotated[
    FormatChoice, typer.Option("--format", help="How tables are printed; LaTeX needs booktabs.")
]


def name_of_clips(dataset: str | None) -> str:
    """Say in files of results which clips they are about."""
    return dataset or "packaged test set"


def origin_of(weights: Path | None) -> dict[str, str]:
    """Say in files of results which weights they are of, as given and by their content."""
    from avsegcli.files.fetch import file_sha256
    from avsegcli.files.weights import packaged_weights

    given = "packaged" if weights is None else str(weights)
    return {"weights": given, "sha256": file_sha256(weights or packaged_weights())}


def open_clips(
    dataset: str | None,
    split: str,
    data_root: Path | None,
    *,
    listen: bool = False,
    quiet: bool = False,
) -> "ClipDataset":
    """Open the clips that are asked for, else the packaged ones, and report remarks on them.

    Args:
        dataset: as of `open_dataset`; None: the packaged ones.
        split: which of them.
        data_root: AVSBench's root, for a subset by name.
        listen: `mute`, `swap` and `solo` are to be scored on them.
        quiet: say nothing.
    """
    from avsegcli.datasets.registry import open_dataset
    from avsegcli.datasets.testset import packaged_testset
    from avsegcli.evaluation.class_mapping import BINARY

    clips = open_dataset(dataset or str(packaged_testset()), split, data_root)
    notes = list(getattr(clips, "notes", ()))
    if listen and clips.classes == BINARY:
        notes.append(
            "--listen gives mute only: swap and solo need classes, and these clips name none"
        )
    for note in notes if not quiet else ():
        typer.echo(f"note: {note}", err=True)
    return clips


def load_model(weights: Path | None, device: str) -> "Predictor":
    """Load a checkpoint for analysis, by default the packaged one, and report its device.

    Raises:
        ConfigError: if it is a graph, which nothing can look into.
        WeightsError: if it cannot be read.
    """
    from avsegcli.inference.predictor import GRAPH
    from avsegcli.inference.torch_predictor import Predictor

    if weights is not None and weights.suffix == GRAPH:
        raise ConfigError(
            f"{weights} is a graph, which nothing can look into", "Give the checkpoint it is of."
        )
    predictor = Predictor(weights, device)
    typer.echo(f"{predictor.model_name} on {predictor.device_name}", err=True)
    return predictor


def load_models(
    weights: Sequence[Path] | None, device: str, engine: EngineChoice
) -> "dict[str, GraphPredictor | Predictor]":
    """Open the models to evaluate, by default the packaged one, and report their devices.

    Returns:
        The models by their own names, or by their files where names are the same.

    Raises:
        ConfigError: if a file is named twice.
    """
    from avsegcli.inference.predictor import open_predictor

    files: Sequence[Path | None] = weights or [None]
    if len({*files}) < len(files):
        raise ConfigError("--weights names a file twice", "Name each once.")
    predictors = [open_predictor(file, device, engine.value) for file in files]
    names = _tell_apart([predictor.model_name for predictor in predictors], weights or ())
    for name, predictor in zip(names, predictors, strict=True):
        typer.echo(f"{name} on {predictor.device_name}", err=True)
    return dict(zip(names, predictors, strict=True))


def _tell_apart(names: list[str], weights: Sequence[Path]) -> list[str]:
    files = [path.stem for path in weights]
    with_folders = [f"{path.parent.name}/{path.stem}" for path in weights]
    choices = (names, files, with_folders)
    whole = [str(path) for path in weights]
    return next((choice for choice in choices if len(set(choice)) == len(names)), whole)


def check_output(folder: Path | None, names: Sequence[str], *, force: bool) -> None:
    """Check before the work that the results can be written.

    That is files that are there or cannot be written, and figures without matplotlib.
    """
    from avsegcli.analysis.plots import require_matplotlib
    from avsegcli.files.atomic import check_can_create

    if folder is None:
        return
    require_matplotlib()
    for name in names:
        check_can_create(folder / name, force=force)


@contextmanager
def clip_progress(*, quiet: bool = False) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on standard error, if that is a terminal, while the context lasts.

    Args:
        quiet: show none.

    Yields:
        What to call with the number of clips done and of all.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    from avsegcli.cli.tables import open_console

    console = open_console(stderr=True)
    columns = BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    hidden = quiet or not console.is_terminal
    with Progress(*columns, console=console, disable=hidden, transient=True) as bar:
        task = bar.add_task("clips", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
