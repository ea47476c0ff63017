import pytest
import torch

from avsegcli.model.fpn import FeaturePyramid


@pytest.mark.parametrize("separable", [True, False])
@pytest.mark.parametrize("finer", [1, 2])
def test_mask_features_are_at_stride_4(finer, separable, missing_gradients):
    channels = (6, 10)[:finer]
    pyramid = FeaturePyramid(channels, 8, 16, 4, separable=separable)
    backbone = [torch.randn(2, c, 24 >> i, 16 >> i) for i, c in enumerate(channels)]
    encoded = [torch.randn(2, 8, 24 >> i, 16 >> i) for i in range(finer, 4)]
    features = pyramid(encoded, backbone)
    assert features.shape == (2, 4, 24, 16)
    assert missing_gradients(pyramid, features) == []


def test_every_level_has_a_say():
    pyramid = FeaturePyramid((6,), 8, 16, 4)
    encoded = [torch.randn(1, 8, 8, 8), torch.randn(1, 8, 4, 4), torch.randn(1, 8, 2, 2)]
    fine = torch.randn(1, 6, 16, 16)
    before = pyramid(encoded, [fine])
    for level in encoded:
        level += 1
        after = pyramid(encoded, [fine])
        assert not torch.allclose(before, after)
        before = after


def test_a_frame_is_the_same_alone_and_in_a_batch():
    pyramid = FeaturePyramid((6,), 8, 16, 4)
    encoded = [torch.randn(3, 8, 8, 8), torch.randn(3, 8, 4, 4)]
    fine = torch.randn(3, 6, 16, 16)
    alone = pyramid([level[1:2] for level in encoded], [fine[1:2]])
    torch.testing.assert_close(pyramid(encoded, [fine])[1:2], alone, rtol=1e-4, atol=1e-5)
