"""t-SNE of the semantics of mixtures and their sources (Figure 6 of the paper), with a measure.

Two sounds of one class each are mixed at one level, with the picture of the first. If the model
decomposes the mixture, some token of it lies where the tokens of the one class alone lie, and some
other token where those of the other class lie; before decomposition there is one vector only.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from avsegcli.analysis.semantics import (
    Semantics,
    audio_semantics,
    heard_classes,
    require_decomposition,
)
from avsegcli.audio.noise import active_power
from avsegcli.datasets.clip import Clip, ClipDataset
from avsegcli.errors import AvsegError, ConfigError, DataError, install_hint
from avsegcli.evaluation.class_mapping import match_classes
from avsegcli.inference.torch_predictor import Predictor

LEAST_CLIPS = 2  # of a class: a mixture is compared with clips other than its own
TOKENS = 1  # place in `model.score_fusion` of what the head for the classes of tokens says
ROUNDS = 20  # of choosing tokens, at most
NOMINAL_POWER = 10 ** (-26 / 10)  # of each sound in a mixture

Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class ClipSemantics:
    """The semantics of one sound: of one class, or of a mixture of two."""

    clips: tuple[str, ...]  # names of the clips that it was made of
    classes: tuple[str, ...]  # one or two
    without: Vectors  # (1, D): F'_a, mean over the seconds in which it sounds
    tokens: Vectors  # (N, D)
    said: Vectors  # (len(classes), D): for each class the token that says it most, or is nearest


@dataclass(frozen=True)
class Nearness:
    """Distance of mixtures to their sources, from clips that are not in the mixture."""

    ratio: float  # distance to a source's centroid / mean distance to the other classes'; 1 is no
    # nearer than to any class
    hits: float  # share of the sources among the two nearest centroids
    chance: float  # of `hits`: 2 / number of classes


@dataclass(frozen=True)
class MixtureStudy:
    """Sounds alone and mixed, and how near the ones lie to the others."""

    classes: tuple[str, ...]
    singles: list[ClipSemantics]
    mixtures: list[ClipSemantics]
    without: Nearness  # before decomposition
    within: Nearness  # after decomposition


def study_mixtures(
    predictor: Predictor,
    dataset: ClipDataset,
    *,
    classes: Sequence[str] | None = None,
    num_mixtures: int = 60,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> MixtureStudy:
    """Compare the semantics of mixtures with those of their sources.

    Args:
        predictor: a model with decomposition.
        dataset: clips, some of them with one class only.
        classes: which to take; None: all that have two clips of their own.
        num_mixtures: how many pairs of clips are mixed.
        seed: of the choice of pairs.
        progress: called with the number of sounds done and of all.

    Raises:
        ConfigError: if a class is named that the clips or the model do not know.
        DataError: if fewer than three classes have two clips in which nothing else is heard.
        WeightsError: if the model has no decomposition.
    """
    require_decomposition(predictor)
    shared = match_classes(predictor.classes, dataset.classes)
    unknown = [name for name in classes or () if name not in shared.known[1:]]
    if unknown:
        raise ConfigError(
            f"no class that these clips and the model share is called '{unknown[0]}'",
            f"One of {', '.join(shared.known[1:])}.",
        )
    alone: dict[str, list[int]] = {}  # class to the places of its clips in the data set
    for place in range(len(dataset)):
        heard = {index for second in heard_classes(dataset[place]) for index in second}
        if len(heard) == 1:
            alone.setdefault(shared.names[shared.of_data[heard.pop()]], []).append(place)
    wanted = [name for name in shared.known if name in (alone if classes is None else classes)]
    kept = [name for name in wanted if len(alone.get(name, ())) >= LEAST_CLIPS]
    if len(kept) < 3:
        raise DataError(
            f"three classes need {LEAST_CLIPS} clips each in which nothing else is heard; "
            f"here have: {', '.join(kept) or 'none'}",
            "Name other classes, or compose more clips, or with --task single.",
        )
    pairs = _pairs({name: alone[name] for name in kept}, num_mixtures, seed)
    total, done = sum(len(alone[name]) for name in kept) + len(pairs), 0

    def ask(clip: Clip, clips: tuple[str, ...], names: tuple[str, ...]) -> ClipSemantics:
        nonlocal done
        columns = [
            int(np.flatnonzero(shared.of_model == shared.names.index(name))[0]) - 1
            for name in names
        ]
        heard = _summarise(audio_semantics(predictor, clip), clip, clips, names, columns)
        done += 1
        if progress is not None:
            progress(done, total)
        return heard

    def alone_ones() -> Iterator[ClipSemantics]:
        for name in kept:
            for clip in map(dataset.__getitem__, alone[name]):
                yield ask(clip, (clip.name,), (name,))

    def mixed_ones() -> Iterator[ClipSemantics]:
        for names, *places in pairs:
            first, second = map(dataset.__getitem__, places)
            yield ask(_mixed(first, second), (first.name, second.name), names)

    singles, mixtures = [*alone_ones()], [*mixed_ones()]
    if not predictor.config.score_fusion[TOKENS]:
        singles, mixtures = choose_tokens(kept, singles, mixtures)
    return MixtureStudy(
        classes=tuple(kept),
        singles=singles,
        mixtures=mixtures,
        without=_nearness(kept, singles, mixtures, tokens=False),
        within=_nearness(kept, singles, mixtures, tokens=True),
    )


def choose_tokens(
    classes: Sequence[str], singles: Sequence[ClipSemantics], mixtures: Sequence[ClipSemantics]
) -> tuple[list[ClipSemantics], list[ClipSemantics]]:
    """Choose for each class the token that lies nearest to the centroid of the class.

    For models whose head for the classes of tokens was not trained, as on AVSBench, which does not
    say what is heard. The first centroid of a class is that of the token, by its place among the N,
    that differs most from what it is for other classes; then clips choose tokens, and these make
    the next centroid, until nothing changes.

    Returns:
        The same sounds, with the tokens `said` that are chosen so.
    """
    tokens = [np.stack([s.tokens for s in singles if s.classes == (name,)]) for name in classes]
    means = np.stack([of_class.mean(axis=0) for of_class in tokens])  # (L, N, D)
    places = np.linalg.norm(means - means.mean(axis=0), axis=2).argmax(axis=1)
    centroids = dict(zip(classes, means[np.arange(len(classes)), places], strict=True))
    for _ in range(ROUNDS):
        before = dict(centroids)
        for name, of_class in zip(classes, tokens, strict=True):
            centroids[name] = np.mean([_nearest(t, centroids[name]) for t in of_class], axis=0)
        if all(np.array_equal(before[name], centroids[name]) for name in classes):
            break

    def choose(sound: ClipSemantics) -> ClipSemantics:
        said = [_nearest(sound.tokens, centroids[name]) for name in sound.classes]
        return replace(sound, said=np.stack(said))

    return [choose(sound) for sound in singles], [choose(sound) for sound in mixtures]


def _nearest(tokens: Vectors, centroid: Vectors) -> Vectors:
    """Return the one of the tokens ``(N, D)`` that is nearest to a vector ``(D,)``."""
    chosen: Vectors = tokens[np.linalg.norm(tokens - centroid, axis=1).argmin()]
    return chosen


def _pairs(
    alone: dict[str, list[int]], number: int, seed: int
) -> list[tuple[tuple[str, str], int, int]]:
    """Choose pairs of clips, by their places; each pair of classes about equally often."""
    rng = np.random.default_rng(seed)
    kinds = list(combinations(alone, 2))
    pairs = []
    for place in range(number):
        first, second = kinds[place % len(kinds)]
        if rng.random() < 0.5:
            first, second = second, first
        ours, theirs = (
            alone[name][int(rng.integers(len(alone[name])))] for name in (first, second)
        )
        pairs.append(((first, second), ours, theirs))
    return pairs


def _mixed(first: Clip, second: Clip) -> Clip:
    """Add the sound of another clip, both at one level; the picture stays that of the first."""
    sound = np.zeros_like(first.waveform)
    for clip in (first, second):
        waveform = np.resize(clip.waveform, len(sound))
        sound += waveform * np.float32(np.sqrt(NOMINAL_POWER / max(active_power(waveform), 1e-12)))
    return first._replace(waveform=np.clip(sound, -1, 1), heard=None)


def _summarise(
    semantics: Semantics,
    clip: Clip,
    clips: tuple[str, ...],
    names: tuple[str, ...],
    columns: list[int],
) -> ClipSemantics:
    """Keep what is compared; `columns` are the places of the names among the model's classes."""
    sounds = [bool(heard) for heard in heard_classes(clip)] if len(names) == 1 else slice(None)
    best = semantics.token_probs[:, columns].argmax(axis=0)
    return ClipSemantics(
        clips=clips,
        classes=names,
        without=semantics.fused[sounds].mean(axis=0, keepdims=True),
        tokens=semantics.tokens,
        said=semantics.tokens[best],
    )


