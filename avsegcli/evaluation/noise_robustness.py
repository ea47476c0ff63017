"""Noise robustness: scores over the signal-to-noise ratio, Figure 7 of the paper.

Every model hears the very same mixes, through the same front end: a mix depends on the seed, the
clip's name and the ratio alone, and of one seed and clip the noise is the same piece at every
ratio.
"""

import csv
import io
import json
import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from rich.table import Table

from avsegcli.audio.log_mel import SAMPLE_RATE
from avsegcli.audio.noise import BLOCK, mix_noise
from avsegcli.datasets.clip import Clip, ClipDataset
from avsegcli.evaluation.evaluator import Scores, evaluate
from avsegcli.evaluation.metrics.avsbench import mean
from avsegcli.evaluation.metrics.registry import AUDIO_DEPENDENCE, all_numbers, read_number
from avsegcli.evaluation.noise_sources import NoiseSource
from avsegcli.evaluation.prediction import ClipPredictor

BESIDE = ("summary.silent_area",)  # always shown beside what was asked for
LISTENING = tuple(number.key for number in AUDIO_DEPENDENCE)


class NoisyClips:
    """The clips of a data set with noise in their sound; where that is none, noise alone.

    Args:
        clips: the data set.
        noise: where the noise comes from.
        snr_db: signal-to-noise ratio; ``inf`` leaves the sound as it is.
        seed: of the choice of noise.

    Attributes:
        measured: ratio found in each mix that was made, by the clip's name; see `Mix.snr_db`.
    """

    def __init__(self, clips: ClipDataset, noise: NoiseSource, snr_db: float, seed: int) -> None:
        self.classes = clips.classes
        self.measured: dict[str, float | None] = {}
        self._clips, self._noise, self._snr_db, self._seed = clips, noise, snr_db, seed

    def __len__(self) -> int:
        return len(self._clips)

    def __getitem__(self, index: int) -> Clip:
        clip = self._clips[index]
        if len(clip.waveform) < BLOCK:  # it has no level, nor has noise of its length
            silence = np.zeros(len(clip.frames) * SAMPLE_RATE, np.float32)
            clip = clip._replace(waveform=silence)
        rng = np.random.default_rng([self._seed, zlib.crc32(clip.name.encode())])
        noise = np.zeros_like(clip.waveform)
        if self._snr_db < math.inf:
            noise = self._noise.draw(rng, len(clip.waveform))
        mix = mix_noise(clip.waveform, noise, self._snr_db)
        self.measured[clip.name] = mix.snr_db
        return clip._replace(waveform=mix.waveform)


@dataclass(frozen=True)
class Condition:
    """One model at one ratio, with one seed."""

    model: str
    noise: str
    snr_db: float  # asked for
    seed: int
    measured_db: float | None  # mean over the clips with a signal; None: no clip has one
    off_db: float  # by how much the worst clip misses what was asked for
    clips_without_signal: int
    scores: Scores

    def number(self, metric: str) -> float | None:
        """Give one of `all_numbers`, by its key; None where it has nothing to rest on."""
        return read_number(self.scores, metric)


