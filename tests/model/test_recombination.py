import pytest
import torch
import torch.nn.functional as F

from avsegcli.model.recombination import Recombination
from avsegcli.model.visual_encoder import Level, make_level


@pytest.fixture
def recombination(stir) -> Recombination:
    recombination = Recombination(8, num_tokens=3, num_levels=2)
    stir(recombination)
    return recombination.eval()


def make_levels(num_frames: int, valid: torch.Tensor | None = None) -> list[Level]:
    """A level of 4 x 6 cells and one of 2 x 3 whose features are of another size."""
    fine, coarse = torch.randn(num_frames, 8, 4, 6), 5 * torch.randn(num_frames, 8, 2, 3) + 3
    return [make_level(fine, valid), make_level(coarse, valid)]


def features(levels: list[Level]) -> list[torch.Tensor]:
    return [level.features for level in levels]


def test_it_equals_equation_5_taken_literally(recombination):
    levels, tokens = make_levels(2 * 4), torch.randn(2, 3, 8)
    filters = recombination.filters(tokens).repeat_interleave(4, 0)  # (B * T, N, D)
    weight = recombination.merge.permute(1, 0, 2).flatten(1)  # (D, N * D)
    found = recombination(levels, tokens)
    for level, norm, modulated in zip(levels, recombination.norms, found, strict=True):
        filtered = [level.features * filters[:, i, :, None, None] for i in range(3)]
        merged = F.conv2d(torch.cat(filtered, dim=1), weight[..., None, None])
        expected = level.features + F.relu(norm(merged))
        torch.testing.assert_close(modulated.features, expected, rtol=1e-4, atol=1e-5)


def test_evaluation_equals_training_once_the_statistics_are_known(recombination):
    levels, tokens = make_levels(4), torch.randn(2, 3, 8)
    trained = features(recombination.train()(levels, tokens))
    for norm in recombination.norms:
        norm.momentum = 1.0
    recombination(levels, tokens)
    for expected, level in zip(trained, recombination.eval()(levels, tokens), strict=True):
        # The running variance is the unbiased one, of 24 cells: 4 % larger.
        torch.testing.assert_close(level.features, expected, rtol=0, atol=0.1)


def test_padding_and_absent_frames_stay_out_of_the_statistics(recombination):
    # Two clips of 2 frames, 64 x 96 pixels; 32 columns are padding, and the last frame is absent.
    tokens = torch.randn(2, 3, 8)
    present = torch.tensor([[True, True], [True, False]])
    valid = torch.ones(4, 64, 96, dtype=torch.bool)
    valid[..., 64:] = False
    levels = make_levels(4, valid)
    reals = [level.valid & present.view(4, 1, 1) for level in levels]
    other = [
        level._replace(features=torch.where(real[:, None], level.features, 100.0))
        for level, real in zip(levels, reals, strict=True)
    ]
    recombination.train()
    found, disturbed = recombination(levels, tokens, present), recombination(other, tokens, present)
    for level, same, real in zip(found, disturbed, reals, strict=True):
        a, b = (x.features.movedim(1, -1) for x in (level, same))
        torch.testing.assert_close(a[real], b[real])
        assert b[~real].unique().tolist() == [100.0]
    assert all(norm.running_mean.abs().max() < 5 for norm in recombination.norms)


def test_a_clip_is_the_same_alone_and_in_a_batch(recombination):
    levels, tokens = make_levels(3 * 2), torch.randn(3, 3, 8)
    together = recombination(levels, tokens)
    second = [level._replace(features=level.features[2:4]) for level in levels]
    alone = recombination(second, tokens[1:2])
    for a, b in zip(features(together), features(alone), strict=True):
        torch.testing.assert_close(a[2:4], b, rtol=1e-4, atol=1e-5)


def test_gradients_reach_every_parameter(recombination, missing_gradients):
    found = features(recombination(make_levels(4), torch.randn(2, 3, 8)))
    assert missing_gradients(recombination, *found) == []