def _nearness(
    classes: Sequence[str],
    singles: Sequence[ClipSemantics],
    mixtures: Sequence[ClipSemantics],
    *,
    tokens: bool,
) -> Nearness:
    ratios, hits = [], []
    for mixture in mixtures:
        # (L, D), each from the clips that are not in the mixture
        centroids = np.stack(
            [
                np.mean(
                    [
                        (single.said if tokens else single.without)[0]
                        for single in singles
                        if single.classes == (name,) and single.clips[0] not in mixture.clips
                    ],
                    axis=0,
                )
                for name in classes
            ]
        )
        vectors = mixture.tokens if tokens else mixture.without  # (N, D) or (1, D)
        away = np.linalg.norm(vectors[:, None] - centroids, axis=2).min(axis=0)  # (L,)
        sources = [classes.index(name) for name in mixture.classes]
        ratios.append(away[sources].mean() / np.delete(away, sources).mean())
        hits.append(len(set(np.argsort(away)[:2].tolist()) & set(sources)) / 2)
    return Nearness(float(np.mean(ratios)), float(np.mean(hits)), 2 / len(classes))


@dataclass(frozen=True)
class Map:
    """Points in a plane; near points were near in D dimensions."""

    places: NDArray[np.float32]  # (P, 2)
    classes: list[str]  # of each point
    part: NDArray[np.intp]  # (P,), 0: a sound alone; 1, 2: first, second class of a mixture


