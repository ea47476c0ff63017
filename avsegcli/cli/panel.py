"""`avseg panel`: clips side by side, as they are and as models paint them."""

from pathlib import Path
from typing import Annotated

import typer

from avsegcli.cli.options import (
    DataRoot,
    Dataset,
    Device,
    Engine,
    EngineChoice,
    Force,
    SeveralWeights,
    Split,
    check_output,
    load_models,
    open_clips,
)


def panel(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the files.")],
    dataset: Dataset = None,
    data_root: DataRoot = None,
    split: Split = "test",
    weights: SeveralWeights = None,
    clips: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME...", help="Which clips; by default those with most sources."),
    ] = None,
    number: Annotated[int, typer.Option(min=1, help="How many clips, without --clips.")] = 4,
    device: Device = "auto",
    engine: Engine = EngineChoice.AUTO,
    force: Force = False,
) -> None:
    """Show clips side by side: frame, ground truth, and the masks of each model.

    Writes panel.png and panel.svg: the paper's Figure 5.

    Example: avseg panel --weights full.safetensors row1.safetensors -o figures
    """
    from avsegcli.analysis.plots import draw_panel, save_figure
    from avsegcli.analysis.qualitative import draw_panel_rows

    check_output(output, ["panel.png", "panel.svg"], force=force)
    data = open_clips(dataset, split, data_root)
    models = load_models(weights, device, engine)
    rows = draw_panel_rows(models, data, clips=clips, number=number)
    for path in save_figure(draw_panel(rows), output, "panel"):
        typer.echo(path)
