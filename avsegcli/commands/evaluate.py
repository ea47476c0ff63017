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


class GroupChoice(StrEnum):
    """Whose F curves are averaged before the best threshold is taken."""

    VIDEO = "video"
    FRAME = "frame"
    SPLIT = "split"


def evaluate(
    data: Annotated[
        Path,
        typer.Option(help="What 'avseg compose' wrote, an AVSBench subset, or videos with masks."),
    ],
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

    Example: avseg eval --data clips --split test --listen --json scores.json
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    from avsegcli.datasets.layouts import open_clips
    from avsegcli.evaluation.evaluator import evaluate as score
    from avsegcli.evaluation.report import score_tables
    from avsegcli.predictor import Predictor

    if json_file is not None and json_file.exists() and not force:
        raise ConfigError(f"{json_file} exists already", "Add --force to replace it.")
    dataset = open_clips(data, split)
    predictor = Predictor(weights, device)
    messages = Console(stderr=True, highlight=False, soft_wrap=True)
    messages.print(f"{predictor.model_name} on {predictor.device_name}", markup=False)
    for note in dataset.notes:
        messages.print(f"note: {note}", markup=False)

    columns = BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    hidden = not messages.is_terminal
    with Progress(*columns, console=messages, disable=hidden, transient=True) as bar:
        clips = bar.add_task("clips", total=len(dataset))
        scores = score(
            predictor,
            dataset,
            size=size.value,
            threshold=predictor.threshold,
            group=f_group.value,
            listen=listen,
            seed=seed,
            progress=lambda done, total: bar.update(clips, completed=done, total=total),
        )

    if json_file is not None:
        origin = {"model": predictor.model_name, "data": str(data), "split": split}
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(origin | scores.as_dict(), indent=1) + "\n")
    results = Console(highlight=False)
    for table in score_tables(scores):
        results.print(table)
