from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F

from avsegcli.config import load_config
from avsegcli.model.mask_decoder import DynamicConvolution, MaskDecoder
from avsegcli.model.visual_encoder import make_level


@pytest.fixture(params=[False, True], ids=["plain", "deformable"])
def decoder(request, stir) -> MaskDecoder:
    decoder = MaskDecoder(
        16, 3, 2, 2, 32, mask_dim=4, dynamic_dim=8, num_classes=5, deformable=request.param
    ).eval()
    stir(decoder)
    return decoder


def make_inputs(frames: int):
    levels = [make_level(torch.randn(frames, 16, size, size), None) for size in (4, 2)]
    return torch.randn(frames, 3, 16), levels, torch.randn(frames, 4, 16, 16)


def test_dynamic_convolution_equals_condinst_taken_literally():
    convolution = DynamicConvolution(mask_dim=4, hidden=8)
    features, reference = torch.randn(2, 4, 6, 5), torch.rand(2, 3, 2)
    weights = torch.randn(2, 3, convolution.num_weights)
    found = convolution(features, weights, reference)
    x, y = (torch.arange(5) + 0.5) / 5, (torch.arange(6) + 0.5) / 6
    for m in range(2):
        for q in range(3):
            w = weights[m, q].split([32, 16, 8, 64, 8, 8, 1])
            offsets = torch.stack(
                [
                    (x - reference[m, q, 0]).expand(6, 5),
                    (y - reference[m, q, 1])[:, None].expand(6, 5),
                ]
            )
            hidden = torch.cat([features[m], offsets])[None]  # (1, 4 + 2, 6, 5)
            first = torch.cat([w[0].view(8, 4), w[1].view(8, 2)], dim=1)
            hidden = F.relu(F.conv2d(hidden, first[..., None, None], w[2]))
            hidden = F.relu(F.conv2d(hidden, w[3].view(8, 8, 1, 1), w[4]))
            expected = F.conv2d(hidden, w[5].view(1, 8, 1, 1), w[6])[0, 0]
            torch.testing.assert_close(found[m, q], expected, rtol=1e-3, atol=1e-3)


def test_dynamic_convolution_measures_offsets_in_the_valid_part():
    convolution = DynamicConvolution(mask_dim=4, hidden=8)
    features, reference = torch.randn(1, 4, 8, 8), torch.rand(1, 2, 2)
    weights = torch.randn(1, 2, convolution.num_weights)
    padded = F.pad(features, (0, 8, 0, 0))
    found = convolution(padded, weights, reference, torch.tensor([[0.5, 1.0]]))
    expected = convolution(features, weights, reference)
    torch.testing.assert_close(found[..., :8], expected, rtol=1e-3, atol=1e-3)


def test_the_paper_s_presets_have_2153_weights_a_query():
    config = load_config("r50").model
    assert (config.mask_dim, config.dynamic_dim) == (256, 8)
    convolution = DynamicConvolution(config.mask_dim, config.dynamic_dim)
    assert convolution.num_weights == (256 + 2) * 8 + 8 + 8 * 8 + 8 + 8 + 1 == 2153


def test_refined_boxes_begin_at_the_reference_point_with_a_small_size():
    decoder = MaskDecoder(16, 3, 3, 2, 32, 4, 8, 5, deformable=True).eval()
    queries, levels, features = make_inputs(2)
    point = decoder.reference(queries + decoder.query_position).sigmoid()
    for prediction in decoder(queries, levels, features):
        torch.testing.assert_close(prediction.boxes[..., :2], point)
        size = torch.full_like(point, -2.0).sigmoid()
        torch.testing.assert_close(prediction.boxes[..., 2:], size)


def test_each_layer_refines_the_box_of_the_one_before():
    decoder = MaskDecoder(16, 3, 3, 2, 32, 4, 8, 5, deformable=True).eval()
    with torch.no_grad():
        for head in decoder.boxes:
            head[-1].bias.fill_(0.5)
    predictions = decoder(*make_inputs(2))
    boxes = [prediction.boxes.logit() for prediction in predictions]
    for before, after in pairwise(boxes):
        torch.testing.assert_close(after - before, torch.full_like(after, 0.5), rtol=0, atol=1e-4)


def test_each_layer_predicts(decoder):
    predictions = decoder(*make_inputs(2))
    assert len(predictions) == 2
    for masks, classes, boxes in predictions:
        assert masks.shape == (2, 3, 16, 16)
        assert classes.shape == (2, 3, 5)
        assert boxes.shape == (2, 3, 4)
        assert ((boxes > 0) & (boxes < 1)).all()


def test_a_frame_is_the_same_alone_and_in_a_batch(decoder):
    queries, levels, features = make_inputs(3)
    together = decoder(queries, levels, features)[-1]
    one = slice(1, 2)
    levels = [level._replace(features=level.features[one]) for level in levels]
    alone = decoder(queries[one], levels, features[one])[-1]
    for a, b in zip(together, alone, strict=True):
        torch.testing.assert_close(a[one], b, rtol=1e-4, atol=1e-5)


def test_padding_has_no_say(decoder):
    queries, _, features = make_inputs(1)
    maps = [torch.randn(1, 16, 4, 4), torch.randn(1, 16, 2, 2)]
    valid = torch.ones(1, 64, 64, dtype=torch.bool)
    expected = decoder(queries, [make_level(m, valid) for m in maps], features)[-1]
    padded = [make_level(F.pad(m, (0, m.shape[-1], 0, 0)), F.pad(valid, (0, 64))) for m in maps]
    extent = torch.tensor([[0.5, 1.0]])
    found = decoder(queries, padded, F.pad(features, (0, 16)), extent)[-1]
    torch.testing.assert_close(found.mask_logits[..., :16], expected.mask_logits)
    torch.testing.assert_close(found.class_logits, expected.class_logits)
    boxes = expected.boxes * torch.tensor([0.5, 1.0, 0.5, 1.0])  # the same pixels, a wider frame
    torch.testing.assert_close(found.boxes, boxes)


def test_gradients_reach_every_parameter(decoder, missing_gradients):
    predictions = decoder(*make_inputs(2))
    assert missing_gradients(decoder, *(x for layer in predictions for x in layer)) == []


def test_classes_begin_improbable():
    decoder = MaskDecoder(16, 3, 2, 2, 32, 4, 8, 5)
    assert decoder(*make_inputs(2))[-1].class_logits.sigmoid().mean() < 0.03
