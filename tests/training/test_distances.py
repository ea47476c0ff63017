import math

import torch

from avsegcli.training.distances import box_distances, focal, mask_distances


def test_focal_equals_its_formula():
    logits = torch.tensor([0.0, 2.0])
    positive = focal(logits, torch.ones(2))
    negative = focal(logits, torch.zeros(2))
    p = 1 / (1 + math.exp(-2.0))
    assert torch.allclose(positive[0], torch.tensor(0.25 * 0.25 * math.log(2)))
    assert torch.allclose(negative[1], torch.tensor(0.75 * p**2 * -math.log(1 - p)))


def test_a_right_mask_is_near_and_a_wrong_one_far():
    mask = torch.zeros(4, 4)
    mask[:, :2] = 1
    right = mask_distances((mask - 0.5) * 40, mask, torch.ones(4, 4))
    wrong = mask_distances((0.5 - mask) * 40, mask, torch.ones(4, 4))
    assert right[0] < 1e-6
    assert right[1] < 1e-6
    assert wrong[0] > 19
    assert wrong[1] > 0.9


def test_unknown_cells_have_no_say_in_a_mask():
    mask, known = torch.zeros(4, 4), torch.ones(4, 4)
    known[0] = 0
    logits = torch.full((4, 4), -3.0)
    changed = logits.clone()
    changed[0] = 50.0
    for before, after in zip(
        mask_distances(logits, mask, known), mask_distances(changed, mask, known), strict=True
    ):
        assert torch.equal(before, after)


def test_boxes_by_hand():
    box = torch.tensor([0.25, 0.25, 0.5, 0.5])  # the upper left quarter
    apart = torch.tensor([0.75, 0.75, 0.5, 0.5])  # the lower right quarter
    half = torch.tensor([0.5, 0.25, 1.0, 0.5])  # the upper half
    l1, giou = box_distances(box, torch.stack([box, apart, half]))
    assert torch.allclose(l1, torch.tensor([0.0, 1.0, 0.75]))
    # IoU 0 and half of the hull empty: GIoU -0.5. IoU 0.5 and no empty hull: 0.5.
    assert torch.allclose(giou, torch.tensor([0.0, 1.5, 0.5]), atol=1e-5)
