import pytest
import torch

from avsegcli.model.visible_head import VisibleHead

CHANNELS = (8, 12, 16, 20)


def make_levels(batch: int, height: int, width: int):
    features = [
        torch.randn(batch, channels, height // stride, width // stride)
        for channels, stride in zip(CHANNELS, (4, 8, 16, 32), strict=True)
    ]
    return features, torch.randn(batch, 24, height // 16, width // 16)


@pytest.mark.parametrize("size", [(64, 96), (32, 32), (96, 64)])
def test_logits_have_stride_8(size):
    head = VisibleHead(CHANNELS, 24, 5, width=32).eval()
    logits = head(*make_levels(2, *size))
    assert logits.shape == (2, 5, size[0] // 8, size[1] // 8)


def test_a_frame_has_the_same_logits_alone_and_in_a_batch():
    head = VisibleHead(CHANNELS, 24, 5, width=32).eval()
    features, encoded = make_levels(3, 64, 64)
    together = head(features, encoded)
    alone = head([x[1:2] for x in features], encoded[1:2])
    torch.testing.assert_close(together[1:2], alone, rtol=1e-4, atol=1e-5)


def test_gradients_reach_every_parameter(missing_gradients):
    head = VisibleHead(CHANNELS, 24, 5, width=32)
    assert missing_gradients(head, head(*make_levels(2, 64, 64))) == []


def test_every_level_but_the_finest_is_looked_at():
    head = VisibleHead(CHANNELS, 24, 5, width=32).eval()
    features, encoded = make_levels(1, 64, 64)
    before = head(features, encoded)
    for level in range(4):
        changed = [x + torch.randn_like(x) * (i == level) for i, x in enumerate(features)]
        assert torch.equal(head(changed, encoded), before) == (level == 0)
    assert not torch.equal(head(features, encoded + 1), before)
