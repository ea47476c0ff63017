"""`avseg plot`: the curves of a training run."""

import csv
from pathlib import Path
from typing import Annotated

import typer

from avsegcli.cli.options import Force
from avsegcli.errors import DataError


def plot(
    run: Annotated[Path, typer.Argument(help="The folder of a run.")],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Folder for the files.", show_default="the run"),
    ] = None,
    force: Force = False,
) -> None:
    """Draw losses, learning rate and validation scores of a run.

    Writes training.png and training.svg.

    Example: avseg plot runs/r50
    """
    from avsegcli.analysis.plots import draw_training, save_figure
    from avsegcli.cli.options import check_output
    from avsegcli.training.run_log import SCORES, STEPS

    folder = output or run
    check_output(folder, ["training.png", "training.svg"], force=force)
    rows: dict[str, list[dict[str, str]]] = {}
    for name in (STEPS, SCORES):
        try:
            with (run / name).open(newline="", encoding="utf-8") as file:
                rows[name] = list(csv.DictReader(file))
        except FileNotFoundError:
            rows[name] = []
    if not any(rows.values()):
        raise DataError(f"{run} has no logs of a run", f"they are called {STEPS} and {SCORES}")
    try:
        figure = draw_training(rows[STEPS], rows[SCORES])
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"the logs of {run} are damaged: {error}") from error
    for path in save_figure(figure, folder, "training"):
        typer.echo(path)
