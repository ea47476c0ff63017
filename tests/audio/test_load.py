import av
import numpy as np
import pytest
from videos import tone, write_video

from avsegcli.audio.load import SoundReader, mono
from avsegcli.audio.log_mel import log_mel_example


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [44100, 16000, 8000])
def test_examples_are_those_of_the_waveform(tmp_path, channels, rate):
    on = [(0.5, 1.0)]
    path = write_video(
        tmp_path / "a.mkv", sound="pcm_s16le", sound_rate=rate, channels=channels, on=on
    )
    waveform = tone(2.0, 16000, 1, on)[0]
    sound = SoundReader(path)
    for time in (0.0, 0.7, 1.9):
        expected = log_mel_example(waveform, round(time * 16000) - 7800)
        # Resampling blurs the onset, which shows in windows that are all but silent.
        assert np.abs(sound.example(time) - expected).mean() < 0.25


def test_sound_that_starts_late_is_silence_before(tmp_path):
    path = write_video(tmp_path / "a.mp4", sound_start=1.5, sound_seconds=1.0, seconds=3)
    sound = SoundReader(path)
    assert sound.example(0.5).max() == pytest.approx(np.log(0.01), abs=0.1)
    assert sound.example(2.1).max() > 0


def test_sound_shorter_than_the_picture_ends_in_silence(tmp_path):
    path = write_video(tmp_path / "a.mp4", sound_seconds=1.0, seconds=3)
    sound = SoundReader(path)
    assert sound.example(0.5).max() > 0
    assert sound.example(2.5).max() == pytest.approx(np.log(0.01), abs=0.1)
    assert sound.example(200.0).max() == pytest.approx(np.log(0.01), abs=1e-4)


def test_eight_channels_are_averaged():
    samples = np.random.default_rng(0).uniform(-1, 1, (32, 8)).astype(np.float32)
    packed = av.AudioFrame.from_ndarray(samples.reshape(1, -1), "flt", "7.1")
    packed.rate = 48000
    (planar,) = av.AudioResampler(format="fltp").resample(packed)
    assert planar.format.is_planar
    for frame in (packed, planar):
        assert mono(frame) == pytest.approx(samples.mean(axis=1), abs=1e-6)


@pytest.mark.parametrize("name", ["u8", "s16", "s16p", "s32", "flt", "fltp", "dblp"])
def test_mono_of_any_sample_format_is_the_mean_in_unit_range(name):
    stereo = np.array([[1.0, 0.5, -1.0], [0.0, 0.5, -0.5]])
    dtype = av.AudioFrame(name, "stereo", 3).to_ndarray().dtype
    values = stereo
    if np.issubdtype(dtype, np.integer):
        peak = 128 if dtype == np.uint8 else -float(np.iinfo(dtype).min)
        values = np.minimum(stereo * peak, peak - 1) + (128 if dtype == np.uint8 else 0)
    if not name.endswith("p"):
        values = values.T.reshape(1, -1)
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(values.astype(dtype)), name, "stereo")
    assert mono(frame) == pytest.approx([0.5, 0.5, -0.75], abs=0.01)
