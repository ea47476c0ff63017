"""Ablation study: the contribution of each part of the method, Table 2 of the paper.

Every row is trained from the same start with the same budget on the same data, AVSBench or clips
composed of parts, once for each seed and set, and scored on the same test clips. Row 2 is not
trained: it is row 1, asked about each track of a separated sound. Row 3 is read in two ways: by the
order of the table it is decomposition alone ("3"); the paper's text (Sec. 4.3) says that it is the
whole method but for the codebook ("3b").

    <out>/<set>/row<k>-seed<s>/    a run folder, with ablation-<set>.json for each set scored on
    <out>/start.json               the data and weights that all rows begin with
    <out>/ablation.json, .csv      all numbers, when all is done
"""

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, cast

from rich.table import Table

from avsegcli.analysis.cached_network import CachedNetwork
from avsegcli.analysis.separate_first import SeparateFirst
from avsegcli.audio.nmf import require_separation
from avsegcli.config import TASKS, Config
from avsegcli.datasets.avsbench_files import find_subsets
from avsegcli.datasets.clip import ClipDataset
from avsegcli.datasets.registry import open_dataset
from avsegcli.device import choose_device
from avsegcli.errors import ConfigError, DataError
from avsegcli.evaluation.evaluator import Scores, evaluate
from avsegcli.evaluation.metrics.avsbench import mean
from avsegcli.evaluation.noise_robustness import spread
from avsegcli.evaluation.prediction import ClipPredictor
from avsegcli.files.atomic import write_atomically
from avsegcli.files.weights import find
from avsegcli.inference.checkpoint import load_checkpoint
from avsegcli.inference.fuse import fuse_for_inference
from avsegcli.inference.torch_predictor import Predictor
from avsegcli.synthesis.composer import ComposedDataset, Composer
from avsegcli.synthesis.parts import SPLITS, Parts
from avsegcli.synthesis.sampler import Task
from avsegcli.training.run import start_training
from avsegcli.training.run_folder import BEST, STATE, changed_settings, has_results
from avsegcli.training.trainer import Trainer

SEPARATED = "2"  # the row that is not trained
SWITCHES = ("decomposition", "quantization", "recombination", "calibration")
SETS: tuple[Task, ...] = ("multi", "semantic")
ENCODERS = (  # what all rows have in common before the sound is decomposed, by name in `QSD`
    "backbone",
    "visual_encoder",
    "audio_encoder",
    "audio_project",
    "heard",
    "visible",
    "visible_deep",
)
# Of the class score; chosen on val clips for each run.
THRESHOLDS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5)
TEST_SEED, VAL_SEED = 1, 2
RESULT = "ablation-{}.json"  # of a run, for each kind of clips scored on
START = "start.json"
ANOTHER = "Name another folder with -o, or give what was given before."


class Row(NamedTuple):
    """A row of the paper's Table 2, which has ResNet-50."""

    model: str
    on: tuple[str, ...]  # of `SWITCHES`
    multi: tuple[float, float, float]  # J&F, J, F
    semantic: float  # mIoU


ROWS = {
    "1": Row("no decomposition", (), (52.9, 50.1, 55.7), 33.5),
    "2": Row("separate first", (), (56.2, 54.5, 57.9), 38.9),
    "3": Row("+ decomposition", SWITCHES[:1], (57.6, 56.1, 59.1), 39.4),
    "3b": Row("all but quantization", (SWITCHES[0], *SWITCHES[2:]), (57.6, 56.1, 59.1), 39.4),
    "4": Row("+ quantization", SWITCHES[:2], (59.7, 57.6, 61.8), 42.5),
    "5": Row("+ recombination", SWITCHES[:3], (60.1, 58.2, 61.9), 44.5),
    "6": Row("+ calibration", SWITCHES, (61.6, 59.6, 63.5), 46.6),
}
# Clips whose scores stand beside the paper's columns.
MULTI, SEMANTIC = ("multi", "ms3"), ("semantic", "avss")