def noise_sweep(
    models: Mapping[str, ClipPredictor],
    clips: ClipDataset,
    noise: NoiseSource,
    ratios_db: Sequence[float],
    *,
    seeds: int = 1,
    listen: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> list[Condition]:
    """Score models on a data set at several signal-to-noise ratios.

    Args:
        models: the models to evaluate, by the name of their curve.
        clips: the data set.
        noise: source of the noise.
        ratios_db: signal-to-noise ratios; ``inf`` is the sound as it is, for which one seed does.
        seeds: number of mixes of each clip at each ratio, of the seeds 0, 1, ...
        listen: also compute `mute`, `swap` and `solo`.
        progress: called after each clip with the number of clips done and of all.

    Returns:
        One condition for each model, ratio and seed, in this order.

    Raises:
        DataError: if a clip or a noise cannot be read.
    """
    runs = [
        (name, ratio, seed)
        for name in models
        for ratio in dict.fromkeys(ratios_db)
        for seed in range(seeds if ratio < math.inf else 1)
    ]

    def told(run: int) -> Callable[[int, int], None] | None:
        if progress is None:
            return None
        return lambda done, total: progress(run * total + done, len(runs) * total)

    conditions = []
    for run, (name, ratio, seed) in enumerate(runs):
        noisy = NoisyClips(clips, noise, ratio, seed)
        scores = evaluate(models[name], noisy, listen=listen, seed=seed, progress=told(run))
        measured = [value for value in noisy.measured.values() if value is not None]
        off = max((abs(value - ratio) for value in measured if value != ratio), default=0.0)
        conditions.append(
            Condition(
                model=name,
                noise=noise.name,
                snr_db=ratio,
                seed=seed,
                measured_db=mean(measured) if measured else None,
                off_db=off,
                clips_without_signal=len(noisy.measured) - len(measured),
                scores=scores,
            )
        )
    return conditions


class Point(NamedTuple):
    """A number of one model at one ratio, over the seeds."""

    snr_db: float
    mean: float
    spread: float  # standard deviation; 0 with one seed


def curve(conditions: Sequence[Condition], model: str, metric: str) -> list[Point]:
    """Reduce the seeds of one model, by falling ratio; where there is no number, no point."""
    numbers: dict[float, list[float]] = {}
    for condition in conditions:
        value = condition.number(metric)
        if condition.model == model and value is not None:
            numbers.setdefault(condition.snr_db, []).append(value)
    return [
        Point(ratio, mean(values), spread(values))
        for ratio, values in sorted(numbers.items(), reverse=True)
    ]


def spread(values: Sequence[float]) -> float:
    """Compute the standard deviation of a sample; 0 of one value.

    Example:
        >>> spread([1.0, 3.0]), spread([5.0])
        (1.4142135623730951, 0.0)
    """
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


# --- tables and files ---------------------------------------------------------------------------


def sweep_table(conditions: Sequence[Condition], metrics: Sequence[str]) -> Table:
    """Lay out one line for each model and ratio: mean and, with several seeds, spread."""
    first = conditions[0]
    columns = list(dict.fromkeys((*metrics, *BESIDE)))
    if first.scores.listening is not None:
        columns += [name for name in LISTENING if name not in columns]
    title = f"{first.scores.summary.num_clips} clips, noise: {first.noise}"
    table = Table(title=title, title_justify="left")
    table.add_column("model")
    for name in ("SNR, dB", "measured", *(all_numbers()[name].short for name in columns)):
        table.add_column(name, justify="right")
    for model in dict.fromkeys(condition.model for condition in conditions):
        curves = {name: {p.snr_db: p for p in curve(conditions, model, name)} for name in columns}
        for ratio in sorted({c.snr_db for c in conditions}, reverse=True):
            cells = [_cell(curves[name].get(ratio)) for name in columns]
            table.add_row(model, f"{ratio:g}", _measured(conditions, model, ratio), *cells)
    return table


def _measured(conditions: Sequence[Condition], model: str, ratio: float) -> str:
    found = [
        condition.measured_db
        for condition in conditions
        if (condition.model, condition.snr_db) == (model, ratio)
        and condition.measured_db is not None
    ]
    return f"{mean(found):.2f}".replace("-0.00", "0.00") if found else "-"


def _cell(point: Point | None) -> str:
    if point is None:
        return "-"
    return f"{point.mean:.4f}" + (f" ± {point.spread:.4f}" if point.spread else "")


def sweep_csv(conditions: Sequence[Condition]) -> str:
    """Write one line for each condition, with every metric; "inf" is the sound as it is."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    own = ("model", "noise", "snr_db", "seed", "measured_db", "off_db", "clips_without_signal")
    table.writerow([*own, *all_numbers()])
    for condition in conditions:
        numbers = [condition.number(key) for key in all_numbers()]
        values = [*(getattr(condition, name) for name in own), *numbers]
        table.writerow("" if value is None else value for value in values)
    return text.getvalue()


def sweep_json(conditions: Sequence[Condition], **origin: Any) -> str:
    """Write everything, with the whole scores of each condition; "inf" stands for no noise."""
    values = {**origin, "conditions": [_plain(condition) for condition in conditions]}
    return json.dumps(values, indent=1, allow_nan=False) + "\n"


def _plain(condition: Condition) -> dict[str, Any]:
    values = {name: _finite(value) for name, value in vars(condition).items()}
    return values | {"scores": condition.scores.as_dict()}


def _finite(value: Any) -> Any:
    return "inf" if value == math.inf else value