def embed(study: MixtureStudy, *, tokens: bool, seed: int = 0) -> Map:
    """Lay sounds and mixtures out in a plane by t-SNE.

    Args:
        study: the result to show.
        tokens: of each sound the token that says its class most, of a mixture one for each
            class; otherwise the vector before decomposition, of a mixture one point for each of
            its classes at one place.
        seed: of t-SNE.

    Raises:
        AvsegError: if scikit-learn is not installed.
    """
    try:
        from sklearn.manifold import TSNE
    except ImportError as error:
        raise AvsegError("t-SNE needs scikit-learn", install_hint("figures")) from error
    heard = [*study.singles, *study.mixtures]
    vectors = np.concatenate([h.said if tokens else h.without for h in heard])
    perplexity = min(30.0, (len(vectors) - 1) / 3)
    state = seed % 2**32  # scikit-learn takes no larger one
    places = TSNE(2, perplexity=perplexity, init="pca", random_state=state).fit_transform(vectors)
    if not tokens:
        places = places.repeat([len(h.classes) for h in heard], axis=0)
    return Map(
        places=places,
        classes=[name for h in heard for name in h.classes],
        part=np.array(
            [n if len(h.classes) > 1 else 0 for h in heard for n, _ in enumerate(h.classes, 1)]
        ),
    )
