from dataclasses import replace

import numpy as np
import pytest

from avsegcli.audio.noise import active_power
from avsegcli.config import DataConfig
from avsegcli.datasets.clip import Clip
from avsegcli.datasets.collate import make_sample
from avsegcli.training.augment import augment, jitter_colors, jitter_size
from avsegcli.training.data import StoredData

OFF = DataConfig(flip=0.0, color_jitter=0.0, batch_size=1, workers=0, size=64)


@pytest.fixture
def clip() -> Clip:
    """Two frames with a red object at the left, of which one label is known; a tone."""
    frames = np.full((2, 64, 64, 3), 90, np.uint8)
    labels = np.zeros((2, 64, 64), np.uint8)
    frames[:, 8:32, 4:20] = (200, 30, 30)
    labels[:, 8:32, 4:20] = 1
    tone = 0.2 * np.sin(np.arange(32_000) / 5).astype(np.float32)
    return Clip("a", frames, tone, labels, np.ones(2, bool), labels.copy(), None)


def test_masks_boxes_and_frames_are_flipped_alike(clip):
    flipped = augment(clip, replace(OFF, flip=1.0), np.random.default_rng(0))
    red = flipped.frames[..., 0] == 200
    assert np.array_equal(red, flipped.labels == 1)
    assert np.array_equal(red, flipped.visible == 1)
    before, after = (make_sample(c, 1, 64).target for c in (clip, flipped))
    mirrored = before.boxes.clone()
    mirrored[..., 0] = 1 - mirrored[..., 0]
    assert after.boxes.allclose(mirrored)
    assert after.masks.equal(before.masks.flip(-1))
    columns = after.masks[0, 0].any(0).nonzero()
    left, right = 4 * columns.min(), 4 * (columns.max() + 1)  # the box spans the mask
    x, _, width, _ = (64 * after.boxes[0, 0]).tolist()
    assert (x - width / 2, x + width / 2) == (left, right)


def test_half_of_the_clips_are_flipped(clip):
    rng = np.random.default_rng(0)
    flipped = [augment(clip, replace(OFF, flip=0.5), rng).labels[0, 8, 4] == 0 for _ in range(200)]
    assert 70 < sum(flipped) < 130


def test_without_settings_a_clip_stays_as_it_is(clip):
    same = augment(clip, OFF, np.random.default_rng(0))
    assert all(a is b for a, b in zip(same, clip, strict=True))


def test_colors_change_alike_in_all_frames_and_labels_do_not(clip):
    rng = np.random.default_rng(3)
    changed = augment(clip, replace(OFF, color_jitter=0.5), rng)
    assert not np.array_equal(changed.frames, clip.frames)
    assert np.array_equal(changed.frames[0], changed.frames[1])
    assert changed.labels is clip.labels
    grey = np.full((1, 2, 2, 3), 100, np.uint8)
    means = [jitter_colors(grey, 0.5, rng).mean() for _ in range(300)]
    assert 100 * 0.5 - 17 < min(means) < 75
    assert 125 < max(means) < (100 + 32) * 1.5 + 1


def test_sizes_lie_in_the_range_and_boxes_keep_their_place(clip):
    config = replace(OFF, size=128, scale_jitter=(0.5, 1.0))
    rng = np.random.default_rng(0)
    sizes = [jitter_size(config, rng) for _ in range(100)]
    assert 64 <= min(sizes) < 70
    assert 122 < max(sizes) <= 128
    small, large = (make_sample(clip, 1, size).target for size in (64, 128))
    assert small.boxes.allclose(large.boxes, atol=0.02)


def test_gain_and_noise_have_the_level_that_is_asked_for(clip):
    rng = np.random.default_rng(0)
    levels = [
        10 * np.log10(active_power(augment(clip, replace(OFF, gain_db=6.0), rng).waveform))
        for _ in range(50)
    ]
    usual = 10 * np.log10(active_power(clip.waveform))
    assert usual - 6.01 < min(levels) < usual - 4
    assert usual + 4 < max(levels) < usual + 6.01
    noisy = augment(clip, replace(OFF, noise=1.0, noise_snr_db=(10.0, 10.0)), rng).waveform
    scale = np.dot(noisy, clip.waveform) / np.dot(clip.waveform, clip.waveform)
    noise = noisy - scale * clip.waveform
    snr_db = 10 * np.log10(np.mean((scale * clip.waveform) ** 2) / np.mean(noise**2))
    assert snr_db == pytest.approx(10, abs=1.5)


class One:
    """The same clip, eight times."""

    classes = ("background", "object")

    def __init__(self, clip):
        self.clip = clip

    def __len__(self):
        return 8

    def __getitem__(self, index):
        return self.clip


def test_batches_are_augmented_anew_each_epoch_and_the_same_wherever_one_begins(clip):
    config = replace(OFF, flip=0.5, color_jitter=0.5, scale_jitter=(0.5, 1.0))
    data = StoredData(One(clip), config, seed=1)
    first, second = ([b.frames for b in data.batches(epoch)] for epoch in (0, 1))
    again = [batch.frames for batch in data.batches(0, skip=5)]
    assert all(a.equal(b) for a, b in zip(first[5:], again, strict=True))
    assert len({tuple(frames.flatten()[:50].tolist()) for frames in first + second}) > 8
