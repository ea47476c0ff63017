"""`avseg compare`: the scores of several models side by side."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from avsegcli.cli.options import DataRoot, Device, Force, Format, FormatChoice
from avsegcli.errors import ConfigError

if TYPE_CHECKING:
    from avsegcli.analysis.comparison import Comparison


def compare(
    files: Annotated[
        list[Path], typer.Argument(metavar="A.json B.json...", help="Files of 'avseg eval --json'.")
    ],
    bootstrap: Annotated[
        int, typer.Option(min=1, help="Resamples of the clips for the 95 % intervals.")
    ] = 10_000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the resamples.")] = 0,
    clips: Annotated[
        int, typer.Option(min=0, help="How many of the clips that changed most are listed.")
    ] = 10,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Also write all numbers to this file.")
    ] = None,
    sheet: Annotated[
        Path | None,
        typer.Option(help="Also draw the clips that changed most, asking the models anew: .png."),
    ] = None,
    data_root: DataRoot = None,
    device: Device = "auto",
    form: Format = FormatChoice.TEXT,
    force: Force = False,
) -> None:
    """Compare the scores of models on the same clips, each with the first.

    Differences come with intervals of a paired bootstrap over the clips.

    Example: avseg compare before.json after.json --format markdown
    """
    from avsegcli.analysis.comparison import (
        Comparison,
        comparison_tables,
        read_evaluation,
        tell_names_apart,
    )
    from avsegcli.cli.tables import print_tables
    from avsegcli.files.atomic import check_can_create, write_atomically

    for path in (json_file, sheet):
        if path is not None:
            check_can_create(path, force=force)
    if sheet is not None and sheet.suffix.lower() != ".png":
        raise ConfigError(f"{sheet} is not a PNG file", "A sheet ends in .png.")
    evaluations = tuple(map(read_evaluation, files))
    comparison = Comparison(tell_names_apart(evaluations), evaluations, bootstrap, seed)
    for note in comparison.notes:
        typer.echo(f"note: {note}", err=True)
    if json_file is not None:
        write_atomically(json_file, json.dumps(comparison.as_dict(), indent=1) + "\n")
    print_tables(comparison_tables(comparison, clips), form)
    if sheet is not None:
        _draw_sheet(comparison, sheet, clips or 1, data_root, device)


def _draw_sheet(
    comparison: "Comparison", sheet: Path, clips: int, data_root: Path | None, device: str
) -> None:
    """Predict the clips that changed most, and draw the predictions.

    Raises:
        ConfigError: if an evaluation is not of a model, or its weights are not what they were.
    """
    from avsegcli.analysis.plots import draw_panel, png_bytes, require_matplotlib
    from avsegcli.analysis.qualitative import draw_panel_rows
    from avsegcli.cli.options import open_clips, origin_of
    from avsegcli.files.atomic import write_atomically
    from avsegcli.inference.predictor import open_predictor

    require_matplotlib()
    models = {}
    for name, evaluation in zip(comparison.names, comparison.evaluations, strict=True):
        said = evaluation.values
        if "weights" not in said:
            raise ConfigError(
                f"{evaluation.path} is not of a model that can be asked anew", "leave --sheet out"
            )
        weights = None if said["weights"] == "packaged" else Path(said["weights"])
        if origin_of(weights)["sha256"] != said["sha256"]:
            raise ConfigError(
                f"{said['weights']} has changed since {evaluation.path} was written",
                "leave --sheet out, or score the model again",
            )
        models[name] = open_predictor(weights, device)
    first = comparison.evaluations[0].values
    dataset = None if first["data"] == "packaged test set" else first["data"]
    data = open_clips(dataset, first["split"], data_root)
    most = [change.clip for change in comparison.changes(len(models) - 1)[:clips]]
    write_atomically(sheet, png_bytes(draw_panel(draw_panel_rows(models, data, clips=most))))
    typer.echo(f"{sheet}", err=True)
