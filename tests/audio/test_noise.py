import math

import numpy as np
import pytest

from avsegcli.audio.noise import PEAK, active_power, coloured_noise, mix_noise

RATE = 16_000


def tone(seconds, amplitude=0.1, hz=440):
    t = np.arange(int(seconds * RATE)) / RATE
    return (amplitude * np.sin(2 * np.pi * hz * t)).astype(np.float32)


def white(num_samples, seed=0):
    return coloured_noise(np.random.default_rng(seed), "white", num_samples, RATE)


def test_pauses_do_not_lower_the_level():
    steady = active_power(tone(1))
    assert steady == pytest.approx(0.1**2 / 2, rel=1e-3)
    paused = np.concatenate([tone(1), np.zeros(4 * RATE, np.float32)])
    assert active_power(paused) == pytest.approx(steady, rel=1e-3)


def test_what_is_16_db_below_the_level_is_a_pause_and_what_is_15_db_below_is_not():
    def level(quiet_db):
        return active_power(np.concatenate([tone(1), tone(1) * 10 ** (quiet_db / 20)]))

    assert level(-25) == pytest.approx(active_power(tone(1)), rel=1e-3)
    assert level(-12) == pytest.approx(active_power(tone(1)) * (1 + 10**-1.2) / 2, rel=1e-3)


def test_silence_and_less_than_a_block_have_no_power():
    assert active_power(np.zeros(RATE, np.float32)) == 0
    assert active_power(tone(0.01)) == 0


@pytest.mark.parametrize("snr_db", [-20, -5, 0, 10, 40])
@pytest.mark.parametrize("colour", ["white", "pink", "brown"])
def test_the_ratio_measured_back_is_the_one_asked_for(snr_db, colour):
    waveform = np.concatenate([tone(2), np.zeros(RATE, np.float32)])
    noise = coloured_noise(np.random.default_rng(1), colour, len(waveform), RATE)
    mix = mix_noise(waveform, noise, snr_db)
    assert mix.snr_db == pytest.approx(snr_db, abs=0.02)
    assert mix.waveform.dtype == np.float32


def test_a_loud_mix_is_scaled_and_not_clipped():
    waveform = tone(1, amplitude=0.9)
    mix = mix_noise(waveform, white(len(waveform)), -10)
    assert np.abs(mix.waveform).max() == pytest.approx(PEAK, rel=1e-5)
    assert mix.snr_db == pytest.approx(-10, abs=0.02)


def test_without_noise_the_waveform_stays_as_it_is():
    waveform = tone(1)
    mix = mix_noise(waveform, np.zeros_like(waveform), math.inf)
    assert mix.waveform is waveform
    assert mix.snr_db == math.inf


def test_silence_gets_noise_as_beside_a_signal_of_26_db():
    silence = np.zeros(RATE, np.float32)
    mix = mix_noise(silence, white(RATE), 10)
    assert mix.snr_db is None
    assert 10 * math.log10(active_power(mix.waveform)) == pytest.approx(-36, abs=0.1)


def test_silent_noise_and_noise_of_another_length_are_refused():
    with pytest.raises(ValueError, match="silent"):
        mix_noise(tone(1), np.zeros(RATE, np.float32), 0)
    with pytest.raises(ValueError, match="samples"):
        mix_noise(tone(1), white(RATE + 1), 0)


@pytest.mark.parametrize(("colour", "fall_db"), [("white", 0), ("pink", 3), ("brown", 6)])
def test_coloured_noise_falls_by_its_decibels_an_octave(colour, fall_db):
    noise = coloured_noise(np.random.default_rng(0), colour, 16 * RATE, RATE)
    power = np.abs(np.fft.rfft(noise)) ** 2
    hz = np.fft.rfftfreq(len(noise), 1 / RATE)
    octaves = [power[(hz >= low) & (hz < 2 * low)].mean() for low in (250, 500, 1000, 2000)]
    falls = -10 * np.diff(np.log10(octaves))
    np.testing.assert_allclose(falls, fall_db, atol=0.3)
    assert np.abs(noise).max() == 1
