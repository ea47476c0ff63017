"""`avseg train`: train a model on parts or on labelled clips."""

import os
from pathlib import Path
from typing import Annotated

import typer

from avsegcli.errors import ConfigError


def train(
    dataset: Annotated[
        str | None,
        typer.Option(
            "--dataset",
            "--data",
            metavar="s4|ms3|avss|DIR",
            help="A subset of AVSBench, a parts folder, or a data set of 'avseg compose'.",
        ),
    ] = None,
    data_root: Annotated[
        Path | None,
        typer.Option(
            help="AVSBench's folder, for a subset by name.", show_default="that of AVSEG_DATA"
        ),
    ] = None,
    preset: Annotated[str, typer.Option(help="lite, r50, swin-t or pvt-b5.")] = "lite",
    out: Annotated[Path, typer.Option("--out", "-o", help="The run folder.")] = Path("runs/avseg"),
    config: Annotated[Path | None, typer.Option(help="TOML with settings of your own.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="One setting, like optim.lr=5e-5; repeatable.")
    ] = None,
    backbone_weights: Annotated[
        Path | None,
        typer.Option(
            help="Pretrained weights of the backbone: a file, or a name of 'avseg download'."
        ),
    ] = None,
    audio_weights: Annotated[
        Path | None, typer.Option(help="Pretrained weights of the audio encoder: a file or a name.")
    ] = None,
    init: Annotated[Path | None, typer.Option(help="A checkpoint to begin from.")] = None,
    resume: Annotated[bool, typer.Option(help="Go on with the run in --out.")] = False,
    force: Annotated[bool, typer.Option(help="Begin anew where a run is already.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    show_settings: Annotated[
        bool,
        typer.Option("--show-settings", help="Print all settings as TOML, train nothing."),
    ] = False,
) -> None:
    """Train a model.

    Example: avseg train --dataset avss --data-root AVSBench --preset r50 --out runs/r50-avss
    """
    from avsegcli.config import load_config
    from avsegcli.datasets.avsbench_files import recognize_subset

    if resume and force:
        raise ConfigError("--resume and --force exclude each other", "Give one of them.")
    subset = None if dataset is None else recognize_subset(dataset)
    resolved = load_config(preset, config, settings, subset)
    if show_settings:
        typer.echo(resolved.to_toml(), nl=False)
        return
    if dataset is None:
        raise ConfigError(
            "training needs --dataset",
            "s4, ms3 or avss, a parts folder, or what 'avseg compose' writes",
        )

    # Where several processes train, PyTorch warns that most batches reach all parameters.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    from avsegcli.training.run import start_training

    start_training(
        resolved,
        dataset,
        out,
        data_root=data_root,
        name=preset,
        backbone_weights=backbone_weights,
        audio_weights=audio_weights,
        init=init,
        resume=resume,
        force=force,
        device=device,
        report=lambda line: typer.echo(line, err=True),
    )
