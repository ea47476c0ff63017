from dataclasses import replace

import numpy as np
import pytest
import torch

from avsegcli.analysis.semantics import audio_semantics, heard_classes
from avsegcli.datasets.clip import Clip
from avsegcli.datasets.registry import open_clips
from avsegcli.errors import WeightsError
from avsegcli.inference.checkpoint import LoadedModel, load_checkpoint
from avsegcli.inference.torch_predictor import Predictor
from avsegcli.model.qsd import build_qsd

SWITCHES = ("decomposition", "quantization", "recombination", "calibration")


def predictor_of_row(untrained, switched_on):
    """A predictor with the first so many parts of the method."""
    loaded = load_checkpoint(untrained)
    switches = {name: place < switched_on for place, name in enumerate(SWITCHES)}
    config = replace(loaded.config, **switches)
    model = build_qsd(config, len(loaded.classes) - 1).eval()
    return Predictor.from_model(
        LoadedModel(model, config, loaded.classes, "row"), torch.device("cpu")
    )


def test_semantics_are_those_on_the_way_to_the_masks(untrained, single_clips):
    predictor, clip = Predictor(untrained, "cpu"), open_clips(single_clips)[0]
    semantics = audio_semantics(predictor, clip)
    assert semantics.fused.shape == (2, 16)
    assert semantics.tokens.shape == (3, 16)
    assert semantics.token_probs.shape == (3, 4)
    assert semantics.frame_tokens.shape == (2, 3, 16)
    assert semantics.indices.shape == (2, 3)
    vectors = predictor.model.codebook.vectors().numpy()
    away = np.linalg.norm(semantics.frame_tokens[:, :, None] - vectors, axis=3)
    np.testing.assert_array_equal(semantics.indices, away.argmin(axis=2))


def test_looking_leaves_nothing_behind(untrained, single_clips):
    predictor, clip = Predictor(untrained, "cpu"), open_clips(single_clips)[0]
    audio_semantics(predictor, clip)
    assert not any(module._forward_hooks for module in predictor.model.modules())


def test_without_calibration_the_tokens_of_the_clip_stand_for_each_frame(untrained, single_clips):
    semantics = audio_semantics(predictor_of_row(untrained, 3), open_clips(single_clips)[0])
    np.testing.assert_array_equal(semantics.frame_tokens, np.stack([semantics.tokens] * 2))
    np.testing.assert_array_equal(semantics.indices[0], semantics.indices[1])


def test_without_quantization_there_are_no_codes(untrained, single_clips):
    semantics = audio_semantics(predictor_of_row(untrained, 1), open_clips(single_clips)[0])
    assert semantics.indices is None


def test_where_a_clip_does_not_say_what_is_heard_its_labels_do():
    labels = np.zeros((3, 4, 4), np.uint8)
    labels[0, 0] = 2
    labels[1] = 255
    heard = np.zeros((3, 3), bool)
    heard[1, 1:] = True
    clip = Clip("clip", None, None, labels, None, None, heard)
    assert heard_classes(clip) == [[], [1, 2], []]
    assert heard_classes(clip._replace(heard=None)) == [[2], [], []]


def test_a_model_without_decomposition_is_refused(untrained, single_clips):
    with pytest.raises(WeightsError, match="row has no decomposition"):
        audio_semantics(predictor_of_row(untrained, 0), open_clips(single_clips)[0])
