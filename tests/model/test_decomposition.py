import pytest
import torch

from avsegcli.model.decomposition import SemanticDecoder


@pytest.fixture
def decoder() -> SemanticDecoder:
    return SemanticDecoder(8, num_tokens=3, num_layers=2, num_heads=2, ffn_dim=16)


@pytest.mark.parametrize("num_frames", [1, 5, 11])
def test_any_number_of_frames_gives_n_tokens_of_one_scale(decoder, num_frames):
    tokens = decoder(torch.randn(2, num_frames, 8))
    assert tokens.shape == (2, 3, 8)
    torch.testing.assert_close(tokens.mean(-1), torch.zeros(2, 3), rtol=0, atol=1e-6)
    torch.testing.assert_close(tokens.var(-1, correction=0), torch.ones(2, 3), rtol=0, atol=1e-3)


def test_a_clip_is_the_same_alone_and_in_a_batch(decoder):
    audio = torch.randn(3, 5, 8)
    decoder.eval()
    torch.testing.assert_close(decoder(audio)[1:2], decoder(audio[1:2]), rtol=1e-4, atol=1e-5)


def test_gradients_reach_every_parameter(decoder, missing_gradients):
    assert missing_gradients(decoder, decoder(torch.randn(2, 5, 8))) == []
