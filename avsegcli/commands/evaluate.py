"""`avseg eval`: score a model on a data set, by every convention."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from avsegcli.errors import ConfigError


class SizeChoice(StrEnum):
    """At what size frames are scored."""

    PROTOCOL = "protocol"
    NATIVE = "native"


class ConventionChoice(StrEnum):
    """How log-mel examples are cut from the sound."""

    ALIGNED = "aligned"
    AVSBENCH = "avsbench"


class GroupChoice(StrEnum):
    """Whose F curves are averaged before the best threshold is taken."""

    VIDEO = "video"
    FRAME = "frame"
    SPLIT = "split"


def evaluate(
    dataset: Annotated[
        str,
        typer.Option(
            "--dataset",
            "--data",
            metavar="s4|ms3|avss|DIR",
            help="A subset of AVSBench, or a folder: what 'avseg compose' wrote, a subset, "
            "or videos with masks.",
        ),
    ],
    data_root: Annotated[
        Path | None,
        typer.Option(
            help="AVSBench's folder, for a subset by name.", show_default="that of AVSEG_DATA"
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="Which clips of it: train, val or test.")] = "test",
    weights: Annotated[
        Path | None, typer.Option(help="A checkpoint; without it the packaged weights.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    size: Annotated[
        SizeChoice,
        typer.Option(help="Size of scoring: protocol (224 x 224, as AVSBench) or native."),
    ] = SizeChoice.PROTOCOL,
    f_group: Annotated[
        GroupChoice, typer.Option("--f-group", help="Group of frames of the tpavi F.")
    ] = GroupChoice.VIDEO,
    convention: Annotated[
        ConventionChoice,
        typer.Option(
            help="Frame t is heard from second t on (aligned), or from 0.96 t s on, as AVSBench's "
            "own log-mel files (avsbench)."
        ),
    ] = ConventionChoice.ALIGNED,
    listen: Annotated[
        bool,
        typer.Option(
            "--listen/--no-listen", help="Also mute and swap the sound: does the model listen?"
        ),
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of the sounds that --listen swaps in.")] = 0,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Also write all numbers to this file.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the --json file if it exists.")
    ] = False,
) -> None:
    """Score a model on labelled clips, by every convention in use.

    Example: avseg eval --dataset avss --data-root AVSBench --json scores.json
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    from avsegcli.datasets.layouts import open_dataset
    from avsegcli.evaluation.evaluator import evaluate as score
    from avsegcli.evaluation.report import score_tables
    from avsegcli.predictor import Predictor

    if json_file is not None and json_file.exists() and not force:
        raise ConfigError(f"{json_file} exists already", "Add --force to replace it.")
    clips = open_dataset(dataset, split, data_root)
    predictor = Predictor(weights, device)
    messages = Console(stderr=True, highlight=False, soft_wrap=True)
    messages.print(f"{predictor.model_name} on {predictor.device_name}", markup=False)
    for note in clips.notes:
        messages.print(f"note: {note}", markup=False)

    columns = BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    hidden = not messages.is_terminal
    with Progress(*columns, console=messages, disable=hidden, transient=True) as bar:
        task = bar.add_task("clips", total=len(clips))
        scores = score(
            predictor,
            clips,
            size=size.value,
            threshold=predictor.threshold,
            group=f_group.value,
            convention=convention.value,
            listen=listen,
            seed=seed,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )

    if json_file is not None:
        origin = {"model": predictor.model_name, "data": dataset, "split": split}
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(origin | scores.as_dict(), indent=1) + "\n")
    results = Console(highlight=False)
    for table in score_tables(scores):
        results.print(table)
