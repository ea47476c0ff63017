"""The figures: noise curves, mixtures, codewords, panels."""

import logging
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from avsegcli.analysis.codebook import Codewords
from avsegcli.analysis.qualitative import PanelRow
from avsegcli.analysis.tsne import MixtureStudy, embed
from avsegcli.errors import AvsegError, install_hint
from avsegcli.evaluation.metrics.registry import all_numbers
from avsegcli.evaluation.noise_robustness import Condition, curve
from avsegcli.files.atomic import write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from avsegcli.datasets.statistics import SplitStatistics

DPI = 150
PHOTO_DPI = 90  # of figures made of photos, which are small themselves
FORMATS = ("png", "svg")
MARKERS = "osD^vP*X"
PARTS = ("o", 5, 4)  # markers of a sound alone, of the first and of the second in a mixture
CLEAN_STEP_DB = 5.0  # from the highest ratio to where the sound as it is stands on the axis

VALIDATION = (
    "avsbench_j",
    "avsbench_f",
    "j_object",
    "miou",
    "miou_present",
)  # columns of val_log.csv


def new_figure(width: float, height: float, dpi: int = DPI) -> "Figure":
    """Make an empty figure, sizes in inches.

    Raises:
        AvsegError: if matplotlib is not installed.
    """
    require_matplotlib()
    from matplotlib import rcParams
    from matplotlib.figure import Figure

    rcParams["svg.hashsalt"] = "avseg"  # the same figure, the same bytes
    return Figure((width, height), dpi=dpi, layout="constrained")


def require_matplotlib() -> None:
    """Raise an `AvsegError` if figures cannot be drawn here."""
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # not that its cache is a temporary one
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise AvsegError("figures need matplotlib", install_hint("figures")) from error


def save_figure(figure: "Figure", folder: Path, name: str) -> list[Path]:
    """Write a figure as PNG and as SVG.

    Raises:
        AvsegError: if it cannot be written.
    """
    paths = [folder / f"{name}.{kind}" for kind in FORMATS]
    for path in paths:
        picture = BytesIO()
        metadata = {"Date": None} if path.suffix == ".svg" else None  # same figure, same bytes
        figure.savefig(picture, format=path.suffix[1:], metadata=metadata)
        write_atomically(path, picture.getvalue())
    return paths


def png_bytes(figure: "Figure") -> bytes:
    """Draw a figure as PNG."""
    picture = BytesIO()
    figure.savefig(picture, format="png")
    return picture.getvalue()


def draw_training(
    steps: Sequence[Mapping[str, str]], scores: Sequence[Mapping[str, str]]
) -> "Figure":
    """Draw the losses, the learning rate and the validation scores of a run against its steps.

    Args:
        steps: rows of train_log.csv.
        scores: rows of val_log.csv.
    """
    figure = new_figure(12, 3.4)
    losses, rates, metrics = figure.subplots(1, 3)
    columns = {key for row in steps for key in row if key.startswith("loss")}
    for axes, rows, keys, title in (
        (losses, steps, sorted(columns), "losses"),
        (rates, steps, ["lr"], "learning rate"),
        (metrics, scores, VALIDATION, "validation"),
    ):
        for key in keys:
            points = [(int(row["step"]), float(row[key])) for row in rows if row.get(key)]
            if points:
                axes.plot(*zip(*points, strict=True), label=key, marker=".")
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("step")
        if axes.lines:
            axes.legend(fontsize=7)
    if losses.lines:
        losses.set_yscale("log")
    return figure


