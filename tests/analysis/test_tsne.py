import numpy as np
import pytest
import torch

from avsegcli.analysis import tsne
from avsegcli.analysis.tsne import ClipSemantics, choose_tokens, embed, study_mixtures
from avsegcli.datasets.registry import open_clips, open_dataset
from avsegcli.errors import DataError
from avsegcli.inference.checkpoint import save_checkpoint
from avsegcli.inference.torch_predictor import Predictor
from avsegcli.model.qsd import build_qsd
from avsegcli.synthesis.fake_avsbench import write_fake

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


def test_without_a_head_the_token_nearest_to_its_class_is_chosen():
    # One of three tokens says the class, another one in each clip; the others say nothing.
    rng = np.random.default_rng(0)

    def sound(name, classes, places):
        tokens = 0.1 * rng.standard_normal((3, 8)).astype(np.float32)
        for place, token in enumerate(places):
            tokens[token, CLASSES.index(classes[place])] += 5
        wrong = tokens[[(place + 1) % 3 for place in places]]
        return ClipSemantics((name,), classes, tokens[:1], tokens, wrong)

    singles = [sound(f"{name}{n}", (name,), [0 if n else 2]) for name in CLASSES for n in (0, 1, 2)]
    mixture = sound("mix", ("cat", "owl"), [2, 0])
    found, (mixed,) = choose_tokens(CLASSES, singles, [mixture])
    for chosen in found:
        assert chosen.said[0].argmax() == CLASSES.index(chosen.classes[0])
        assert chosen.said[0].max() > 4
    assert np.array_equal(mixed.said, mixture.tokens[[2, 0]])
    assert tsne._nearness(CLASSES, found, [mixed], tokens=True).hits == 1


def test_a_model_of_avsbench_semantic_is_studied_without_its_head(tiny, tmp_path):
    write_fake(tmp_path, "avss", clips=24)
    clips = open_dataset("avss", "test", tmp_path)
    path = tmp_path / "avss.safetensors"
    torch.manual_seed(0)
    model = build_qsd(tiny, len(clips.classes) - 1)
    torch.nn.init.constant_(model.token_classes.weight, 0.0)  # as if it were never trained
    save_checkpoint(path, model, tiny, clips.classes, name="avss")
    study = study_mixtures(Predictor(path, "cpu"), clips, num_mixtures=3)
    assert len(study.classes) >= 3
    for heard in study.singles:
        assert (heard.tokens == heard.said).all(1).any()


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
