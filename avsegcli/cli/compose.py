"""`avseg compose`: make labelled audio-visual clips out of a parts folder."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from avsegcli.cli.options import clip_progress


class Task(StrEnum):
    """Task that the clips are composed for."""

    single = "single"
    multi = "multi"
    semantic = "semantic"


class Split(StrEnum):
    """Split of the parts folder."""

    train = "train"
    val = "val"
    test = "test"
    all = "all"


def compose(
    parts: Annotated[
        Path, typer.Argument(help="Folder with objects/, sounds/, backgrounds/, noise/, scenes/.")
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Folder of the data set; must not exist yet.")
    ],
    task: Annotated[
        Task,
        typer.Option(
            help="single: one visible object sounds; multi: two to four kinds do; "
            "semantic: none, one or more, some of them off screen."
        ),
    ] = Task.semantic,
    clips: Annotated[int, typer.Option(min=1, help="Number of clips of each split.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same bytes.")] = 0,
    split: Annotated[
        list[Split] | None,
        typer.Option(help="Split to compose; may be given more than once.  [default: train]"),
    ] = None,
    frames: Annotated[
        int, typer.Option(min=1, max=60, help="Length of a clip in seconds, one frame each.")
    ] = 5,
    size: Annotated[
        int, typer.Option(min=32, max=2048, help="Longest side of a frame in pixels.")
    ] = 320,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Number of processes.  [default: one for each core]")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace an older data set at the output.")
    ] = False,
) -> None:
    """Compose labelled audio-visual clips out of PARTS.

    Objects are pasted on backgrounds, or seen in whole photos with masks; some of them sound, each
    from its own onset to its own end. The data set has the layout of AVSBench-semantic, with a
    composition.json beside each clip that says what is where and what sounds when.

    Example: avseg compose parts -o clips --task semantic --clips 300 --split test --seed 1
    """
    from avsegcli.device import usable_cpus
    from avsegcli.synthesis.writer import write_avss

    splits = list(dict.fromkeys(str(name) for name in split or [Split.train]))
    with clip_progress() as progress:
        count = write_avss(
            parts,
            output,
            task=task.value,
            clips=clips,
            seed=seed,
            splits=splits,
            num_frames=frames,
            size=size,
            jobs=jobs or usable_cpus(),
            force=force,
            on_progress=progress,
        )
    typer.echo(f"{output}: {count} clips")
