"""`avseg noise-test`: how scores fall as noise rises."""

import math
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from avsegcli.errors import ConfigError

RATIOS_DB = "0,5,10,20,inf"


class Metric(StrEnum):
    """What is plotted, by its place in the scores."""

    TPAVI_J_AND_F = "tpavi.j_and_f"
    TPAVI_J = "tpavi.j"
    TPAVI_F = "tpavi.f"
    AVSS_MIOU = "avss.miou"
    AVSS_MIOU_PRESENT = "avss.miou_present"
    POOLED_MIOU = "pooled.miou"
    POOLED_FOREGROUND_IOU = "pooled.foreground_iou"
    DAVIS_J_AND_F = "davis.j_and_f"
    J_OBJECT = "summary.j_object"
    SILENT_AREA = "summary.silent_area"


def noise_test(
    snr: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DB...",
            help="Signal-to-noise ratios; inf is the sound as it is.  [default: 0 5 10 20 inf]",
        ),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            "--dataset",
            "--data",
            metavar="s4|ms3|avss|DIR",
            help="Clips, as 'avseg eval' takes them; without it the packaged test set.",
        ),
    ] = None,
    data_root: Annotated[
        Path | None,
        typer.Option(
            help="AVSBench's folder, for a subset by name.", show_default="that of AVSEG_DATA"
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="Which clips of it: train, val or test.")] = "test",
    weights: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE...", help="Checkpoints, a curve each; without it the packaged weights."
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    noise: Annotated[
        str,
        typer.Option(
            metavar="DIR|FILE|KIND",
            help="Recordings, or white, pink, brown, babble, speech or music.",
        ),
    ] = "pink",
    noise_split: Annotated[
        str | None,
        typer.Option(help="Of a noise folder, only what is named or filed under this split."),
    ] = None,
    seeds: Annotated[
        int, typer.Option(min=1, help="Mixes of each clip at each ratio: mean and spread.")
    ] = 1,
    metric: Annotated[
        list[Metric] | None,
        typer.Option(
            metavar="NAME...",
            help="What is shown: " + ", ".join(Metric) + "."
            "  [default: tpavi.j_and_f avss.miou_present]",
        ),
    ] = None,
    listen: Annotated[
        bool,
        typer.Option("--listen/--no-listen", help="Also mute and swap the sound at each ratio."),
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Folder for noise.csv, .json, .png and .svg."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace such files that are there already.")
    ] = False,
) -> None:
    """Score a model at several signal-to-noise ratios.

    Without any option: the packaged weights, on the 40 clips that the package carries.

    Example: avseg noise-test --snr 0 5 10
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    from avsegcli.datasets.layouts import open_dataset
    from avsegcli.datasets.noises import open_noise
    from avsegcli.datasets.testset import packaged_testset
    from avsegcli.evaluation.noise_sweep import noise_sweep, sweep_csv, sweep_json, sweep_table
    from avsegcli.evaluation.plots import draw_noise_curves, require_matplotlib, save_figure
    from avsegcli.predictor import Predictor

    ratios = read_ratios(snr or [RATIOS_DB])
    metrics = [name.value for name in metric or [Metric.TPAVI_J_AND_F, Metric.AVSS_MIOU_PRESENT]]
    if output is not None:
        require_matplotlib()
        _refuse_to_replace(
            [output / f"noise.{kind}" for kind in ("csv", "json", "png", "svg")], force
        )
    source = open_noise(noise, noise_split)
    clips = open_dataset(dataset or str(packaged_testset()), split, data_root)
    files: list[Path | None] = [*weights] if weights else [None]
    predictors = [Predictor(file, device) for file in files]
    names = _tell_apart([predictor.model_name for predictor in predictors], weights or [])
    models = dict(zip(names, predictors, strict=True))

    messages = Console(stderr=True, highlight=False, soft_wrap=True)
    for name, predictor in models.items():
        messages.print(f"{name} on {predictor.device_name}", markup=False)
    for note in clips.notes:
        messages.print(f"note: {note}", markup=False)
    columns = BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    hidden = not messages.is_terminal
    with Progress(*columns, console=messages, disable=hidden, transient=True) as bar:
        task = bar.add_task("clips", total=None)
        conditions = noise_sweep(
            models,
            clips,
            source,
            ratios,
            seeds=seeds,
            threshold=predictors[0].threshold,
            listen=listen,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
    Console(highlight=False).print(sweep_table(conditions, metrics))
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        (output / "noise.csv").write_text(sweep_csv(conditions))
        origin = {"data": dataset, "split": split, "noise": noise, "seeds": seeds}
        (output / "noise.json").write_text(sweep_json(conditions, **origin))
        save_figure(draw_noise_curves(conditions, metrics), output, "noise")


def read_ratios(words: Iterable[str]) -> list[float]:
    """Read ratios in dB, of which a word may hold several.

    Raises:
        ConfigError: if one is no number, or nothing can be mixed at it.

    Example:
        >>> read_ratios(["0,5", "-5", "inf"])
        [0.0, 5.0, -5.0, inf]
    """
    ratios = []
    for word in ",".join(words).split(","):
        try:
            ratio = float(word)
        except ValueError:
            ratio = math.nan
        if not ratio > -math.inf:
            raise ConfigError(
                f"'{word}' is no signal-to-noise ratio in dB", "write them as --snr 0 5 10 inf"
            )
        ratios.append(ratio)
    return ratios


def _tell_apart(names: list[str], weights: list[Path]) -> list[str]:
    """Call models by their own names, or by their files where names are the same."""
    if len(set(names)) == len(names):
        return names
    files = [path.stem for path in weights]
    if len(set(files)) < len(files):
        files = [f"{path.parent.name}/{path.stem}" for path in weights]
    return files if len(set(files)) == len(files) else [str(path) for path in weights]


def _refuse_to_replace(paths: list[Path], force: bool) -> None:
    for path in paths:
        if path.exists() and not force:
            raise ConfigError(f"{path} exists already", "Add --force to replace it.")
