"""A tiny model learns from shapes that beep, in a minute or two, and listens.

Thresholds leave room: arithmetic differs
between machines as it does between seeds.
"""

import pytest

from avsegcli.evaluation.evaluator import evaluate
from avsegcli.inference.torch_predictor import Predictor
from avsegcli.synthesis.composer import ComposedDataset, Composer
from avsegcli.synthesis.parts import Parts


@pytest.fixture(scope="module")
def scores(toy_run, toy_parts):
    """The scores on clips of the parts of test, which the model never saw."""
    clips = ComposedDataset(Composer(Parts(toy_parts, "test"), num_frames=2, size=64), 1, 60)
    return evaluate(Predictor(toy_run / "last.safetensors", "cpu"), clips, listen=True)


def test_the_beeping_shape_is_found_and_named(scores):
    assert scores.summary.j_object > 0.5
    assert scores.avsbench.j > 0.62
    assert scores.avss.miou_present > 0.45  # of five classes


def test_without_sound_the_mask_goes(scores):
    assert scores.summary.silent_area < 0.1
    assert scores.listening.mute < 0.5


def test_with_the_sound_of_something_else_the_mask_goes(scores):
    assert scores.listening.swap < 0.4


def test_of_two_shapes_the_one_that_sounds_is_taken(scores):
    assert scores.listening.solo_clips >= 5
    assert scores.listening.solo > 0.4
