import pytest
import torch

from avsegcli.inference.class_probs import class_probs
from avsegcli.model.qsd import QSDOutput


def make_output(masks, classes):
    """An output that has these probabilities: masks (T, Q, h, w), classes (T, Q, L)."""
    return QSDOutput(
        mask_logits=torch.tensor(masks)[None].logit(),
        class_logits=torch.tensor(classes)[None].logit(),
        boxes=torch.zeros(1, len(masks), len(masks[0]), 4),
        auxiliary=[],
        audio_logits=torch.zeros(1, len(masks), 2),
        tag_probs=None,
        token_logits=[],
        visible_logits=torch.zeros(1, len(masks), 3, 1, 2),
        loss_commit=torch.zeros(()),
        global_indices=None,
        local_indices=None,
    )


def test_a_class_is_where_some_query_of_it_is():
    # Two queries, one row of two pixels, two classes.
    output = make_output([[[[0.9, 0.2]], [[0.4, 0.8]]]], [[[0.5, 0.1], [0.3, 1.0]]])
    probs = class_probs(output, class_threshold=0.5)
    # Class 1: max(0.5 * 0.9, 0.3 * 0.4), max(0.5 * 0.2, 0.3 * 0.8)
    # Class 2: max(0.1 * 0.9, 1.0 * 0.4), max(0.1 * 0.2, 1.0 * 0.8)
    expected = [[[0.55, 0.2]], [[0.45, 0.24]], [[0.4, 0.8]]]
    assert torch.allclose(probs, torch.tensor(expected)[None, None])


def test_the_class_threshold_is_where_a_full_mask_reaches_one_half():
    output = make_output([[[[1.0]]], [[[1.0]]], [[[1.0]]]], [[[0.1]], [[0.2]], [[0.7]]])
    probs = class_probs(output, class_threshold=0.2)[0, :, 1, 0, 0]
    assert probs.tolist() == pytest.approx([0.25, 0.5, 1.0])


def test_silence_leaves_the_background():
    output = make_output([[[[1.0, 1.0]]]], [[[0.0, 0.0]]])
    assert class_probs(output, 0.5)[0, 0].tolist() == [[[1.0, 1.0]], [[0.0, 0.0]], [[0.0, 0.0]]]


def test_each_frame_and_clip_is_merged_by_itself():
    random = torch.Generator().manual_seed(0)
    masks = torch.rand(2, 3, 4, 5, 6, generator=random)
    classes = torch.rand(2, 3, 4, 2, generator=random)
    output = make_output(masks[0].tolist(), classes[0].tolist())._replace(
        mask_logits=masks.logit(), class_logits=classes.logit()
    )
    probs = class_probs(output, 0.5)
    assert probs.shape == (2, 3, 3, 5, 6)
    assert probs.min() >= 0
    assert probs.max() <= 1
    alone = make_output(masks[1, 2:].tolist(), classes[1, 2:].tolist())
    assert torch.allclose(class_probs(alone, 0.5)[0, 0], probs[1, 2])
    assert torch.allclose(probs[:, :, 0], 1 - probs[:, :, 1:].amax(2))


def test_tokens_sound_and_picture_have_a_say_in_the_class():
    # One query over two pixels; the decoder cannot tell the two classes apart.
    output = make_output([[[[1.0, 1.0]]]], [[[0.4, 0.4]]])._replace(
        # The tokens hear class 2 (two tokens, the surer counts); class 1 is seen on the left.
        token_logits=[torch.tensor([[[[0.1, 0.2], [0.1, 0.9]]]]).logit()],
        audio_logits=torch.tensor([[[0.3, 0.5]]]).logit(),
        visible_logits=torch.tensor([[0.2, 0.8], [0.6, 0.1], [0.2, 0.1]]).log()[
            None, None, :, None
        ],
    )

    def probs(score_fusion):
        return class_probs(output, 0.5, score_fusion)[0, 0, 1:, 0]

    assert torch.allclose(probs((1.0, 0.0, 0.0, 0.0)), torch.tensor(0.4))
    # The class that is heard less counts less than by itself: by the root of the ratio.
    heard = torch.tensor([[0.4 * 0.1 * (1 / 9) ** 0.5], [0.4 * 0.9]]).expand(2, 2)
    assert torch.allclose(probs((1.0, 1.0, 0.0, 0.0)), heard)
    assert torch.allclose(probs((0.5, 0.5, 0.0, 0.0)), heard.sqrt())
    sound = torch.tensor([[0.4 * 0.3 * 0.6**0.5], [0.4 * 0.5]]).expand(2, 2)
    assert torch.allclose(probs((1.0, 0.0, 1.0, 0.0)), sound)
    seen = torch.tensor([[1.0, 1 / 8], [1 / 3, 1 / 8]])  # on the right nothing is likeliest
    assert torch.allclose(probs((1.0, 0.0, 0.0, 1.0)), 0.4 * seen)


def test_a_sound_in_which_nothing_can_be_heard_paints_nothing():
    output = make_output([[[[1.0]]]], [[[1.0]]])._replace(
        audio_logits=torch.full((1, 1, 1), -200.0)  # a probability that is rounded to 0
    )
    assert class_probs(output, 0.5, (1.0, 0.0, 1.0, 0.0))[0, 0, :, 0, 0].tolist() == [1.0, 0.0]


def test_the_sound_is_smoothed_over_the_frames_beside():
    output = make_output([[[[1.0]]]] * 4, [[[1.0]]] * 4)._replace(
        audio_logits=torch.tensor([[[4.0], [0.0], [0.0], [-4.0]]])
    )
    probs = class_probs(output, 0.5, (0.0, 0.0, 1.0, 0.0))[0, :, 1, 0, 0]
    assert torch.allclose(probs, torch.tensor([3.0, 1.0, -1.0, -3.0]).sigmoid())


def test_a_model_without_tokens_goes_by_the_others():
    output = make_output([[[[1.0]]]], [[[0.3, 0.2]]])
    probs = class_probs(output, 0.5, (1.0, 0.3, 0.0, 0.0))
    assert probs[0, 0, 1:, 0, 0].tolist() == pytest.approx([0.3, 0.2])
