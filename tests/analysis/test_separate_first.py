import numpy as np
import pytest

from avsegcli.analysis.separate_first import SeparateFirst
from avsegcli.datasets.transforms import clip_log_mel


class HearsTheLoudest:
    """Paints the class whose half of the bands is louder."""

    classes = ("background", "low", "high")
    num_frames = 5

    def predict(self, frames, log_mel):
        energy = np.exp(log_mel).sum(axis=1)  # (T, 64)
        low = energy[:, :32].sum(axis=1) > energy[:, 32:].sum(axis=1)
        probs = np.stack([np.zeros_like(low), low, ~low], axis=1).astype(np.float32) * 0.8
        return probs[:, :, None, None] * np.ones((4, 4), np.float32)


def test_what_one_track_drowns_in_the_mixture_is_found_in_its_own():
    t = np.arange(32_000) / 16_000
    gate = np.repeat([1, 0, 1, 0], 8_000)
    sound = 0.4 * np.sin(2 * np.pi * 400 * t) * gate + 0.2 * np.sin(2 * np.pi * 4_000 * t)
    log_mel = clip_log_mel(sound.astype(np.float32), 2)
    frames = [np.zeros((16, 16, 3), np.uint8)] * 2
    mixed = HearsTheLoudest().predict(frames, log_mel)
    assert mixed[:, 1:].max(axis=(0, 2, 3)).tolist() == pytest.approx([0.8, 0])
    apart = SeparateFirst(HearsTheLoudest(), 2).predict(frames, log_mel)
    assert apart.shape == mixed.shape
    assert apart[:, 1:].max(axis=(0, 2, 3)).tolist() == pytest.approx([0.8, 0.8])
    np.testing.assert_allclose(apart[:, 0], 0.2, atol=1e-6)
