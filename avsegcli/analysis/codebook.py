"""Codebook analysis: the classes that use each codeword, and the sounds nearest to it."""

import csv
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from avsegcli.analysis.semantics import audio_semantics, heard_classes
from avsegcli.datasets.clip import ClipDataset
from avsegcli.errors import WeightsError
from avsegcli.inference.torch_predictor import Predictor

NOTHING = "nothing"  # heard in a second
NEAREST = 3  # sounds that are kept of each codeword


class Sound(NamedTuple):
    """One second of a clip whose token chose a codeword."""

    distance: float  # of the token to the code vector
    clip: str
    second: int
    heard: tuple[str, ...]


@dataclass(frozen=True)
class Codewords:
    """Usage of a model's codebook on a data set."""

    classes: tuple[str, ...]  # "nothing" first, then those of the data set
    counts: NDArray[np.float64]  # (K, L + 1), tokens; of a second with two classes half for each
    nearest: dict[int, list[Sound]]  # code to its nearest sounds, of different clips
    # Mean squared difference of tokens and their codes, a channel: 0 is none, 2 that of strangers.
    frame_error: float  # of the tokens of seconds
    clip_error: float  # of the tokens of clips, which the codes follow in training

    @property
    def used(self) -> NDArray[np.intp]:
        """Codes that some token chose, those of one class together, the most used first."""
        total = self.counts.sum(axis=1)
        codes = np.flatnonzero(total)
        return codes[np.lexsort((-total[codes], self.counts[codes].argmax(axis=1)))]

    @property
    def shares(self) -> NDArray[np.float64]:
        """Frequency of each class where a code is chosen, ``(K, L + 1)``; rows sum to 1."""
        total = self.counts.sum(axis=1, keepdims=True)
        return np.divide(self.counts, total, out=np.zeros_like(self.counts), where=total > 0)

    @property
    def perplexity(self) -> float:
        """exp(entropy) of how often the codes are chosen: from 1 to K."""
        share = self.counts.sum(axis=1) / self.counts.sum()
        share = share[share > 0]
        return float(np.exp(-(share * np.log(share)).sum()))

    @property
    def purity(self) -> float:
        """Share of the tokens whose code is chosen most for the class that is heard."""
        return float(self.counts.max(axis=1).sum() / self.counts.sum())

    @property
    def chance(self) -> float:
        """Purity if codes said nothing: the share of the most frequent class."""
        return float(self.counts.sum(axis=0).max() / self.counts.sum())


def study_codewords(
    predictor: Predictor,
    dataset: ClipDataset,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Codewords:
    """Count which codes the tokens of each second choose, and by what is heard in it.

    Args:
        predictor: a model with a codebook.
        dataset: clips; where they do not say what is heard, what is labelled counts.
        progress: called with the number of clips done and of all.

    Raises:
        WeightsError: if the model has no codebook.
    """
    codebook = predictor.model.codebook
    if codebook is None:
        raise WeightsError(
            f"the model {predictor.model_name} has no codebook", "give other --weights"
        )
    vectors = codebook.vectors().detach().float().cpu().numpy()
    classes = (NOTHING, *dataset.classes[1:])
    counts = np.zeros((len(vectors), len(classes)))
    sounds: dict[int, dict[str, Sound]] = {}  # code to clip to its nearest second
    frame_errors, clip_errors = [], []
    for place in range(len(dataset)):
        clip = dataset[place]
        semantics = audio_semantics(predictor, clip)
        assert semantics.indices is not None
        distances = np.linalg.norm(semantics.frame_tokens - vectors[semantics.indices], axis=2)
        frame_errors.append((distances**2).mean() / vectors.shape[1])
        gaps = semantics.tokens[:, None] - vectors
        clip_errors.append((gaps**2).mean(axis=2).min(axis=1).mean())
        for t, heard in enumerate(heard or [0] for heard in heard_classes(clip)):
            names = tuple(classes[index] for index in heard)
            for code, distance in zip(semantics.indices[t].tolist(), distances[t], strict=True):
                counts[code, heard] += 1 / len(heard)
                best = sounds.setdefault(code, {}).get(clip.name)
                if best is None or distance < best.distance:
                    sounds[code][clip.name] = Sound(float(distance), clip.name, t, names)
        if progress is not None:
            progress(place + 1, len(dataset))
    nearest = {code: sorted(found.values())[:NEAREST] for code, found in sounds.items()}
    errors = float(np.mean(frame_errors)), float(np.mean(clip_errors))
    return Codewords(classes, counts, nearest, *errors)


# --- tables and files ---------------------------------------------------------------------------


def codeword_table(codewords: Codewords, most: int = 20) -> Table:
    """Lay out the most used codes, the classes that use them and their nearest sound."""
    total = codewords.counts.sum(axis=1)
    used, shares = codewords.used, codewords.shares
    title = (
        f"{len(used)} of {len(total)} codewords are used, perplexity {codewords.perplexity:.1f}; "
        f"purity {codewords.purity:.2f}, of codes that say nothing {codewords.chance:.2f}\n"
        f"mean squared error of quantization {codewords.frame_error:.2f}, "
        f"of whole clips {codewords.clip_error:.2f}"
    )
    table = Table(title=title, title_justify="left")
    table.add_column("code", justify="right")
    table.add_column("tokens", justify="right")
    table.add_column("heard")
    table.add_column("nearest sound")
    busiest = set(used[np.argsort(-total[used], kind="stable")[:most]].tolist())
    for code in used.tolist():
        if code in busiest:
            heard = ", ".join(
                f"{codewords.classes[c]} {shares[code, c]:.0%}"
                for c in np.argsort(-shares[code], kind="stable")[:3]
                if shares[code, c] >= 0.1
            )
            nearest = "".join(_describe(sound) for sound in codewords.nearest[code][:1])
            table.add_row(str(code), f"{total[code]:.0f}", heard, nearest)
    if len(used) > most:
        table.caption = f"the {most} most used"
    return table


def _describe(sound: Sound) -> str:
    return f"{' + '.join(sound.heard)} ({sound.clip}, second {sound.second})"


def codeword_csv(codewords: Codewords) -> str:
    """Write a line for each used code: tokens, share of each class, nearest sounds."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["code", "tokens", *codewords.classes, "nearest"])
    for code in codewords.used.tolist():
        nearest = "; ".join(_describe(sound) for sound in codewords.nearest[code])
        shares = codewords.shares[code].round(4).tolist()
        table.writerow([code, round(codewords.counts[code].sum()), *shares, nearest])
    return text.getvalue()
