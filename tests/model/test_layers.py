import math

import pytest
import torch

from avsegcli.model.layers import (
    Attention,
    FeedForward,
    QueryLayer,
    TwoLayer,
    scale_valid,
    sine_position,
)


def test_attention_equals_its_formula():
    attention = Attention(8, 2)
    q, k, v = torch.randn(2, 3, 8), torch.randn(2, 5, 8), torch.randn(2, 5, 8)
    valid = torch.tensor([[True] * 5, [True, True, False, True, False]])
    expected = torch.zeros(2, 3, 8)
    query, key, value = attention.query(q), attention.key(k), attention.value(v)
    for b in range(2):
        for head in (slice(0, 4), slice(4, 8)):
            scores = query[b, :, head] @ key[b, :, head].T / math.sqrt(4)
            scores[:, ~valid[b]] = -torch.inf
            expected[b, :, head] = scores.softmax(-1) @ value[b, :, head]
    torch.testing.assert_close(attention(q, k, v, valid), attention.out(expected))


def test_what_is_not_valid_has_no_say_in_attention():
    attention = Attention(8, 2)
    q, memory = torch.randn(1, 3, 8), torch.randn(1, 5, 8)
    padded = torch.cat([memory, torch.randn(1, 4, 8)], dim=1)
    valid = torch.arange(9)[None] < 5
    torch.testing.assert_close(
        attention(q, padded, padded, valid), attention(q, memory, memory), rtol=0, atol=1e-6
    )


def test_attention_refuses_heads_that_do_not_divide_the_channels():
    with pytest.raises(ValueError, match="no multiple"):
        Attention(10, 4)


def test_gradients_reach_every_parameter(missing_gradients):
    layer = QueryLayer(8, 2, 16)
    assert missing_gradients(layer, layer(torch.randn(2, 3, 8), 0.0, torch.randn(2, 5, 8))) == []


def test_a_query_layer_is_the_same_alone_and_in_a_batch():
    layer = QueryLayer(8, 2, 16, dropout=0.3).eval()
    queries, position, memory = torch.randn(3, 4, 8), torch.randn(4, 8), torch.randn(3, 5, 8)
    together = layer(queries, position, memory)
    for b in range(3):
        alone = layer(queries[b : b + 1], position, memory[b : b + 1])
        torch.testing.assert_close(alone[0], together[b])


def test_feed_forward_treats_each_position_by_itself():
    layer = FeedForward(8, 16)
    x = torch.randn(2, 3, 8)
    torch.testing.assert_close(layer(x)[1, 2], layer(x[1, 2]))


def test_two_layer_begins_at_its_bias():
    assert TwoLayer(4, 4, 3, bias=-2.0)[2].bias.tolist() == [-2.0] * 3


def test_sine_position_by_hand():
    position = sine_position(torch.ones(1, 2, 4, dtype=torch.bool), 4)  # (1, 4, 2, 4)
    y, x = 0.75 * 2 * math.pi, 0.125 * 2 * math.pi  # second of 2 rows, first of 4 columns
    expected = torch.tensor([math.sin(y), math.cos(y), math.sin(x), math.cos(x)])
    torch.testing.assert_close(position[0, :, 1, 0], expected)


def test_padding_has_no_say_in_sine_position():
    valid = torch.zeros(1, 5, 6, dtype=torch.bool)
    valid[:, :3, :4] = True
    expected = sine_position(torch.ones(1, 3, 4, dtype=torch.bool), 8)
    assert torch.equal(sine_position(valid, 8)[:, :, :3, :4], expected)


def test_scale_valid_keeps_cells_that_begin_in_the_picture():
    valid = torch.zeros(1, 8, 8, dtype=torch.bool)
    valid[:, :5, :4] = True
    assert scale_valid(valid, (2, 4))[0].tolist() == [[True, True, False, False]] * 2


def test_scale_valid_knows_that_a_coarse_level_reaches_beyond_the_frame():
    valid = torch.zeros(1, 160, 160, dtype=torch.bool)  # 3 cells of stride 64 each way
    valid[:, :64, :96] = True
    assert scale_valid(valid, (3, 3))[0].tolist() == [[True, True, False], *[[False] * 3] * 2]
