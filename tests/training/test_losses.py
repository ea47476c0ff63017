import math

import pytest
import torch

from avsegcli.config import LossConfig
from avsegcli.datasets.collate import Batch, Objects, Target
from avsegcli.model.mask_decoder import Predictions
from avsegcli.training.losses import audio_class_loss, segmentation_losses, visible_loss
from avsegcli.training.matcher import NO_QUERY, match

T, Q, L, SIZE = 2, 3, 4, 8


def make_target(labels, active, annotated=(True, True)):
    """Objects side by side, each a column of cells two wide."""
    masks = torch.zeros(len(labels), T, SIZE, SIZE)
    boxes = torch.zeros(len(labels), T, 4)
    for m in range(len(labels)):
        masks[m, :, :, 2 * m : 2 * m + 2] = 1
        boxes[m] = torch.tensor([(2 * m + 1) / SIZE, 0.5, 2 / SIZE, 1.0])
    return Target(
        labels=torch.tensor(labels, dtype=torch.int64),
        masks=masks,
        boxes=boxes,
        active=torch.tensor(active, dtype=torch.bool).view(len(labels), T),
        known=torch.ones(T, SIZE, SIZE),
        annotated=torch.tensor(annotated),
    )


def make_batch(*targets):
    return Batch(
        frames=torch.zeros(len(targets), T, 3, 32, 32),
        log_mel=torch.zeros(len(targets), T, 1, 96, 64),
        valid=None,
        objects=Objects.of(list(targets)),
        known=torch.stack([target.known for target in targets]),
        annotated=torch.stack([target.annotated for target in targets]),
        heard=torch.zeros(len(targets), T, L),
        visible=torch.zeros(len(targets), T, SIZE, SIZE, dtype=torch.uint8),
        imagined=torch.zeros(len(targets), T, L, dtype=torch.bool),
    )


def perfect(target, queries):
    """Predictions that say the truth, object m by query queries[m]."""
    masks = torch.full((1, T, Q, SIZE, SIZE), -20.0)
    classes = torch.full((1, T, Q, L), -20.0)
    boxes = torch.full((1, T, Q, 4), 0.5)
    for m, q in enumerate(queries):
        masks[0, :, q] = (target.masks[m] - 0.5) * 40
        boxes[0, :, q] = target.boxes[m]
        classes[0, target.active[m], q, target.labels[m]] = 20.0
    return Predictions(masks, classes, boxes)


def matched(predictions, batch):
    return match(predictions, batch.objects, batch.known, LossConfig())


def terms(predictions, batch):
    return segmentation_losses(predictions, batch, matched(predictions, batch), LossConfig())


def total(predictions, batch):
    return sum(terms(predictions, batch).values()).item()


def test_each_object_gets_the_query_that_explains_it():
    target = make_target([2, 0], [[1, 1], [1, 0]])
    assert matched(perfect(target, [2, 1]), make_batch(target)).tolist() == [2, 1]


def test_the_clips_of_a_batch_are_matched_each_by_itself():
    first, second = make_target([2, 0], [[1, 1], [1, 0]]), make_target([3], [[0, 1]])
    said = [perfect(first, [2, 1]), perfect(make_target([], []), []), perfect(second, [1])]
    together = Predictions(*(torch.cat(parts) for parts in zip(*said, strict=True)))
    batch = make_batch(first, make_target([], []), second)
    assert matched(together, batch).tolist() == [2, 1, 1]
    assert total(together, batch) == pytest.approx(0.0, abs=1e-4)
    together.mask_logits[2] *= -1  # of the third clip
    assert terms(together, batch)["loss_mask"].item() > 1.0


def test_more_objects_than_queries_leave_some_without_one():
    target = make_target([0, 1, 2, 3], [[1, 1]] * 4)
    queries = matched(perfect(make_target([0], [[1, 1]]), [0]), make_batch(target)).tolist()
    assert sorted(queries) == [NO_QUERY, 0, 1, 2]


def test_the_truth_costs_nothing_and_any_mistake_costs():
    target = make_target([2, 0], [[1, 1], [1, 0]])
    batch = make_batch(target)
    assert total(perfect(target, [0, 1]), batch) == pytest.approx(0.0, abs=1e-4)
    mistakes = {
        "an object that is silent in the second frame is called sounding": ("class", 1, 1, 0),
        "a query without object names a class": ("class", 0, 2, 3),
    }
    for mistake, (_, t, q, c) in mistakes.items():
        said = perfect(target, [0, 1])
        said.class_logits[0, t, q, c] = 20.0
        assert total(said, batch) > 1.0, mistake
    said = perfect(target, [0, 1])
    said.mask_logits[0, 0, 0] *= -1
    assert total(said, batch) > 1.0


def test_masks_of_silent_frames_have_no_say():
    target = make_target([2], [[1, 0]])
    said = perfect(target, [0])
    changed = perfect(target, [0])
    changed.mask_logits[0, 1, 0] = 7.0
    assert total(said, make_batch(target)) == total(changed, make_batch(target))


def test_frames_without_annotation_have_no_say():
    target = make_target([1], [[1, 0]], annotated=(True, False))
    said, changed = perfect(target, [0]), perfect(target, [0])
    changed.class_logits[0, 1] = 20.0
    assert total(said, make_batch(target)) == total(changed, make_batch(target))


def test_a_batch_without_any_object_still_has_gradients():
    target = make_target([], [])
    said = Predictions(
        *(x.clone().requires_grad_() for x in perfect(make_target([0], [[1, 1]]), [0]))
    )
    sum(terms(said, make_batch(target)).values()).backward()
    assert said.class_logits.grad.abs().sum() > 0


def test_heard_loss_counts_known_frames_only():
    logits = torch.zeros(1, 2, L)
    heard = torch.tensor([[[1.0, 0, 0, 0], [-1, -1, -1, -1]]])
    assert audio_class_loss(logits, heard).item() == pytest.approx(L * 0.6931, abs=1e-3)


def test_visible_loss_counts_a_class_by_the_root_of_its_area():
    visible = torch.zeros(1, 1, 4, 4, dtype=torch.uint8)
    visible[..., 0, 0] = 1  # 1 cell of 16; the background has 15
    said_nothing = torch.zeros(1, 1, 2, 4, 4)
    wrong = said_nothing.clone()
    wrong[:, :, 0] = 10.0  # all is background
    share = 1 / (1 + 15**0.5)
    assert visible_loss(said_nothing, visible).item() == pytest.approx(math.log(2), abs=1e-4)
    assert visible_loss(wrong, visible).item() == pytest.approx(10 * share, abs=1e-2)


def test_visible_loss_is_zero_for_the_truth_and_ignores_the_unknown():
    visible = torch.zeros(1, 1, 8, 8, dtype=torch.uint8)
    visible[..., :4] = 3
    visible[..., 0, :] = 255
    logits = torch.full((1, 1, L + 1, 2, 2), -20.0)
    logits[0, 0, 3, :, 0] = 20.0
    logits[0, 0, 0, :, 1] = 20.0
    assert visible_loss(logits, visible).item() == pytest.approx(0.0, abs=1e-5)
    assert visible_loss(-logits, visible).item() > 10
    unknown = torch.full_like(visible, 255)
    assert visible_loss(logits, unknown).item() == 0.0
