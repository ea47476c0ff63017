"""`avseg average`: the mean of several checkpoints."""

from pathlib import Path
from typing import Annotated

import typer

from avsegcli.errors import ConfigError


def average(
    checkpoints: Annotated[
        list[Path],
        typer.Argument(metavar="A B...", help="Checkpoints, or the folder of a run."),
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The averaged checkpoint: .safetensors.")
    ],
    best: Annotated[
        int | None,
        typer.Option(min=2, help="Of a run, so many of the best epochs.", show_default="all kept"),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the output if it exists.")
    ] = False,
) -> None:
    """Average the weights of checkpoints of one run.

    Of the folder of a run, those that 'avseg train --keep-best K' has kept.

    Example: avseg average runs/r50 -o r50-mean.safetensors
    """
    from avsegcli.files.atomic import check_can_create
    from avsegcli.inference.average import average_checkpoints
    from avsegcli.training.run_folder import epoch_checkpoints

    check_can_create(output, force=force)
    runs = [path for path in checkpoints if path.is_dir()]
    if best is not None and not runs:
        raise ConfigError("--best is of the folder of a run", "leave it out")
    paths: list[Path] = []
    for path in checkpoints:
        if not path.is_dir():
            paths.append(path)
            continue
        kept = epoch_checkpoints(path)
        if len(kept) < (best or 2):
            raise ConfigError(
                f"{path} keeps {len(kept)} checkpoints of its epochs, fewer than {best or 2}",
                "'avseg train --keep-best K' keeps those of the K best epochs",
            )
        paths += kept[:best]
    average_checkpoints(paths, output)
    typer.echo(f"{output}: mean of {', '.join(map(str, paths))}", err=True)
