"""`avseg eval`: score a model on a data set, by every convention."""

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from avsegcli import __version__
from avsegcli.errors import ConfigError


class SizeChoice(StrEnum):
    """At what size frames are scored."""

    PROTOCOL = "protocol"
    NATIVE = "native"


class ConventionChoice(StrEnum):
    """How log-mel examples are cut from the sound."""

    ALIGNED = "aligned"
    AVSBENCH = "avsbench"
    STORED = "stored"


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
            help="Frame t is heard from second t on (aligned), from 0.96 t s on, as AVSBench's own "
            "log-mel files (avsbench), or is read from these files (stored)."
        ),
    ] = ConventionChoice.ALIGNED,
    listen: Annotated[
        bool,
        typer.Option(
            "--listen/--no-listen", help="Also mute and swap the sound: does the model listen?"
        ),
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of the sounds that --listen swaps in.")] = 0,
    import_preds: Annotated[
        Path | None,
        typer.Option(help="Score masks of another system instead: PNG by clip, or COCO RLE JSON."),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Also write all numbers to this file.")
    ] = None,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", help="Also write them as a table, a number a row.")
    ] = None,
    sheet: Annotated[
        Path | None, typer.Option(help="Also draw the worst and best clips: .png or .jpg.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Also write a page with everything: .html.")
    ] = None,
    multi_gpu: Annotated[
        bool,
        typer.Option(
            "--multi-gpu", help="Share the clips among all GPUs; the numbers are the same."
        ),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace files that exist.")] = False,
) -> None:
    """Score a model on labelled clips, by every convention in use.

    Example: avseg eval --dataset avss --data-root AVSBench --json scores.json
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    from avsegcli.datasets.layouts import open_dataset
    from avsegcli.evaluation.evaluator import evaluate as score
    from avsegcli.evaluation.gallery import Gallery
    from avsegcli.evaluation.processes import ALONE, launched_processes
    from avsegcli.evaluation.report import score_tables
    from avsegcli.evaluation.score_files import ScoreFiles
    from avsegcli.evaluation.stored import StoredMasks
    from avsegcli.predictor import Predictor

    files = ScoreFiles(json_file, csv_file, sheet, report)
    files.check(force=force)
    if import_preds is not None and (weights is not None or listen or multi_gpu):
        raise ConfigError("--import-preds scores masks: no model is asked, none can listen")
    if multi_gpu and "WORLD_SIZE" not in os.environ:
        raise typer.Exit(_launch())
    processes = launched_processes() if multi_gpu else ALONE
    clips = open_dataset(dataset, split, data_root)
    messages = Console(stderr=True, highlight=False, soft_wrap=True, quiet=not processes.is_main)
    judged: StoredMasks | Predictor
    if import_preds is not None:
        judged, name, threshold = StoredMasks(import_preds, clips.classes), f"{import_preds}", 0.5
        messages.print(f"masks of {import_preds}", markup=False)
    else:
        judged = Predictor(weights, device)
        name, threshold = judged.model_name, judged.threshold
        messages.print(f"{name} on {judged.device_name}", markup=False)
    for note in clips.notes:
        messages.print(f"note: {note}", markup=False)

    gallery = Gallery()
    columns = BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    hidden = not messages.is_terminal or not processes.is_main
    with Progress(*columns, console=messages, disable=hidden, transient=True) as bar:
        task = bar.add_task("clips", total=None)
        scores = score(
            judged,
            clips,
            size=size.value,
            threshold=threshold,
            group=f_group.value,
            convention=convention.value,
            listen=listen,
            seed=seed,
            gallery=gallery if files.show_clips else None,
            processes=processes,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    if not processes.is_main:
        return

    origin = {"model": name, "data": dataset, "split": split, "convention": convention.value}
    files.write(scores, gallery, origin | {"avseg": __version__})
    results = Console(highlight=False)
    for table in score_tables(scores):
        results.print(table)


def _launch() -> int:
    """Run the same command once for each GPU; returns the exit code."""
    import subprocess

    import torch

    number = torch.cuda.device_count()
    if number < 2:
        raise ConfigError(
            f"--multi-gpu, but this machine has {number} GPUs",
            "leave it out, or start the processes yourself: "
            "torchrun --nproc_per_node 2 -m avsegcli eval --multi-gpu ...",
        )
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", f"{number}"]
    return subprocess.call([*launcher, "-m", "avsegcli", *sys.argv[1:]])
