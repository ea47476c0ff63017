import numpy as np
import pytest

from avsegcli.analysis import tsne
from avsegcli.analysis.tsne import ClipSemantics, embed, study_mixtures
from avsegcli.datasets.registry import open_clips
from avsegcli.errors import DataError
from avsegcli.inference.torch_predictor import Predictor

CLASSES = ("cat", "dog", "owl")


def vector(*values):
    return np.array([values], np.float32)


def single(name, place):
    here = np.eye(3, dtype=np.float32)[place : place + 1]
    return ClipSemantics((name,), (CLASSES[place],), here, here, here)


SINGLES = [single(f"{name}{n}", place) for place, name in enumerate(CLASSES) for n in range(2)]


def test_tokens_at_the_places_of_the_sources_are_as_near_as_can_be():
    tokens = np.concatenate([vector(1, 0, 0), vector(0, 1, 0)])
    between = vector(0.5, 0.5, 0)
    mixture = ClipSemantics(("cat0", "dog1"), ("cat", "dog"), between, tokens, tokens)
    within = tsne._nearness(CLASSES, SINGLES, [mixture], tokens=True)
    assert (within.ratio, within.hits, within.chance) == (0, 1, pytest.approx(2 / 3))
    without = tsne._nearness(CLASSES, SINGLES, [mixture], tokens=False)
    assert without.hits == 1
    assert without.ratio == pytest.approx(0.5**0.5 / 1.5**0.5)


def test_a_mixture_is_not_compared_with_the_clips_that_it_is_made_of():
    moved = [*SINGLES, ClipSemantics(("cat9",), ("cat",), *[vector(9, 9, 9)] * 3)]
    tokens = np.concatenate([vector(1, 0, 0), vector(0, 1, 0)])
    mixture = ClipSemantics(("cat9", "dog1"), ("cat", "dog"), vector(0, 0, 0), tokens, tokens)
    assert tsne._nearness(CLASSES, moved, [mixture], tokens=True).ratio == 0


def test_sounds_of_one_class_are_mixed_in_pairs(untrained, single_clips):
    told = []
    study = study_mixtures(
        Predictor(untrained, "cpu"),
        open_clips(single_clips),
        num_mixtures=6,
        progress=lambda *numbers: told.append(numbers),
    )
    assert len(study.classes) >= 3
    assert [len(heard.classes) for heard in study.mixtures] == [2] * 6
    assert told[-1] == (len(study.singles) + 6,) * 2
    assert 0 <= study.within.hits <= 1
    shown = embed(study, tokens=True)
    assert shown.places.shape == (len(study.singles) + 12, 2)
    assert np.bincount(shown.part).tolist() == [len(study.singles), 6, 6]
    before = embed(study, tokens=False, seed=2**32)
    assert before.classes == shown.classes
    first, second = (before.places[before.part == part] for part in (1, 2))
    np.testing.assert_array_equal(first, second)


def test_both_sounds_of_a_mixture_have_one_level(single_clips):
    clips = open_clips(single_clips)
    quiet = clips[1]._replace(waveform=clips[1].waveform * 0.01)
    loud = tsne._mixed(clips[0], clips[1]).waveform
    np.testing.assert_allclose(tsne._mixed(clips[0], quiet).waveform, loud, atol=1e-4)


def test_too_few_classes_are_refused(untrained, single_clips):
    with pytest.raises(DataError, match="three classes need 2 clips each"):
        study_mixtures(Predictor(untrained, "cpu"), open_clips(single_clips), classes=["disc"])
