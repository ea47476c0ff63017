import math

import pytest
import torch

from avsegcli.model.deformable import (
    DeformableAttention,
    DeformableQueryLayer,
    Memory,
    _cell_centres,
)
from avsegcli.model.visual_encoder import make_level

SIZES = [(4, 5), (2, 3)]
CELLS = 26


@pytest.fixture
def attention(stir) -> DeformableAttention:
    attention = DeformableAttention(8, num_heads=2, num_levels=2, num_points=3)
    stir(attention)
    with torch.no_grad():  # far enough for some points to leave the picture
        attention.offsets.weight.normal_(std=0.5)
    return attention


def literal(attention, query, reference, memory):
    """Deformable DETR, Eq. 2 and 3, cell by cell."""
    value = attention.value(memory.features)
    if memory.valid is not None:
        value[~memory.valid] = 0
    batch, queries, dim = query.shape
    offsets = attention.offsets(query).view(batch, queries, 2, 2, 2, 3)  # heads, xy, levels, points
    weights = attention.weights(query).view(batch, queries, 2, 6).softmax(-1)
    weights = weights.view(batch, queries, 2, 2, 3)
    out = torch.zeros(batch, queries, dim)
    for b, q, head, level, point in torch.cartesian_prod(
        *(torch.arange(n) for n in (batch, queries, 2, 2, 3))
    ).tolist():
        height, width = memory.sizes[level]
        start = sum(h * w for h, w in memory.sizes[:level])
        ref = reference[b, q, min(level, reference.shape[2] - 1)]
        offset = offsets[b, q, head, :, level, point]
        if len(ref) == 4:  # in shares of the box, for 3 points
            offset = offset / 3 * ref[2:] * 0.5 * torch.tensor([width, height])
        x = (ref[0] * width + offset[0] - 0.5).item()
        y = (ref[1] * height + offset[1] - 0.5).item()
        for row in (math.floor(y), math.floor(y) + 1):
            for column in (math.floor(x), math.floor(x) + 1):
                if 0 <= row < height and 0 <= column < width:
                    share = (1 - abs(y - row)) * (1 - abs(x - column))
                    cell = value[b, start + row * width + column, head * 4 : head * 4 + 4]
                    out[b, q, head * 4 : head * 4 + 4] += (
                        weights[b, q, head, level, point] * share * cell
                    )
    return attention.out(out)


@pytest.mark.parametrize("numbers", [2, 4], ids=["points", "boxes"])
@pytest.mark.parametrize("levels", [1, 2])
@pytest.mark.parametrize("inference", [False, True])
def test_it_equals_a_loop_over_cells(attention, inference, levels, numbers):
    query, reference = torch.randn(2, 5, 8), torch.rand(2, 5, levels, numbers)
    memory = Memory(torch.randn(2, CELLS, 8), torch.rand(2, CELLS) < 0.8, SIZES)
    expected = literal(attention, query, reference, memory).detach()
    with torch.set_grad_enabled(not inference):  # two ways to sample
        found = attention(query, reference, memory).detach()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_at_first_each_head_looks_in_its_own_direction():
    attention = DeformableAttention(8, num_heads=4, num_levels=2, num_points=3)
    offsets = attention.offsets.bias.detach().view(4, 2, 2, 3)  # heads, xy, levels, points
    assert offsets[0, :, 1].tolist() == [[1, 2, 3], [0, 0, 0]]  # to the right
    torch.testing.assert_close(offsets[1, :, 0], torch.tensor([[0.0, 0, 0], [1, 2, 3]]))


def test_a_query_layer_is_the_same_alone_and_in_a_batch():
    layer = DeformableQueryLayer(8, 2, 2, 16, dropout=0.3).eval()
    queries, position, reference = torch.randn(3, 4, 8), torch.randn(4, 8), torch.rand(3, 4, 2)
    features = torch.randn(3, CELLS, 8)
    together = layer(queries, position, reference, Memory(features, None, SIZES))
    one = slice(1, 2)
    alone = layer(queries[one], position, reference[one], Memory(features[one], None, SIZES))
    torch.testing.assert_close(alone, together[one], rtol=1e-4, atol=1e-5)


def test_gradients_reach_every_parameter_and_the_reference(missing_gradients):
    layer = DeformableQueryLayer(8, 2, 2, 16)
    reference = torch.rand(2, 4, 2, requires_grad=True)
    memory = Memory(torch.randn(2, CELLS, 8), None, SIZES)
    updated = layer(torch.randn(2, 4, 8), 0.0, reference, memory)
    assert missing_gradients(layer, updated) == []
    assert reference.grad is not None
    assert reference.grad.abs().sum() > 0


def test_cells_look_at_the_same_place_of_the_valid_part_of_each_level():
    valid = torch.zeros(1, 64, 64, dtype=torch.bool)
    valid[:, :, :32] = True
    levels = [make_level(torch.randn(1, 4, size, size), valid) for size in (8, 4)]
    reference = _cell_centres(levels)  # (1, 80, 2, 2)
    assert reference[0, 0, 0].tolist() == [0.5 / 8, 0.5 / 8]
    # The last valid column of the coarse level, at 3/4 of the valid part, 3/8 of the padded one.
    torch.testing.assert_close(reference[0, 64 + 1, :, 0], torch.tensor([3 / 8, 3 / 8]))


def test_bf16_keeps_the_places_of_the_points(attention):
    query, reference = torch.randn(1, 5, 8), torch.rand(1, 5, 1, 2)
    memory = Memory(torch.randn(1, CELLS, 8), None, SIZES)
    expected = attention(query, reference, memory)
    with torch.autocast("cpu", torch.bfloat16):
        found = attention(query, reference, memory)
    torch.testing.assert_close(found.float(), expected, rtol=0.1, atol=0.1)
