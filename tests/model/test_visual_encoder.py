import pytest
import torch
from torch import nn

from avsegcli.model.deformable import DeformableEncoder
from avsegcli.model.visual_encoder import (
    Level,
    PlainEncoder,
    flatten_levels,
    make_level,
    unflatten_levels,
)

CHANNELS = (4, 6, 8, 10)


def make_features(frames: int, height: int, width: int) -> list[torch.Tensor]:
    return [
        torch.randn(frames, c, height // s, width // s)
        for c, s in zip(CHANNELS, (4, 8, 16, 32), strict=True)
    ]


@pytest.fixture(params=[PlainEncoder, DeformableEncoder])
def encoder(request, stir):
    encoder = request.param(CHANNELS, 16, 2, 2, 32).eval()
    stir(encoder)
    return encoder


def test_a_level_for_each_stride(encoder):
    levels = encoder(make_features(2, 64, 96), None)
    sizes = [(-(-64 // s), -(-96 // s)) for s in encoder.strides]
    assert [tuple(level.features.shape) for level in levels] == [(2, 16, *s) for s in sizes]


def test_a_frame_is_the_same_alone_and_in_a_batch(encoder):
    features = make_features(3, 64, 96)
    together = encoder(features, None)
    alone = encoder([f[1:2] for f in features], None)
    for a, b in zip(together, alone, strict=True):
        torch.testing.assert_close(a.features[1:2], b.features, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("inference", [False, True])
def test_padding_has_no_say_in_attention(encoder, inference):
    # Without the group norms, whose statistics are those of the padded map.
    for project in encoder.project:
        project[1] = nn.Identity()
    features = make_features(1, 64, 96)
    padded = [
        nn.functional.pad(f, (0, 64 // s, 0, 96 // s))
        for f, s in zip(features, (4, 8, 16, 32), strict=True)
    ]
    valid = torch.zeros(1, 160, 160, dtype=torch.bool)
    valid[:, :64, :96] = True
    with torch.inference_mode(inference):
        for ours, wider in zip(encoder(features, None), encoder(padded, valid), strict=True):
            height, width = ours.features.shape[-2:]
            torch.testing.assert_close(
                wider.features[..., :height, :width], ours.features, rtol=0, atol=2e-5
            )


def test_gradients_reach_every_parameter(encoder, missing_gradients):
    levels = encoder(make_features(2, 64, 96), None)
    assert missing_gradients(encoder, *(level.features for level in levels)) == []


def test_flattened_levels_come_back():
    levels = [
        make_level(torch.randn(2, 8, 4, 6), torch.ones(2, 32, 48, dtype=torch.bool)),
        make_level(torch.randn(2, 8, 2, 3), torch.ones(2, 32, 48, dtype=torch.bool)),
    ]
    embedding = torch.randn(2, 8)
    tokens = flatten_levels(levels, embedding)
    assert tokens.features.shape == (2, 30, 8)
    torch.testing.assert_close(
        tokens.position[:, 24 + 4], levels[1].position[..., 1, 1] + embedding[1]
    )
    for before, after in zip(levels, unflatten_levels(tokens.features, levels), strict=True):
        assert torch.equal(before.features, after.features)


def test_a_level_is_zero_in_the_padding():
    valid = torch.zeros(1, 32, 32, dtype=torch.bool)
    valid[:, :, :16] = True
    level = make_level(torch.ones(1, 8, 2, 2), valid)
    assert isinstance(level, Level)
    assert level.features[0, 0].tolist() == [[1, 0], [1, 0]]
