import math

import numpy as np
import pytest

from avsegcli.audio.log_mel import EXAMPLE_SAMPLES, log_mel, log_mel_example


def vggish_row(samples):
    """One row of VGGish's input by its definition, band by band, in plain Python and float64.

    A 25 ms window of 400 samples, periodic Hann, magnitude of the 512-point DFT, 64 triangles that
    are straight in HTK's mel between 125 and 7500 Hz, log(x + 0.01).
    """
    window = [0.5 - 0.5 * math.cos(2 * math.pi * n / 400) for n in range(400)]
    angles = -2j * np.pi * np.outer(np.arange(257), np.arange(400)) / 512
    magnitudes = np.abs(np.exp(angles) @ (np.asarray(samples, np.float64) * window))

    def mel(hz):
        return 1127.0 * math.log(1.0 + hz / 700.0)

    edges = [mel(125) + (mel(7500) - mel(125)) * n / 65 for n in range(66)]
    row = []
    for band in range(64):
        low, middle, high = edges[band : band + 3]
        total = 0.0
        for k in range(1, 257):  # no weight at 0 Hz
            place = mel(k * 16_000 / 512)
            weight = min((place - low) / (middle - low), (high - place) / (high - middle))
            total += max(0.0, weight) * magnitudes[k]
        row.append(math.log(total + 0.01))
    return row


@pytest.mark.parametrize("kind", ["noise", "tone", "quiet"])
def test_the_front_end_computes_what_vggish_defines(kind):
    time = np.arange(EXAMPLE_SAMPLES) / 16_000
    waveform = {
        "noise": np.random.default_rng(0).uniform(-1, 1, EXAMPLE_SAMPLES),
        "tone": np.sin(2 * np.pi * 440 * time) + 0.2 * np.sin(2 * np.pi * 7000 * time),
        "quiet": 1e-3 * np.sin(2 * np.pi * 1000 * time),
    }[kind].astype(np.float32)
    example = log_mel_example(waveform, 0)
    assert example.shape == (96, 64)
    for row in (0, 1, 50, 95):
        expected = vggish_row(waveform[160 * row : 160 * row + 400])
        np.testing.assert_allclose(example[row], expected, atol=2e-3)


def test_silence_is_the_logarithm_of_the_offset():
    np.testing.assert_allclose(log_mel(np.zeros(1000, np.float32)), math.log(0.01), rtol=1e-6)


def test_outside_the_waveform_there_is_silence():
    waveform = np.ones(800, np.float32)
    example = log_mel_example(waveform, -400)
    np.testing.assert_allclose(example[0], math.log(0.01), atol=1e-4)
    np.testing.assert_array_equal(example[10:], log_mel_example(np.append(waveform, 0), 1200)[:86])
