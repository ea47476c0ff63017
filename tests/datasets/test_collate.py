import numpy as np
import torch

from avsegcli.datasets.clip import IGNORE, Clip
from avsegcli.datasets.collate import collate, make_sample


def make_clip(height=64, width=64, annotated=(True, True)):
    labels = np.zeros((2, height, width), np.uint8)
    labels[0, : height // 2, : width // 2] = 2
    labels[:, -8:, -8:] = IGNORE
    return Clip(
        name="clip",
        frames=np.full((2, height, width, 3), 128, np.uint8),
        waveform=np.zeros(32_000, np.float32),
        labels=labels,
        annotated=np.array(annotated),
        visible=labels,
        heard=np.array([[0, 0, 1], [0, 0, 0]], bool),
    )


def test_a_sample_holds_what_the_clip_says():
    sample = make_sample(make_clip(), num_classes=2, size=64)
    target = sample.target
    assert target.labels.tolist() == [1]  # class 2, counted without background
    assert target.active.tolist() == [[True, False]]
    assert torch.allclose(target.boxes[0, 0], torch.tensor([0.25, 0.25, 0.5, 0.5]))
    assert target.masks[0, 0, :8, :8].eq(1).all()
    assert target.masks.sum() == 64
    assert target.known[0, -2:, -2:].eq(0).all()
    assert target.known.sum() == 2 * (16 * 16 - 4)
    assert sample.heard.tolist() == [[0, 1], [0, 0]]
    assert sample.visible[0, 0, 0] == 2
    assert sample.visible[0, -1, -1] == IGNORE
    assert sample.frames.shape == (2, 3, 64, 64)
    assert sample.log_mel.shape == (2, 1, 96, 64)


def test_labels_shrink_as_frames_do_without_a_shift():
    clip = make_clip(96, 96)
    labels = np.random.default_rng(0).integers(0, 3, clip.labels.shape).astype(np.uint8)
    mirrored = np.ascontiguousarray(labels[:, ::-1, ::-1])
    here, there = (
        make_sample(clip._replace(labels=drawn), num_classes=2, size=64)
        for drawn in (labels, mirrored)
    )
    torch.testing.assert_close(here.target.masks, there.target.masks.flip(-1, -2))


def test_a_cell_of_which_half_is_known_can_be_covered_wholly():
    clip = make_clip()
    clip.labels[0, 8:12, 8:10] = IGNORE
    target = make_sample(clip, num_classes=2, size=64).target
    assert target.masks[0, 0, 2, 2] == 1
    assert target.known[0, 2, 2] == 0.5


def test_frames_without_annotation_make_no_objects():
    sample = make_sample(make_clip(annotated=(False, True)), num_classes=2, size=64)
    assert len(sample.target.labels) == 0


def test_what_the_data_does_not_say_is_unknown():
    clip = make_clip()._replace(visible=None, heard=None)
    sample = make_sample(clip, num_classes=2, size=64)
    assert sample.heard.eq(-1).all()
    assert sample.visible.eq(IGNORE).all()


def test_a_batch_pads_smaller_frames_and_says_so():
    wide = make_sample(make_clip(32, 64), num_classes=2, size=64)
    square = make_sample(make_clip(64, 64), num_classes=2, size=64)
    batch = collate([wide, square])
    assert batch.frames.shape == (2, 2, 3, 64, 64)
    assert batch.valid.sum((1, 2)).tolist() == [32 * 64, 64 * 64]
    assert batch.objects.masks.shape == (2, 2, 16, 16)
    assert batch.objects.clip.tolist() == [0, 1]
    # The box is a part of the padded frame: half as high in it as in its own.
    assert torch.allclose(batch.objects.boxes[0, 0], torch.tensor([0.25, 0.125, 0.5, 0.25]))
    assert batch.known[0, :, 8:].eq(0).all()
    assert batch.visible[0, :, 8:].eq(IGNORE).all()


def test_clips_of_different_length_make_one_batch_that_says_so():
    short = make_sample(make_clip(), num_classes=2, size=64)
    clip = make_clip()
    longer = clip._replace(
        frames=clip.frames.repeat(2, axis=0),
        labels=clip.labels.repeat(2, axis=0),
        visible=clip.visible.repeat(2, axis=0),
        heard=clip.heard.repeat(2, axis=0),
        annotated=np.ones(4, bool),
    )
    batch = collate([short, make_sample(longer, num_classes=2, size=64)])
    assert batch.present.tolist() == [[True, True, False, False], [True] * 4]
    assert batch.frames.shape == (2, 4, 3, 64, 64)
    assert batch.log_mel.shape == (2, 4, 1, 96, 64)
    assert batch.annotated[0].tolist() == [True, True, False, False]
    assert batch.objects.active[0].tolist() == [True, False, False, False]
    assert batch.objects.masks.shape == (2, 4, 16, 16)
    assert batch.known[0, 2:].eq(0).all()
    assert batch.heard[0, 2:].eq(-1).all()
    assert batch.visible[0, 2:].eq(IGNORE).all()
    assert torch.equal(batch.frames[0, 2], short.frames[1])


def test_a_batch_of_one_shape_needs_no_valid():
    sample = make_sample(make_clip(), num_classes=2, size=64)
    assert collate([sample, sample]).valid is None
    assert collate([sample, sample]).present is None


def test_sizes_are_padded_to_multiples_of_32():
    sample = make_sample(make_clip(48, 64), num_classes=2, size=64)
    assert sample.frames.shape == (2, 3, 64, 64)
    assert sample.valid.sum() == 48 * 64
    assert sample.frames[:, :, 48:].eq(0).all()
