from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from avsegcli.synthesis.audio_mixer import Source, draw_soundtrack
from avsegcli.synthesis.parts import Recording
from avsegcli.synthesis.ranges import CompositionSettings

PLAIN = CompositionSettings(gain_db=(0, 0), whole=1.0, looped=0.0, level_db=(-6, -6))


def recording_of(waveform) -> Recording:
    power = np.square(waveform.reshape(-1, 320)).mean(axis=1).astype(np.float32)
    samples = (waveform * 32_767).astype(np.int16)
    return Recording(samples, power, float(np.quantile(power, 0.95)))


def tone(seconds, hz=440.0):
    """A tone where `seconds` is 1 and nothing where it is 0."""
    t = np.arange(len(seconds) * 16_000) / 16_000
    return 0.5 * np.sin(2 * np.pi * hz * t) * np.repeat(seconds, 16_000)


def source(index, waveform, on_screen=True) -> Source:
    return Source(index, Path(f"{index}.ogg"), recording_of(waveform), on_screen)


def draw(sources, num_frames=5, settings=PLAIN, seed=0, noise=None, train=False):
    rng = np.random.default_rng(seed)
    return draw_soundtrack(rng, sources, noise, num_frames, 4, train, settings)


def test_a_pause_in_a_recording_is_not_heard():
    sound = draw([source(2, tone([1, 0, 0, 1, 1]))])
    assert sound.heard[:, 2].tolist() == [True, False, False, True, True]
    assert not sound.heard[:, [0, 1, 3]].any()


def test_a_recording_that_ended_is_not_heard():
    assert draw([source(1, tone([1, 1]))]).heard[:, 1].tolist() == [1, 1, 0, 0, 0]


def test_a_recording_that_is_too_short_may_start_again():
    sound = draw([source(1, tone([1, 1]))], settings=replace(PLAIN, looped=1.0))
    assert sound.heard[:, 1].all()


def test_where_nothing_is_heard_nothing_sounds():
    onsets = replace(PLAIN, whole=0.0)
    silent_seconds = 0
    for seed in range(20):
        sound = draw([source(1, tone([1] * 8))], settings=onsets, seed=seed)
        assert sound.heard.any()
        for second, heard in zip(np.split(sound.waveform, 5), sound.heard[:, 1], strict=True):
            assert (np.abs(second).max() > 0.1) == heard
            silent_seconds += not heard
    assert silent_seconds > 10


def test_the_peak_of_the_mix_is_at_its_level():
    sound = draw([source(1, tone([1] * 5)), source(2, tone([1] * 5, hz=700))])
    assert np.abs(sound.waveform).max() == pytest.approx(10 ** (-6 / 20), rel=1e-3)


def test_a_source_far_below_the_rest_does_not_count_and_does_not_sound():
    noise = Path("noise.ogg"), recording_of(np.random.default_rng(0).normal(0, 0.1, 80_000))
    drowned = replace(PLAIN, gain_db=(-30, -30), snr_db=(0, 0))
    assert not draw([source(1, tone([1] * 5))], settings=drowned, noise=noise).heard.any()
    assert draw([source(1, tone([1] * 5))], settings=PLAIN, noise=noise).heard[:, 1].all()


def test_noise_is_at_its_ratio_to_a_source_of_gain_zero():
    noise = Path("noise.ogg"), recording_of(tone([1] * 5, hz=2000))
    settings = replace(PLAIN, snr_db=(12, 12))
    sound = draw([source(1, tone([1] * 5, hz=500))], noise=noise, settings=settings)
    spectrum = np.abs(np.fft.rfft(sound.waveform))
    hz = np.fft.rfftfreq(len(sound.waveform), 1 / 16_000)
    ratio = spectrum[np.abs(hz - 500) < 1].max() / spectrum[np.abs(hz - 2000) < 1].max()
    assert 20 * np.log10(ratio) == pytest.approx(12, abs=0.3)


def test_a_clip_of_nothing_is_silent_or_nearly_so():
    peaks = [np.abs(draw([], seed=seed).waveform).max() for seed in range(20)]
    assert 0.0 in peaks
    assert 0 < max(peaks) < 0.01


def test_training_changes_speed_and_tone_but_not_the_length():
    sources = [source(1, tone([1] * 8))]
    plain, changed = draw(sources), draw(sources, train=True)
    assert plain.waveform.shape == changed.waveform.shape == (80_000,)
    peak_hz = [np.abs(np.fft.rfft(s.waveform)).argmax() / 5 for s in (plain, changed)]
    assert peak_hz[0] == pytest.approx(440, abs=1)
    assert abs(peak_hz[1] - 440) > 2
    assert 440 * 0.89 < peak_hz[1] < 440 * 1.11


def test_one_second_is_enough():
    assert draw([source(1, tone([1] * 3))], num_frames=1).heard[:, 1].tolist() == [True]


def test_in_a_room_a_sound_dies_away_slowly():
    """A second that begins with a tenth of a second of tone, in a room and not."""
    short = np.concatenate([0.5 * np.sin(np.arange(3_200)), np.zeros(12_800)])
    still = replace(PLAIN, playing_speed=(1, 1), tone_tilt_db=0, narrow_band=0)
    dry, wet = (
        np.abs(draw([source(1, short)], 1, replace(still, room=room), train=True).waveform)
        for room in (0.0, 1.0)
    )
    after = slice(3_600, 4_000)
    assert dry[after].max() < 0.01 * dry.max()
    assert wet[after].max() > 0.03 * wet.max()
