"""`avseg tsne`: are the sources of a mixture found in its semantics?"""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from avsegcli.cli.options import (
    DataRoot,
    Dataset,
    Device,
    Force,
    OutputFolder,
    Split,
    Weights,
    check_output,
    clip_progress,
    load_model,
    name_of_clips,
    open_clips,
    origin_of,
)


def tsne(
    dataset: Dataset = None,
    data_root: DataRoot = None,
    split: Split = "test",
    weights: Weights = None,
    classes: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME...", help="Which classes; by default all with two clips of their own."
        ),
    ] = None,
    mixtures: Annotated[int, typer.Option(min=1, help="Number of mixtures of two sounds.")] = 60,
    seed: Annotated[int, typer.Option(min=0, help="Of the mixtures and of t-SNE.")] = 0,
    device: Device = "auto",
    output: OutputFolder = None,
    force: Force = False,
) -> None:
    """Show whether the sources of a mixture are found in its semantics.

    Mixes sounds of two classes and asks how near the mixture lies to clips of its sources alone,
    before and after decomposition. With -o also tsne.png, .svg and .json: the paper's Figure 6.

    Example: avseg tsne -o figures
    """
    from rich.table import Table

    from avsegcli.analysis.plots import draw_mixtures, save_figure
    from avsegcli.analysis.tsne import study_mixtures
    from avsegcli.cli.tables import print_table
    from avsegcli.files.atomic import write_atomically

    check_output(output, ["tsne.png", "tsne.svg", "tsne.json"], force=force)
    clips = open_clips(dataset, split, data_root)
    predictor = load_model(weights, device)
    with clip_progress() as progress:
        study = study_mixtures(
            predictor,
            clips,
            classes=classes,
            num_mixtures=mixtures,
            seed=seed,
            progress=progress,
        )
    title = f"{len(study.mixtures)} mixtures of {len(study.classes)} classes"
    table = Table(title=title, title_justify="left")
    table.add_column("decomposition")
    for name in ("sources among the two nearest classes", "distance to sources / to others"):
        table.add_column(name, justify="right")
    for name, nearness in {"without": study.without, "with": study.within}.items():
        table.add_row(name, f"{nearness.hits:.3f}", f"{nearness.ratio:.3f}")
    table.add_row("chance", f"{study.within.chance:.3f}", "1.000")
    if output is not None:
        save_figure(draw_mixtures(study, seed), output, "tsne")
        numbers = {
            "model": predictor.model_name,
            **origin_of(weights),
            "data": name_of_clips(dataset),
            "split": split,
            "classes": study.classes,
            "mixtures": [heard.clips for heard in study.mixtures],
            "without": asdict(study.without),
            "with": asdict(study.within),
        }
        write_atomically(output / "tsne.json", json.dumps(numbers, indent=1) + "\n")
    print_table(table)
