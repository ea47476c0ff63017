"""`avseg noise-test`: how scores fall as noise rises."""

import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

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
    SeveralWeights,
    Split,
    check_output,
    clip_progress,
    load_models,
    name_of_clips,
    open_clips,
    origin_of,
)
from avsegcli.errors import ConfigError

RATIOS_DB = "0,5,10,20,inf"
FARTHEST_DB = 100  # beyond, the mix has not enough digits
SHOWN = ("avsbench.j_and_f", "avss.miou")  # by default


def noise_test(
    snr: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DB...",
            help="Signal-to-noise ratios; inf is the sound as it is.  [default: 0 5 10 20 inf]",
        ),
    ] = None,
    dataset: Dataset = None,
    data_root: DataRoot = None,
    split: Split = "test",
    weights: SeveralWeights = None,
    device: Device = "auto",
    engine: Engine = EngineChoice.AUTO,
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
        list[str] | None,
        typer.Option(
            metavar="NAME...",
            help="Numbers to show, like davis.j; an unknown one lists all.  [default: "
            + " ".join(SHOWN)
            + "]",
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
    form: Format = FormatChoice.TEXT,
    force: Force = False,
) -> None:
    """Score a model at several signal-to-noise ratios.

    Without any option: the packaged weights, on the 40 clips that the package carries.

    Example: avseg noise-test --snr 0 5 10
    """
    from avsegcli.analysis.plots import draw_noise_curves, save_figure
    from avsegcli.cli.tables import print_tables
    from avsegcli.evaluation.class_mapping import match_classes
    from avsegcli.evaluation.metrics.registry import all_numbers, current_key
    from avsegcli.evaluation.noise_robustness import noise_sweep, sweep_csv, sweep_json, sweep_table
    from avsegcli.evaluation.noise_sources import KINDS, open_noise
    from avsegcli.files.atomic import write_atomically

    ratios = read_ratios(snr or [RATIOS_DB])
    metrics = [current_key(name) for name in metric or SHOWN]
    if unknown := [name for name in metrics if name not in all_numbers()]:
        raise ConfigError(f"unknown metric '{unknown[0]}'", f"known: {', '.join(all_numbers())}")
    check_output(output, [f"noise.{kind}" for kind in ("csv", "json", "png", "svg")], force=force)
    if noise_split is not None and (noise in KINDS or Path(noise).is_file()):
        raise ConfigError(f"--noise-split is of a folder, and {noise} is none", "Leave it out.")
    source = open_noise(noise, noise_split)
    clips = open_clips(dataset, split, data_root, listen=listen)
    models = load_models(weights, device, engine)
    files: Sequence[Path | None] = weights or [None]
    origin = {
        "models": dict(zip(models, map(origin_of, files), strict=True)),
        "data": name_of_clips(dataset),
        "split": split,
        "noise": noise,
        "seeds": seeds,
        "avseg": __version__,
    }
    scored = {name: match_classes(m.classes, clips.classes).names for name, m in models.items()}
    if len({*scored.values()}) > 1:
        numbers = ", ".join(f"{len(classes)} for {name}" for name, classes in scored.items())
        typer.echo(f"note: not every mIoU is over the same classes: {numbers}", err=True)
    with clip_progress() as progress:
        conditions = noise_sweep(
            models, clips, source, ratios, seeds=seeds, listen=listen, progress=progress
        )
    try:  # neither a full disk nor a closed pipe costs both
        if output is not None:
            write_atomically(output / "noise.csv", sweep_csv(conditions))
            write_atomically(output / "noise.json", sweep_json(conditions, **origin))
            save_figure(draw_noise_curves(conditions, metrics), output, "noise")
    finally:
        print_tables([sweep_table(conditions, metrics)], form)


def read_ratios(words: Iterable[str]) -> list[float]:
    """Read ratios in dB, of which a word may hold several.

    Raises:
        ConfigError: if one is no number, or farther from 0 than 100 dB but not inf.

    Example:
        >>> read_ratios(["0,5", "-5", "inf"])
        [0.0, 5.0, -5.0, inf]
    """
    ratios = []
    for word in re.split(r"\s*,\s*|\s+", " ".join(words).strip()):
        try:
            ratio = float(word)
        except ValueError:
            ratio = math.nan
        if not (ratio == math.inf or abs(ratio) <= FARTHEST_DB):
            raise ConfigError(
                f"'{word}' is no signal-to-noise ratio in dB", "write them as --snr 0 5 10 inf"
            )
        ratios.append(ratio)
    return ratios
