"""`avseg data`: look at data sets, write fake ones, put downloads in place."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Write a fake data set.\n\nExample: avseg data fake AVSBench --dataset avss",
)


class SubsetChoice(StrEnum):
    """The subsets of AVSBench."""

    S4 = "s4"
    MS3 = "ms3"
    AVSS = "avss"


@app.command()
def fake(
    root: Annotated[Path, typer.Argument(help="The folder that stands for AVSBench's.")],
    dataset: Annotated[SubsetChoice, typer.Option(help="Which subset.")],
    clips: Annotated[int, typer.Option(min=1, help="Number of clips of each split.")] = 8,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same clips.")] = 0,
    force: Annotated[
        bool, typer.Option("--force", help="Replace an older subset at the same place.")
    ] = False,
) -> None:
    """Write a small set of drawn shapes that beep, in the very layout of AVSBench.

    With it every command can be tried without AVSBench. Nothing that is learned of it is of use.

    Example: avseg data fake AVSBench --dataset avss --clips 8
    """
    from avsegcli.datasets.avsbench_files import LAYOUTS
    from avsegcli.datasets.fake import write_fake

    count = write_fake(root, dataset.value, clips=clips, seed=seed, force=force)
    typer.echo(f"{root / LAYOUTS[dataset.value].folder}: {count} clips")
