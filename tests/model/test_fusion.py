import torch

from avsegcli.model.fusion import Fusion


def test_the_sound_of_a_frame_sees_all_frames_of_its_clip():
    fusion = Fusion(8, 2, 16)
    audio, visual = torch.randn(2, 3, 8), torch.randn(2, 12, 8)
    position = torch.zeros(2, 12, 8)
    before = fusion(audio, visual, position, None)
    visual[0, -1] += 1
    after = fusion(audio, visual, position, None)
    assert before.shape == (2, 3, 8)
    assert (before[0] != after[0]).any(-1).all()
    assert torch.equal(before[1], after[1])


def test_padding_has_no_say():
    fusion = Fusion(8, 2, 16)
    audio, visual, position = torch.randn(1, 3, 8), torch.randn(1, 4, 8), torch.randn(1, 4, 8)
    padded = torch.cat([visual, torch.randn(1, 3, 8)], 1)
    padded_position = torch.cat([position, torch.randn(1, 3, 8)], 1)
    valid = torch.arange(7)[None] < 4
    torch.testing.assert_close(
        fusion(audio, padded, padded_position, valid),
        fusion(audio, visual, position, None),
        rtol=0,
        atol=1e-6,
    )


def test_gradients_reach_every_parameter(missing_gradients):
    fusion = Fusion(8, 2, 16)
    fused = fusion(torch.randn(2, 3, 8), torch.randn(2, 5, 8), torch.randn(2, 5, 8), None)
    assert missing_gradients(fusion, fused) == []
