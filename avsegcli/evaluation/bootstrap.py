"""Bootstrap over clips: confidence intervals of scores, and of differences of two models.

Clips are drawn with replacement, as many as there are, and every number is computed anew from the
sums that each clip adds to it. Clips, not frames, are drawn: the frames of a clip are alike.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from avsegcli.evaluation.metrics.avsbench import Sums
from avsegcli.evaluation.metrics.miou import ClassSums

RESAMPLES = 10_000
LEVEL = 0.95
_CHUNK = 1000  # resamples at a time


class Interval(NamedTuple):
    """A confidence interval by percentiles."""

    low: float
    high: float


class ClipTable:
    """The sums of all clips of an evaluation, as arrays.

    Args:
        sums: of each clip, by number.
        classes: of each clip, what its classes add.
        num_classes: scored ones, background included.
        known: indices of those that the model knows.
    """

    def __init__(
        self,
        sums: Sequence[Sums],
        classes: Sequence[Sequence[ClassSums]],
        num_classes: int,
        known: Sequence[int],
    ) -> None:
        self.num_clips, self.num_classes = len(sums), num_classes
        self.keys = [key for key in sums[0] if all(key in clip for clip in sums)]
        self.sums = np.array([[clip[key] for key in self.keys] for clip in sums])  # (n, keys, 2)
        self.sums = self.sums.reshape(len(sums), len(self.keys), 2)
        self.seen = sorted({entry.class_index for clip in classes for entry in clip})
        place = {index: number for number, index in enumerate(self.seen)}
        fields = len(ClassSums._fields) - 1
        self.classes = np.zeros((len(sums), len(self.seen), fields))  # without the index
        for clip, entries in enumerate(classes):
            for entry in entries:
                self.classes[clip, place[entry.class_index]] = entry[1:]
        self.foreground = np.array(self.seen) > 0
        self.known = np.isin(self.seen, known)
        self.num_known = len(known)

    def numbers(self, weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """Compute every number for R choices of clips.

        Args:
            weights: how often each clip is chosen, ``(R, n)``.

        Returns:
            By key, ``(R,)``; NaN where a number has nothing to rest on.
        """
        totals = np.tensordot(weights, self.sums, axes=1)  # (R, keys, 2)
        quotients = _divide(totals[..., 0], totals[..., 1])
        found = {key: quotients[:, place] for place, key in enumerate(self.keys)}
        for metric in ("avsbench", "davis"):
            parts = [found[key] for name in "jf" if (key := f"{metric}.{name}") in found]
            if len(parts) == 2:
                found[f"{metric}.j_and_f"] = (parts[0] + parts[1]) / 2
        if self.seen:
            found |= self._class_numbers(np.tensordot(weights, self.classes, axes=1))
        return found

    def _class_numbers(self, totals: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """Reduce the classes: ``(R, classes, fields of ClassSums but the first)``."""
        frames, iou, f, hits, union = np.moveaxis(totals, -1, 0)  # (R, classes) each
        present = (frames > 0).sum(axis=1)
        found = {}
        for name, values in (("miou", _divide(iou, frames)), ("f", _divide(f, frames))):
            values = np.nan_to_num(values)
            found[f"avss.{name}"] = values.sum(axis=1) / self.num_classes
            foreground = values[:, self.foreground].sum(axis=1)
            found[f"avss.{name}_no_background"] = foreground / max(self.num_classes - 1, 1)
            found[f"avss.{name}_present"] = values.sum(axis=1) / present
            if name == "miou":
                known = values[:, self.known].sum(axis=1)
                found["avss.miou_known"] = known / max(self.num_known, 1)
        pooled = np.nan_to_num(_divide(hits, union)).sum(axis=1)
        found["pooled.miou"] = pooled / self.num_classes
        found["pooled.miou_present"] = pooled / present
        return found


def confidence_intervals(
    table: ClipTable, *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Interval]:
    """Compute the interval of every number; of one clip there is none.

    The same seed draws the same clips.
    """
    return _intervals(table.numbers, table.num_clips, resamples, seed)


def difference_intervals(
    first: ClipTable, second: ClipTable, *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Interval]:
    """Compute the interval of every difference, second minus first, with the same clips drawn.

    Args:
        first: of one model.
        second: of another one, on the same clips in the same order.
        resamples: how often clips are drawn.
        seed: of the choice of clips.
    """

    def differences(weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        ours, theirs = first.numbers(weights), second.numbers(weights)
        return {key: theirs[key] - ours[key] for key in ours if key in theirs}

    return _intervals(differences, first.num_clips, resamples, seed)


def _intervals(
    compute: Callable[[NDArray[np.float64]], Mapping[str, NDArray[np.float64]]],
    num_clips: int,
    resamples: int,
    seed: int,
) -> dict[str, Interval]:
    if num_clips < 2 or resamples < 1:
        return {}
    parts: dict[str, list[NDArray[np.float64]]] = {}
    for weights in _draw(num_clips, resamples, seed):
        for key, values in compute(weights).items():
            parts.setdefault(key, []).append(values)
    intervals = {}
    for key, arrays in parts.items():
        values = np.concatenate(arrays)
        values = values[np.isfinite(values)]
        if len(values):
            low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]).tolist()
            intervals[key] = Interval(low, high)
    return intervals


def _draw(num_clips: int, resamples: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """Yield how often each clip is drawn, ``(R, n)``, some resamples at a time."""
    rng = np.random.default_rng(seed)
    for start in range(0, resamples, _CHUNK):
        rows = min(_CHUNK, resamples - start)
        drawn = rng.integers(num_clips, size=(rows, num_clips))
        drawn += num_clips * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * num_clips)
        yield counts.reshape(rows, num_clips).astype(np.float64)


def _divide(sums: NDArray[np.float64], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
