import csv
import io

import numpy as np
import pytest

from avsegcli.analysis.codebook import Codewords, codeword_csv, codeword_table, study_codewords
from avsegcli.datasets.registry import open_clips
from avsegcli.inference.torch_predictor import Predictor


def drawn():
    """Code 0 hears dogs, code 2 mostly cats, code 1 is not used."""
    counts = np.array([[0.0, 0, 4], [0, 0, 0], [0, 3, 1]])
    return Codewords(("nothing", "cat", "dog"), counts, {0: [], 2: []}, 0.5, 0.25)


def test_codes_are_ordered_by_their_class_and_what_is_not_used_is_left_out():
    assert drawn().used.tolist() == [2, 0]
    assert drawn().shares[2].tolist() == [0, 0.75, 0.25]
    assert drawn().shares[1].tolist() == [0, 0, 0]


def test_purity_is_compared_with_that_of_codes_that_say_nothing():
    assert drawn().purity == 7 / 8
    assert drawn().chance == 5 / 8
    assert drawn().perplexity == pytest.approx(2)


def test_the_error_is_that_of_the_network_s_own_quantization(untrained, single_clips):
    clips = open_clips(single_clips)
    predictor = Predictor(untrained, "cpu")
    codebook, losses = predictor.model.codebook, {True: [], False: []}
    handle = codebook.register_forward_hook(
        lambda _, inputs, update, output: losses[update["update"]].append(
            float(output.loss.mean()) / codebook.beta
        ),
        with_kwargs=True,
    )
    codewords = study_codewords(predictor, clips)
    handle.remove()
    assert codewords.clip_error == pytest.approx(np.mean(losses[True]), rel=1e-4)
    assert codewords.frame_error == pytest.approx(np.mean(losses[False]), rel=1e-4)


def test_every_token_of_every_second_is_counted_once(untrained, single_clips):
    clips = open_clips(single_clips)
    codewords = study_codewords(Predictor(untrained, "cpu"), clips)
    assert codewords.counts.shape == (16, 5)
    assert codewords.counts.sum() == pytest.approx(12 * 2 * 3)
    assert 0 < codewords.frame_error < 2
    assert 0 < codewords.clip_error < 2
    for code in codewords.used:
        sounds = codewords.nearest[int(code)]
        assert 1 <= len(sounds) <= 3
        assert len({sound.clip for sound in sounds}) == len(sounds)
        assert [sound.distance for sound in sounds] == sorted(sound.distance for sound in sounds)
    rows = list(csv.DictReader(io.StringIO(codeword_csv(codewords))))
    assert [int(row["code"]) for row in rows] == codewords.used.tolist()
    assert codeword_table(codewords).row_count == len(rows)
