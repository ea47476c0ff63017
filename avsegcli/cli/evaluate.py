"""`avseg eval`: score a model on a data set, by every convention."""

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from avsegcli import __version__
from avsegcli.cli.options import (
    DataRoot,
    Dataset,
    Device,
    Engine,
    EngineChoice,
    Force,
    Format,
    FormatChoice,
    Split,
    Weights,
    clip_progress,
    name_of_clips,
    open_clips,
    origin_of,
)
from avsegcli.errors import ConfigError

if TYPE_CHECKING:
    from avsegcli.inference.graph_predictor import GraphPredictor
    from avsegcli.inference.torch_predictor import Predictor


class SizeChoice(StrEnum):
    """At what size frames are scored."""

    PROTOCOL = "protocol"
    NATIVE = "native"


class ConventionChoice(StrEnum):
    """Convention for cutting log-mel examples from the sound."""

    ALIGNED = "aligned"
    AVSBENCH = "avsbench"
    STORED = "stored"


class GroupChoice(StrEnum):
    """Groups whose F curves are averaged before the best threshold is taken."""

    VIDEO = "video"
    FRAME = "frame"
    SPLIT = "split"


def evaluate(
    dataset: Dataset = None,
    data_root: DataRoot = None,
    split: Split = "test",
    weights: Weights = None,
    device: Device = "auto",
    engine: Engine = EngineChoice.AUTO,
    size: Annotated[
        SizeChoice,
        typer.Option(help="Size of scoring: protocol (224 x 224, as AVSBench) or native."),
    ] = SizeChoice.PROTOCOL,
    f_group: Annotated[
        GroupChoice, typer.Option("--f-group", help="Group of frames of the avsbench F.")
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
    seed: Annotated[
        int,
        typer.Option(
            min=0, help="Seed of the sounds that --listen swaps in, and of the resamples."
        ),
    ] = 0,
    bootstrap: Annotated[
        int,
        typer.Option(
            min=0, help="Resamples of the clips for 95 % confidence intervals; 0: no intervals."
        ),
    ] = 10_000,
    import_preds: Annotated[
        Path | None,
        typer.Option(
            help="Score masks of another system instead: a folder of PNG by clip, or COCO JSON."
        ),
    ] = None,
    nearest_colour: Annotated[
        bool,
        typer.Option(
            "--nearest-colour",
            help="Of --import-preds: a colour of no class counts as the class of the nearest one.",
        ),
    ] = False,
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
    workers: Annotated[
        int, typer.Option(min=1, help="Threads that read clips while others are scored.")
    ] = 2,
    multi_gpu: Annotated[
        bool,
        typer.Option(
            "--multi-gpu", help="Share the clips among all GPUs; the numbers are the same."
        ),
    ] = False,
    separate_first: Annotated[
        int,
        typer.Option(
            min=0,
            metavar="TRACKS",
            help="Separate the sound into so many tracks, ask about each, and merge the answers: "
            "row 2 of the paper's Table 2, for the model of row 1. 0: do not.",
        ),
    ] = 0,
    form: Format = FormatChoice.TEXT,
    force: Force = False,
) -> None:
    """Score a model on labelled clips, by every convention in use.

    Example: avseg eval --dataset avss --data-root AVSBench --json scores.json
    """
    from avsegcli.analysis.separate_first import SeparateFirst
    from avsegcli.audio.nmf import require_separation
    from avsegcli.cli.tables import print_tables
    from avsegcli.distributed import (
        SINGLE_PROCESS,
        launch,
        launched_processes,
        launched_world_size,
    )
    from avsegcli.evaluation.evaluator import evaluate as score
    from avsegcli.evaluation.gallery import BestAndWorst
    from avsegcli.evaluation.prediction import ClipPredictor
    from avsegcli.evaluation.report import score_tables
    from avsegcli.evaluation.saved_predictions import SavedPredictions
    from avsegcli.evaluation.score_files import ScoreFiles
    from avsegcli.inference.predictor import open_predictor
    from avsegcli.training.run_folder import check_not_run_file

    files = ScoreFiles(json_file, csv_file, sheet, report)
    files.check(force=force)
    for path in (json_file, csv_file, sheet, report):
        if path is not None:
            check_not_run_file(path)
    for_a_model = {
        "--weights": weights is not None,
        "--device": device != "auto",
        "--engine": engine is not EngineChoice.AUTO,
        "--convention": convention is not ConventionChoice.ALIGNED,
        "--listen": listen,
        "--multi-gpu": multi_gpu,
        "--separate-first": separate_first > 0,
    }
    given = ", ".join(option for option, is_given in for_a_model.items() if is_given)
    if import_preds is not None and given:
        raise ConfigError(f"--import-preds asks no model: {given} would have no effect")
    if nearest_colour and import_preds is None:
        raise ConfigError("--nearest-colour is of --import-preds, and no masks are given")
    if not multi_gpu and "RANK" in os.environ and launched_world_size() > 1:
        raise ConfigError(
            "several processes were started, and each would score every clip",
            "--multi-gpu shares the clips among them, on CPUs too",
        )
    processes = launched_processes() if multi_gpu else SINGLE_PROCESS
    if processes is None:
        raise typer.Exit(launch(sys.argv[1:]))
    quiet = not processes.is_main
    clips = open_clips(dataset, split, data_root, listen=listen, quiet=quiet)
    predictor: SavedPredictions | GraphPredictor | Predictor
    if import_preds is not None:
        predictor = SavedPredictions(import_preds, clips, nearest_colour=nearest_colour)
        said = f"masks of {import_preds}: {predictor.how}"
        origin = {"model": f"masks of {import_preds}", "read_as": predictor.how}
    else:
        predictor = open_predictor(weights, device, engine.value)
        said = f"{predictor.model_name} on {predictor.device_name}"
        origin = {
            "model": predictor.model_name,
            **origin_of(weights),
            "convention": convention.value,
        }
    origin |= {"data": name_of_clips(dataset), "split": split, "avseg": __version__}
    if not quiet:
        typer.echo(said, err=True)
        for warning in predictor.warnings if isinstance(predictor, SavedPredictions) else ():
            typer.echo(f"avseg: warning: {warning}", err=True)

    asked: SavedPredictions | ClipPredictor = predictor
    if separate_first and not isinstance(predictor, SavedPredictions):
        require_separation()
        asked = SeparateFirst(predictor, separate_first)
        origin["separate_first"] = str(separate_first)
    gallery = BestAndWorst()
    with clip_progress(quiet=quiet) as update:
        scores = score(
            asked,
            clips,
            size=size.value,
            group=f_group.value,
            convention=convention.value,
            listen=listen,
            seed=seed,
            bootstrap=bootstrap,
            gallery=gallery if files.show_clips else None,
            workers=workers,
            processes=processes,
            progress=update,
        )
    if quiet:
        return
    if isinstance(predictor, SavedPredictions) and nearest_colour:
        origin["nearest_colour"] = predictor.changed_pixels
        typer.echo(f"--nearest-colour: {predictor.changed_pixels}", err=True)
    try:  # neither a full disk nor a closed pipe costs both
        files.write(scores, gallery, origin)
    finally:
        print_tables(score_tables(scores), form)
