"""Figures, as PNG and as SVG."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from avsegcli.errors import AvsegError
from avsegcli.evaluation.noise_sweep import METRICS, Condition, curve

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 150
FORMATS = ("png", "svg")
MARKERS = "osD^vP*X"
CLEAN_STEP_DB = 5.0  # from the highest ratio to where the sound as it is stands on the axis


def new_figure(width: float, height: float) -> "Figure":
    """Make an empty figure, sizes in inches.

    Raises:
        AvsegError: if matplotlib is not installed.
    """
    require_matplotlib()
    from matplotlib import rcParams
    from matplotlib.figure import Figure

    rcParams["svg.hashsalt"] = "avseg"  # the same figure, the same bytes
    return Figure((width, height), dpi=DPI, layout="constrained")


def require_matplotlib() -> None:
    """Raise an `AvsegError` if figures cannot be drawn here."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise AvsegError("figures need matplotlib", "pip install 'avseg[figures]'") from error


def save_figure(figure: "Figure", folder: Path, name: str) -> list[Path]:
    """Write a figure in both formats, each under a temporary name first."""
    paths = [folder / f"{name}.{kind}" for kind in FORMATS]
    folder.mkdir(parents=True, exist_ok=True)
    for path in paths:
        part = path.with_name(f".{path.name}.part")
        metadata = {"Date": None} if path.suffix == ".svg" else None
        figure.savefig(part, format=path.suffix[1:], metadata=metadata)
        part.replace(path)
    return paths


def draw_noise_curves(conditions: Sequence[Condition], metrics: Sequence[str]) -> "Figure":
    """Draw each metric against the signal-to-noise ratio: a line for each model.

    Bars are one standard deviation over the seeds; the sound as it is stands at the right, behind
    the highest ratio.
    """
    finite = [c.snr_db for c in conditions if c.snr_db < math.inf]
    clean_at = max(finite, default=0.0) + CLEAN_STEP_DB
    ratios = sorted({c.snr_db for c in conditions})
    places = [min(ratio, clean_at) for ratio in ratios]
    figure = new_figure(4.2 * len(metrics), 3.4)
    models = list(dict.fromkeys(condition.model for condition in conditions))
    for axes, metric in zip(
        figure.subplots(1, len(metrics), squeeze=False)[0], metrics, strict=True
    ):
        for number, model in enumerate(models):
            points = curve(conditions, model, metric)
            axes.errorbar(
                [min(point.snr_db, clean_at) for point in points],
                [point.mean for point in points],
                yerr=[point.spread for point in points],
                marker=MARKERS[number % len(MARKERS)],
                capsize=3,
                label=model,
            )
        axes.set_xticks(places, ["clean" if r == math.inf else f"{r:g}" for r in ratios])
        axes.set_xlabel("signal-to-noise ratio, dB")
        axes.set_ylabel(METRICS[metric])
        axes.grid(alpha=0.3)
    figure.suptitle(f"noise: {conditions[0].noise}", fontsize=10)
    if len(models) > 1:
        figure.legend(models, loc="outside lower center", ncols=len(models), frameon=False)
    return figure
