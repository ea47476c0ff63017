"""`avseg ablate`: ablation study, Table 2 of the paper."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from avsegcli.cli.compose import Task
from avsegcli.cli.options import DataRoot, Format, FormatChoice


class ClipSet(StrEnum):
    """Kinds of clips that rows are trained and evaluated on."""

    multi = "multi"
    semantic = "semantic"


def ablate(
    data: Annotated[
        str,
        typer.Option(
            "--data",
            "--dataset",
            metavar="DIR|s4|ms3|s4+ms3|avss",
            help="A parts folder with the splits train, val and test, or subsets of AVSBench.",
        ),
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Folder of the runs and the results.")
    ],
    data_root: DataRoot = None,
    rows: Annotated[
        list[str] | None,
        typer.Option(
            metavar="N...",
            help="Rows of Table 2; row 2 needs row 1, 3b is row 3 as the paper's text has it.  "
            "[default: 1 2 3 3b 4 5 6]",
        ),
    ] = None,
    sets: Annotated[
        list[ClipSet] | None,
        typer.Option(metavar="SET...", help="multi, semantic or, by default, both."),
    ] = None,
    score_on: Annotated[
        list[Task] | None,
        typer.Option(
            metavar="KIND...",
            help="Test clips besides those of the set: single, multi or semantic (either).",
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each row.")] = 2,
    clips: Annotated[int, typer.Option(min=1, help="Test clips of each kind.")] = 300,
    preset: Annotated[str, typer.Option(help="Row 6: lite, r50, swin-t or pvt-b5.")] = "lite",
    config: Annotated[Path | None, typer.Option(help="TOML with settings of your own.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="One setting, like optim.epochs=3; repeatable."),
    ] = None,
    backbone_weights: Annotated[
        Path | None, typer.Option(help="Pretrained weights of the backbone.")
    ] = None,
    audio_weights: Annotated[
        Path | None, typer.Option(help="Pretrained weights of the audio encoder.")
    ] = None,
    init: Annotated[
        Path | None, typer.Option(help="A checkpoint with whose encoders every row begins.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    form: Format = FormatChoice.TEXT,
) -> None:
    """Train and score the rows of the paper's Table 2 with one budget.

    Row 2 separates the sound first and asks the model of row 1 about each track. What is done is
    not done again: the same command goes on where it was interrupted.

    Example: avseg ablate --data parts -o ablation --seeds 2

    On AVSBench: avseg ablate --dataset avss --data-root AVSBench --preset r50 -o ablation
    """
    from avsegcli.analysis.ablation import ROWS, SETS, ablation_tables, run_ablation
    from avsegcli.cli.tables import print_tables
    from avsegcli.config import load_config
    from avsegcli.datasets.avsbench_files import recognize_subset

    results = run_ablation(
        load_config(preset, config, settings, recognize_subset(data)),
        data,
        output,
        data_root=data_root,
        rows=rows or tuple(ROWS),
        sets=[name.value for name in sets] if sets else SETS,
        score_on=[kind.value for kind in score_on or []],
        seeds=seeds,
        clips=clips,
        name=preset,
        backbone_weights=backbone_weights,
        audio_weights=audio_weights,
        init=init,
        device=device,
        report=lambda line: typer.echo(line, err=True),
    )
    print_tables(ablation_tables(results), form)
