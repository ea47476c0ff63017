import numpy as np

from avsegcli.audio.log_mel import LOG_OFFSET
from avsegcli.audio.nmf import separate
from avsegcli.datasets.transforms import clip_log_mel


def tone(hz, on):
    t = np.arange(32_000) / 16_000
    return (0.3 * np.sin(2 * np.pi * hz * t) * on).astype(np.float32)


def mel(log_mel):
    return np.exp(log_mel) - LOG_OFFSET


def test_two_tones_that_take_turns_become_two_tracks():
    first = np.repeat([1, 0, 1, 0], 8_000)
    low, high = tone(400, first), tone(3_000, 1 - 0.5 * first)
    tracks = mel(separate(clip_log_mel(low + high, 2), 2))
    assert tracks.shape == (2, 2, 96, 64)
    apart = [mel(clip_log_mel(sound, 2)) for sound in (low, high)]
    loudest = [int(np.argmax([(track * sound).sum() for track in tracks])) for sound in apart]
    assert sorted(loudest) == [0, 1]
    for sound, index in zip(apart, loudest, strict=True):
        assert np.corrcoef(sound.ravel(), tracks[index].ravel())[0, 1] > 0.95


def test_the_tracks_add_up_to_the_mixture():
    rng = np.random.default_rng(0)
    mixture = clip_log_mel(0.1 * rng.standard_normal(32_000).astype(np.float32), 2)
    total = mel(separate(mixture, 3)).sum(axis=0)
    np.testing.assert_allclose(total, mel(mixture), rtol=0.05, atol=1e-3)


def test_silence_is_silent_in_every_track():
    silence = clip_log_mel(np.zeros(32_000, np.float32), 2)
    tracks = separate(silence, 3)
    np.testing.assert_array_equal(tracks, np.stack([silence] * 3))