def draw_class_frames(splits: "Sequence[SplitStatistics]") -> "Figure":
    """Draw how many frames of each split have each class, the most frequent class on top."""
    totals: Counter[str] = Counter()
    for split in splits:
        totals.update({name: count.frames for name, count in split.classes.items()})
    names = [name for name, _ in totals.most_common()][::-1]
    figure = new_figure(6, 0.8 + 0.2 * len(names))
    axes = figure.subplots()
    left = np.zeros(len(names))
    for split in splits:
        frames = [split.classes[name].frames if name in split.classes else 0 for name in names]
        axes.barh(names, frames, left=left, label=f"{split.subset} {split.split}")
        left += frames
    axes.set_xlabel("labelled frames")
    axes.legend(fontsize=8)
    return figure


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
        axes.set_ylabel(all_numbers()[metric].short)
        axes.grid(alpha=0.3)
    figure.suptitle(f"noise: {conditions[0].noise}", fontsize=10)
    if len(models) > 1:
        figure.legend(models, loc="outside lower center", ncols=len(models), frameon=False)
    return figure


def draw_mixtures(study: MixtureStudy, seed: int = 0) -> "Figure":
    """Draw sounds and mixtures by t-SNE: before decomposition at the left, after at the right.

    A dot is a sound of one class. A mixture is two triangles, one in the colour of each of its
    classes: before decomposition both stand at one place, after it where the tokens are that say
    these classes.
    """
    figure = new_figure(9.5, 4.4)
    titles = "without decomposition", "with decomposition"
    for axes, title, tokens in zip(figure.subplots(1, 2), titles, (False, True), strict=True):
        shown = embed(study, tokens=tokens, seed=seed)
        nearness = study.within if tokens else study.without
        for number, name in enumerate(study.classes):
            of_class = np.array([other == name for other in shown.classes])
            for part, marker in enumerate(PARTS):
                axes.scatter(
                    *shown.places[of_class & (shown.part == part)].T,
                    marker=marker,
                    s=42,
                    color=f"C{number % 10}",
                    alpha=0.9 if part else 0.6,
                    linewidths=0,
                    label=None if part else name,
                )
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_title(f"{title}: {nearness.hits:.0%} of the sources found", fontsize=10)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=6, frameon=False, fontsize=8)
    return figure


def draw_codewords(codewords: Codewords) -> "Figure":
    """Draw a heat map: for each used code, how often each class is heard where it is chosen."""
    used = codewords.used
    seen = np.flatnonzero(codewords.counts.sum(axis=0))
    figure = new_figure(1.8 + 0.32 * len(seen), 1.6 + 0.17 * len(used))
    axes = figure.subplots()
    picture = axes.imshow(
        codewords.shares[np.ix_(used, seen)], aspect="auto", cmap="magma", vmin=0, vmax=1
    )
    names = [codewords.classes[index] for index in seen]
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=8)
    axes.set_yticks(range(len(used)), [str(code) for code in used], fontsize=6)
    axes.set_ylabel("codeword")
    figure.colorbar(picture, label="share of its tokens with this class heard", fraction=0.05)
    return figure


def draw_panel(rows: Sequence[PanelRow]) -> "Figure":
    """Draw one line for each clip: frame, truth, and a column for each model."""
    from matplotlib.patches import Patch

    columns = list(rows[0].pictures)
    ratios = [row.pictures["frame"].shape[0] / row.pictures["frame"].shape[1] for row in rows]
    figure = new_figure(2.4 * len(columns), 2.4 * sum(ratios) + 0.8, PHOTO_DPI)
    grid = figure.subplots(len(rows), len(columns), squeeze=False, height_ratios=ratios)
    for line, row in zip(grid, rows, strict=True):
        for axes, column in zip(line, columns, strict=True):
            axes.imshow(row.pictures[column])
            axes.set_axis_off()
            if row is rows[0]:
                axes.set_title(column, fontsize=10)
    classes = {name: colour for row in rows for name, colour in sorted(row.classes.items())}
    patches = [
        Patch(facecolor="#" + bytes(colour).hex(), edgecolor="grey", label=name)
        for name, colour in classes.items()
    ]
    figure.legend(handles=patches, loc="outside lower center", ncols=6, frameon=False, fontsize=8)
    return figure
