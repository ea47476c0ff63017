import pytest
import torch
import torch.nn.functional as F

from avsegcli.model.recombination import Recombination


@pytest.fixture
def recombination(stir) -> Recombination:
    recombination = Recombination(8, num_tokens=3)
    stir(recombination)
    return recombination.eval()


def test_it_equals_equation_5_taken_literally(recombination):
    visual, tokens = torch.randn(2 * 4, 8, 5, 6), torch.randn(2, 3, 8)
    filters = recombination.filters(tokens).repeat_interleave(4, 0)  # (B * T, N, D)
    filtered = [visual * filters[:, i, :, None, None] for i in range(3)]
    weight = recombination.merge.permute(1, 0, 2).flatten(1)  # (D, N * D)
    merged = F.conv2d(torch.cat(filtered, dim=1), weight[..., None, None])
    expected = visual + F.relu(recombination.norm(merged))
    torch.testing.assert_close(recombination(visual, tokens), expected, rtol=1e-4, atol=1e-5)


def test_a_clip_is_the_same_alone_and_in_a_batch(recombination):
    visual, tokens = torch.randn(3 * 2, 8, 5, 6), torch.randn(3, 3, 8)
    together = recombination(visual, tokens)
    alone = recombination(visual[2:4], tokens[1:2])
    torch.testing.assert_close(together[2:4], alone, rtol=1e-4, atol=1e-5)


def test_gradients_reach_every_parameter(recombination, missing_gradients):
    found = recombination(torch.randn(4, 8, 5, 6), torch.randn(2, 3, 8))
    assert missing_gradients(recombination, found) == []
