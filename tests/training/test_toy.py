"""A tiny model learns from shapes that beep, in a minute or two, and listens."""

from pathlib import Path

import pytest
import torch

from avsegcli.config import load_config
from avsegcli.datasets.compose import ComposedDataset, Composer
from avsegcli.datasets.parts import Parts
from avsegcli.evaluation.evaluator import evaluate
from avsegcli.predictor import Predictor
from avsegcli.training import data
from avsegcli.training.run import start_training

SETTINGS = Path(__file__).parents[2] / "examples" / "toy.toml"


@pytest.fixture(scope="module")
def scores(toy_parts, tmp_path_factory):
    """Train on the parts of train and score on clips of those of test, which it never saw."""
    run = tmp_path_factory.mktemp("toy") / "run"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # layers this small only wait for each other
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "VALIDATION_CLIPS", (4, 4))
        start_training(
            load_config("lite", SETTINGS), toy_parts, run, device="cpu", report=lambda line: None
        )
    clips = ComposedDataset(Composer(Parts(toy_parts, "test"), num_frames=2, size=64), 1, 60)
    yield evaluate(Predictor(run / "last.safetensors", "cpu"), clips, listen=True)
    torch.set_num_threads(threads)


def test_the_beeping_shape_is_found(scores):
    assert scores.summary.j_object > 0.4
    assert scores.tpavi.j > 0.5
    assert scores.avss.miou_present > 0.35


def test_without_sound_the_mask_goes(scores):
    assert scores.listening.mute < 0.5


def test_of_two_shapes_the_one_that_sounds_is_taken(scores):
    assert scores.listening.solo_clips >= 5
    assert scores.listening.solo > 0.15
