import pytest
import torch
import torch.nn.functional as F
from torch import nn

from avsegcli.errors import ConfigError
from avsegcli.model.fpn import FeaturePyramid, LightPyramid, build_pyramid


def make_inputs(finer: int, frames: int = 2) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Levels of an encoder, 8 wide, and `finer` levels of a backbone, 6 and 10 wide."""
    channels = (6, 10)[:finer]
    backbone = [torch.randn(frames, c, 24 >> i, 16 >> i) for i, c in enumerate(channels)]
    encoded = [torch.randn(frames, 8, 24 >> i, 16 >> i) for i in range(finer, 4)]
    return encoded, backbone


@pytest.fixture(params=["full", "light"])
def pyramid(request) -> FeaturePyramid | LightPyramid:
    """For three levels of an encoder and C2."""
    return build_pyramid(request.param, (6,), 3, dim=8, pyramid_dim=16, mask_dim=4)


@pytest.mark.parametrize("name", ["full", "light"])
@pytest.mark.parametrize("finer", [1, 2])
def test_mask_features_are_at_stride_4(finer, name, missing_gradients):
    pyramid = build_pyramid(name, (6, 10)[:finer], 4 - finer, dim=8, pyramid_dim=16, mask_dim=4)
    features = pyramid(*make_inputs(finer))
    assert features.shape == (2, 4, 24, 16)
    assert missing_gradients(pyramid, features) == []


def test_every_level_has_a_say(pyramid):
    encoded, backbone = make_inputs(1)
    before = pyramid(encoded, backbone)
    for level in [*encoded, *backbone]:
        level[:, :, 0, 0] += 1
        after = pyramid(encoded, backbone)
        assert not torch.allclose(before, after)
        before = after


def test_a_frame_is_the_same_alone_and_in_a_batch(pyramid):
    encoded, backbone = make_inputs(1, frames=3)
    alone = pyramid([level[1:2] for level in encoded], [backbone[0][1:2]])
    torch.testing.assert_close(pyramid(encoded, backbone)[1:2], alone, rtol=1e-4, atol=1e-5)


def test_the_full_pyramid_is_that_of_r2_vos():
    pyramid = FeaturePyramid((256, 256, 256, 256), 256, 256)
    shapes = [m.weight.shape[-2:] for m in pyramid.modules() if isinstance(m, nn.Conv2d)]
    assert shapes == [(1, 1)] * 4 + [(3, 3)] * 4 + [(3, 3)]
    groups = [m.num_groups for m in pyramid.modules() if isinstance(m, nn.GroupNorm)]
    assert groups == [8] * 8


def test_two_levels_of_the_full_pyramid_taken_literally():
    pyramid = FeaturePyramid((6, 8), 16, 4)
    fine, coarse = torch.randn(1, 6, 8, 8), torch.randn(1, 8, 4, 4)

    def apply(block, x):
        convolution, norm = block[0], block[1]
        x = F.conv2d(x, convolution.weight, padding=convolution.padding)
        return F.group_norm(x, norm.num_groups, norm.weight, norm.bias)

    top = F.relu(apply(pyramid.smooth[1], apply(pyramid.lateral[1], coarse)))
    top = top.repeat_interleave(2, 2).repeat_interleave(2, 3)
    merged = F.relu(apply(pyramid.smooth[0], apply(pyramid.lateral[0], fine) + top))
    torch.testing.assert_close(pyramid([coarse], [fine]), pyramid.project(merged))


def test_a_pyramid_of_another_name_is_refused():
    with pytest.raises(ConfigError, match="unknown pyramid 'wide'"):
        build_pyramid("wide", (6,), 3, 8, 16, 4)
