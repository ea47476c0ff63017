"""`avseg train`: train a model on parts or on labelled clips."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from avsegcli.errors import ConfigError

RUN = Path("runs/avseg")  # the folder of a run for which none is named


def train(
    dataset: Annotated[
        str | None,
        typer.Option(
            "--dataset",
            "--data",
            metavar="s4|ms3|s4+ms3|avss|DIR",
            help="A subset of AVSBench or two, a parts folder, or a data set of 'avseg compose'.",
        ),
    ] = None,
    data_root: Annotated[
        Path | None,
        typer.Option(
            help="AVSBench's folder, for a subset by name.", show_default="that of AVSEG_DATA"
        ),
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="lite, r50, swin-t or pvt-b5.", show_default="lite")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The run folder.", show_default=f"{RUN}")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="Settings of your own: a TOML file, or the config.json of a run."),
    ] = None,
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
    convention: Annotated[
        str | None,
        typer.Option(
            metavar="aligned|avsbench|stored",
            help="How log-mel examples are made of the sound, as in 'avseg eval'; --set "
            "data.convention.",
            show_default="aligned",
        ),
    ] = None,
    keep_best: Annotated[
        int | None,
        typer.Option(
            "--keep-best",
            min=1,
            help="Keep the checkpoints of the K best epochs, for 'avseg average'; --set "
            "optim.keep_best.",
            show_default="1",
        ),
    ] = None,
    log_with: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,...", help="Trackers of accelerate, like tensorboard, wandb or mlflow."
        ),
    ] = None,
    init: Annotated[Path | None, typer.Option(help="A checkpoint to begin from.")] = None,
    pools: Annotated[
        list[Path] | None,
        typer.Option(
            "--pool",
            help="Clips with backbone features, of 'avseg data encode'; repeatable. --data then "
            "names the parts folder to validate on.",
        ),
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(
            metavar="[RUN]",
            help="Go on with a run as it began; without RUN with that in --out. What is given "
            "beside it is changed.",
        ),
    ] = None,
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

    if resume is not None and force:
        raise ConfigError("--resume and --force exclude each other", "Give one of them.")
    if resume and out is not None:
        raise ConfigError(f"--resume {resume} and --out {out}", "Name the run once.")
    if convention is not None:
        settings = [*(settings or []), f"data.convention={convention}"]
    if keep_best is not None:
        settings = [*(settings or []), f"optim.keep_best={keep_best}"]
    run = Path(resume) if resume else out or RUN
    begun = {} if resume is None else _read_run(run)
    name = begun.get("name", "lite") if preset is None else preset
    if begun and dataset is None:
        dataset = begun.get("origin", {}).get("dataset")
        data_root = data_root or _path(begun.get("origin", {}).get("data_root"))
    subset = None if dataset is None else recognize_subset(dataset)
    as_begun = begun if preset is None or preset == begun.get("name") else None
    resolved = load_config(name, config, settings, subset, base=as_begun or None)
    if show_settings:
        typer.echo(resolved.to_toml(), nl=False)
        return
    if dataset is None:
        raise ConfigError(
            "training needs --dataset",
            "s4, ms3, s4+ms3 or avss, a parts folder, or what 'avseg compose' writes",
        )

    # Where several processes train, PyTorch warns that most batches reach all parameters.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    from avsegcli.training.run import start_training

    start_training(
        resolved,
        dataset,
        run,
        data_root=data_root,
        name=name,
        backbone_weights=backbone_weights,
        audio_weights=audio_weights,
        init=init,
        pools=pools or (),
        resume=resume is not None,
        force=force,
        log_with=begun.get("log_with", ()) if log_with is None else log_with.split(","),
        device=device,
        report=lambda line: typer.echo(line, err=True),
    )


def _read_run(run: Path) -> dict[str, Any]:
    """Read the settings of the run to resume.

    Raises:
        AvsegError: if there is no run to go on with.
    """
    from avsegcli.training.run_folder import STATE, no_state, saved_settings

    if not (run / STATE).is_file():
        raise no_state(run)
    return saved_settings(run)


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)
