from pathlib import Path

import numpy as np
import pytest
import soundfile

from avsegcli.audio.noise import active_power
from avsegcli.errors import AvsegError, DataError
from avsegcli.evaluation.noise_sources import KINDS, open_noise


def draw(noise, seed=0, num_samples=16_000):
    return noise.draw(np.random.default_rng(seed), num_samples)


def write(path, value, seconds=1.0, rate=16_000):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.full(int(seconds * rate), value), rate)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_heard_without_any_file_of_ones_own(kind):
    noise = open_noise(kind)
    assert noise.name == kind
    piece = draw(noise, num_samples=80_000)
    assert (piece.shape, piece.dtype) == ((80_000,), np.float32)
    assert active_power(piece) > 0
    np.testing.assert_array_equal(piece, draw(noise, num_samples=80_000))
    assert (piece != draw(noise, seed=1, num_samples=80_000)).any()
    assert active_power(draw(noise, num_samples=320)) > 0


def test_a_short_recording_starts_again(tmp_path):
    write(tmp_path / "hum.wav", 0.5, seconds=0.3)
    noise = open_noise(str(tmp_path / "hum.wav"))
    assert noise.name == "hum"
    np.testing.assert_allclose(draw(noise), 0.5, atol=1e-3)


def test_a_folder_gives_any_of_its_recordings_at_any_depth(tmp_path):
    write(tmp_path / "a.wav", 0.1)
    write(tmp_path / "deep" / "er" / "b.flac", 0.3)
    (tmp_path / "notes.txt").write_text("no sound")
    noise = open_noise(str(tmp_path))
    found = {round(float(draw(noise, seed)[0]), 1) for seed in range(20)}
    assert found == {0.1, 0.3}


def test_the_sound_of_videos_is_noise_too(tmp_path):
    example = Path(__file__).parents[2] / "examples" / "djembe_and_guitar.mp4"
    (tmp_path / "clip.mp4").write_bytes(example.read_bytes())
    piece = draw(open_noise(str(tmp_path)), num_samples=8 * 16_000)
    assert 0.2 < np.abs(piece).max() <= 1.1


def test_a_video_that_is_none_is_refused(tmp_path):
    (tmp_path / "clip.mp4").write_text("no video")
    with pytest.raises(AvsegError, match=r"clip\.mp4"):
        draw(open_noise(str(tmp_path)))


def test_a_split_is_the_start_of_a_name_or_a_folder(tmp_path):
    write(tmp_path / "rain" / "train-x-1.wav", 0.1)
    write(tmp_path / "rain" / "test-x-1.wav", 0.2)
    write(tmp_path / "test" / "b.wav", 0.3)
    names = [path.name for path in open_noise(str(tmp_path), "test").files]
    assert sorted(names) == ["b.wav", "test-x-1.wav"]
    with pytest.raises(DataError, match="split 'val', holds no sound file"):
        open_noise(str(tmp_path), "val")


def test_noise_that_is_not_there_is_refused_with_the_kinds_that_are(tmp_path):
    with pytest.raises(DataError, match="neither a file, nor a folder") as caught:
        open_noise("pinkish")
    assert "white, pink, brown, babble, speech, music" in caught.value.hint
    with pytest.raises(DataError, match="holds no sound file"):
        open_noise(str(tmp_path))


def test_silent_noise_is_refused(tmp_path):
    write(tmp_path / "nothing.wav", 0.0)
    with pytest.raises(DataError, match="is silent"):
        draw(open_noise(str(tmp_path / "nothing.wav")))