@dataclass(frozen=True)
class Result:
    """Scores of one row, set and seed on one kind of test clips, in percent."""

    row: str  # of `ROWS`
    set: str  # of `SETS`, or subsets of AVSBench; trained on
    seed: int
    scored_on: str  # kind of the test clips, of `Task`, or a subset of AVSBench
    clips: int  # tested on
    j_and_f: float  # avsbench
    j: float
    f: float
    miou: float  # avss
    threshold: float  # of the class score, chosen on val clips


class ComposedClips:
    """Clips composed of a parts folder; a set is the task that they are composed for."""

    data_root: Path | None = None

    def __init__(self, parts: Path, clips: int, size: int) -> None:
        for split in SPLITS:  # what is wrong shows before hours of training, not after
            Parts(parts, split)
        self.dataset: Path | str = parts
        self.clips, self.size = clips, size

    def open(self, kind: str, split: str) -> ClipDataset:
        """Compose the test clips of a kind, or half as many val clips."""
        composer = Composer(
            Parts(Path(self.dataset), split),
            task=cast("Task", kind),
            num_frames=5,
            size=self.size,
            aspect="mixed",
        )
        if split == "val":
            return ComposedDataset(composer, VAL_SEED, max(1, self.clips // 2))
        return ComposedDataset(composer, TEST_SEED, self.clips)


class StoredClips:
    """A subset of AVSBench, or several as one set; each is a kind of its own to score on."""

    def __init__(self, dataset: str, data_root: Path | None) -> None:
        self.dataset: Path | str = dataset
        self.data_root = data_root
        kinds = dataset.split("+")
        for split in SPLITS:
            for kind in kinds:
                self.open(kind, split)
        self.clips = {kind: len(self.open(kind, "test")) for kind in kinds}

    def open(self, kind: str, split: str) -> ClipDataset:
        """Open a subset."""
        return open_dataset(kind, split, self.data_root)


def row_config(config: Config, row: str, kind: str, seed: int) -> Config:
    """Switch the parts of the method on that a row has.

    Args:
        config: the settings of the whole method.
        row: of `ROWS`.
        kind: the set that is trained on.
        seed: of the run.
    """
    switches: dict[str, Any] = {name: name in ROWS[row].on for name in SWITCHES}
    task = kind if kind in TASKS else config.data.task
    return replace(
        config,
        model=replace(config.model, **switches),
        data=replace(config.data, task=task),
        optim=replace(config.optim, seed=seed),
    )


def run_ablation(
    config: Config,
    data: Path | str,
    out: Path,
    *,
    data_root: Path | None = None,
    rows: Sequence[str] = tuple(ROWS),
    sets: Sequence[Task] = SETS,
    score_on: Sequence[Task] = (),
    seeds: int = 2,
    clips: int = 300,
    name: str = "lite",
    backbone_weights: Path | None = None,
    audio_weights: Path | None = None,
    init: Path | None = None,
    device: str = "auto",
    report: Callable[[str], None] = print,
) -> list[Result]:
    """Train and score what is not done yet, and return all of it.

    Interrupted, it goes on where it was when it is called again with the same arguments. Models
    that are there are scored anew if another number of clips is asked for; they are never trained
    anew, and refused if they began otherwise.

    Args:
        config: settings of the whole method, row 6; the others switch parts of it off.
        data: a parts folder with the splits train, val and test; or s4, ms3, avss or s4+ms3, of
            which the splits are AVSBench's.
        out: folder of the runs and the results.
        data_root: AVSBench's root, for these.
        rows: of `ROWS`; row 2 needs row 1.
        sets: what the composed clips are like; each has models of its own, as in the paper.
        score_on: kinds of test clips for all of them, besides those of their own set.
        seeds: runs of each row, with the seeds 0, 1, ...
        clips: composed test clips of each kind; half as many val clips of it choose the threshold.
        name: of the model, stored in the checkpoints.
        backbone_weights: where the backbone begins, a file or a name of `weights.KNOWN`.
        audio_weights: where the audio encoder begins, a file or a name of `weights.KNOWN`.
        init: a checkpoint of avseg with which the encoders of every row begin.
        device: auto, cpu, cuda or mps.
        report: receives messages for the user.

    Raises:
        ConfigError: if a row is unknown, row 2 is asked for without row 1, or `out` holds rows of
            other settings.
        DataError: if the folder is no parts folder, or has no parts of a split, or `START` is
            damaged.
        WeightsError: if `init` is no checkpoint, or there are no such audio weights.
        AvsegError: as training does.
    """
    unknown = sorted(set(rows) - set(ROWS))
    if unknown:
        raise ConfigError(f"Table 2 has no row {unknown[0]}", f"rows: {', '.join(ROWS)}")
    if SEPARATED in rows:
        if "1" not in rows:
            raise ConfigError("row 2 asks the model of row 1", "add row 1")
        require_separation()
    source: ComposedClips | StoredClips
    if find_subsets(str(data)):
        source = StoredClips(str(data), data_root)
        kinds = {str(data): list(source.clips)}
        number = source.clips
        place = str(data)
    else:
        source = ComposedClips(Path(data), clips, config.data.size)
        kinds = {task: [*dict.fromkeys([task, *score_on])] for task in sets}
        number = dict.fromkeys(TASKS, clips)
        place = str(Path(data).resolve())
    if init is not None:
        load_checkpoint(init)
    if audio_weights is not None:
        audio_weights = find(audio_weights)
    if backbone_weights is not None:
        backbone_weights = find(backbone_weights)
    start = {"init": init, "backbone_weights": backbone_weights, "audio_weights": audio_weights}
    paths = {key: str(path and path.resolve()) for key, path in start.items()}
    _check_start(out, {"data": place} | paths)
    results = []
    rows = sorted({*rows})
    for task, seed, row in ((t, s, r) for t in kinds for s in range(seeds) for r in rows):
        run = out / task / f"row{row}-seed{seed}"
        settings = row_config(config, row, task, seed)
        changes = changed_settings(run, settings) if has_results(run) else []
        if changes:
            raise ConfigError(f"{run}: {changes[0]}", ANOTHER)
        scored = {kind: _read_result(run, kind) for kind in kinds[task]}
        wanted = [
            kind
            for kind, result in scored.items()
            if result is None or result.clips != number[kind]
        ]
        if wanted:
            report(f"row {row} ({ROWS[row].model}), {task}, seed {seed}")
        trained = out / task / f"row1-seed{seed}" if row == SEPARATED else run
        begun = (run / STATE).exists()
        if wanted and row != SEPARATED and (begun or not (run / BEST).exists()):
            start_training(
                settings,
                source.dataset,
                run,
                data_root=source.data_root,
                name=f"{name}, row {row}",
                backbone_weights=None if begun else backbone_weights,
                audio_weights=None if begun else audio_weights,
                init=None if begun else init,
                init_modules=ENCODERS,
                resume=begun,
                device=device,
                report=report,
            )
        for kind in wanted:
            scores, threshold = _score(trained, source, kind, device, row)
            result = _result(row, task, seed, kind, number[kind], scores, threshold)
            write_atomically(run / RESULT.format(kind), json.dumps(vars(result)) + "\n")
            scored[kind] = result
        results += [result for result in scored.values() if result is not None]
    _write_results(out, results)
    return results


def _check_start(out: Path, start: dict[str, str]) -> None:
    """Refuse a folder whose rows began from other data or weights."""
    path = out / START
    if not path.exists():
        write_atomically(path, json.dumps(start, indent=1) + "\n")
    try:
        before = dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise DataError(f"{path} is damaged", "Name another folder with -o.") from error
    for key, now in start.items():
        if before.get(key, now) != now:
            raise ConfigError(f"{out}: {key} was {before[key]}, is now {now}", ANOTHER)


def _read_result(run: Path, kind: str) -> Result | None:
    """Read what a run scored; None, as if it had not, if that is damaged or of another version."""
    path = run / RESULT.format(kind)
    try:
        if not path.exists():
            return None
        values = dict(json.loads(path.read_text(encoding="utf-8")))
        return Result(**values | {"row": str(values["row"])})
    except (ValueError, TypeError, KeyError):
        return None


def _score(
    run: Path, source: ComposedClips | StoredClips, kind: str, device: str, row: str
) -> tuple[Scores, float]:
    """Choose the threshold on val clips, then score on test clips."""
    chosen = choose_device(device)
    loaded = load_checkpoint(run / BEST, chosen)
    predictor = Predictor.from_model(loaded, chosen)
    recorder = CachedNetwork(fuse_for_inference(loaded.model))
    predictor.model = recorder  # type: ignore[assignment]  # it answers as the network does
    asked: ClipPredictor = predictor
    if row == SEPARATED:
        asked = SeparateFirst(predictor, loaded.config.num_tokens)

    def score(threshold: float, data: ClipDataset) -> Scores:
        predictor.config = replace(loaded.config, class_threshold=threshold)
        return evaluate(asked, data)

    val = source.open(kind, "val")
    values = {}
    for threshold in THRESHOLDS:
        values[threshold] = Trainer.score(score(threshold, val))
        recorder.replay()
    best = max(values, key=values.__getitem__)
    predictor.model = recorder.network
    return score(best, source.open(kind, "test")), best


def _result(
    row: str, task: str, seed: int, scored_on: str, clips: int, scores: Scores, threshold: float
) -> Result:
    avsbench = scores.avsbench
    return Result(
        row=row,
        set=task,
        seed=seed,
        scored_on=scored_on,
        clips=clips,
        j_and_f=100 * avsbench.j_and_f,
        j=100 * avsbench.j,
        f=100 * avsbench.f,
        miou=100 * scores.avss.miou,
        threshold=threshold,
    )


def _write_results(out: Path, results: Sequence[Result]) -> None:
    values = [vars(result) for result in results]
    write_atomically(out / "ablation.json", json.dumps(values, indent=1) + "\n")
    text = io.StringIO()
    table = csv.DictWriter(text, values[0], lineterminator="\n")
    table.writeheader()
    table.writerows(values)
    write_atomically(out / "ablation.csv", text.getvalue())


def ablation_tables(results: Sequence[Result]) -> list[Table]:
    """Lay out the scores (mean ± spread over seeds, in percent).

    Returns:
        Our Table 2 beside the paper's; one more for each other kind of clips scored on.
    """
    seeds = len({result.seed for result in results})
    title = f"Table 2, {seeds} seeds" if seeds > 1 else "Table 2, one seed"
    first = _table(title, "multi J&F", "paper", "semantic mIoU", "paper")
    own = [result for result in results if result.scored_on in result.set.split("+")]
    for number, there in _by_row(own):
        first.add_row(
            *_name(number),
            _cell([r.j_and_f for r in there if r.scored_on in MULTI]),
            f"{ROWS[number].multi[0]:.1f}",
            _cell([r.miou for r in there if r.scored_on in SEMANTIC]),
            f"{ROWS[number].semantic:.1f}",
        )
    tables = [first]
    for trained, kind in dict.fromkeys((result.set, result.scored_on) for result in results):
        if trained != kind:
            table = _table(f"trained on {trained} clips, scored on {kind}", "J&F", "J", "F", "mIoU")
            asked = [r for r in results if (r.set, r.scored_on) == (trained, kind)]
            for number, there in _by_row(asked):
                scores = zip(*((r.j_and_f, r.j, r.f, r.miou) for r in there), strict=True)
                table.add_row(*_name(number), *map(_cell, scores))
            tables.append(table)
    return tables


def _table(title: str, *scores: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("row")
    table.add_column("model", no_wrap=True)
    for name in scores:
        table.add_column(name, justify="right")
    return table


def _by_row(results: Sequence[Result]) -> Iterator[tuple[str, list[Result]]]:
    for number in sorted({result.row for result in results}):
        yield number, [result for result in results if result.row == number]


def _name(row: str) -> tuple[str, str]:
    return row, ROWS[row].model


def _cell(values: Sequence[float]) -> str:
    if not values:
        return "-"
    return f"{mean([*values]):.1f}" + (f" ± {spread(values):.1f}" if len(values) > 1 else "")
