from fractions import Fraction

import numpy as np
import pytest
from videos import write_video

from avsegcli.audio.load import SoundReader
from avsegcli.video.damage import PictureGaps, problems_of
from avsegcli.video.reader import VideoReader


def overwritten(path, share=0.4, size=9000):
    """Overwrite some bytes in the middle with noise."""
    data = bytearray(path.read_bytes())
    first = round(share * len(data))
    data[first : first + size] = np.random.default_rng(0).bytes(size)
    path.write_bytes(data)
    return path


def clip(path, **options):
    x264 = {"preset": "ultrafast", "g": "25", "crf": "1"}
    size = {"width": 320, "height": 180, "rate": Fraction(25), "seconds": 3}
    return write_video(path, **{**size, "options": x264, **options})


def read(path):
    video, sound = VideoReader(path), SoundReader(path)
    frames = list(video)
    sound.waveform(10 * 16000, 1)
    return frames, problems_of(video, sound)


@pytest.mark.parametrize("suffix", [".ts", ".mkv", ".flv", ".mp4"])
def test_missing_pictures_are_counted_by_their_time_stamps(tmp_path, suffix):
    fast = {"movflags": "+faststart"} if suffix == ".mp4" else None
    path = overwritten(clip(tmp_path / f"a{suffix}", container_options=fast))
    frames, (told,) = read(path)
    assert 40 < len(frames) < 75
    assert f"a{suffix}: skipped damage between " in told
    assert f": {75 - len(frames)} of 75 pictures" in told
    start, end = (float(word) for word in told.split("between ")[1].split(" s:")[0].split(" and "))
    assert 0.3 < start < end < 2.9


@pytest.mark.parametrize("suffix", [".ts", ".mkv", ".flv", ".mp4"])
def test_a_whole_file_has_no_problems(tmp_path, suffix):
    frames, told = read(clip(tmp_path / f"a{suffix}"))
    assert (len(frames), told) == (75, [])


@pytest.mark.parametrize("suffix", [".ts", ".mkv"])
def test_a_picture_that_stands_still_is_not_missing(tmp_path, suffix):
    times = [Fraction(i, 25) for i in (*range(26), *range(75, 100))]
    path = write_video(tmp_path / f"a{suffix}", rate=Fraction(25), times=times, seconds=4)
    assert read(path)[1] == []


def test_of_a_varying_rate_nobody_knows_what_is_missing():
    gaps = PictureGaps(0.04)
    for time in (0, 0.04, 0.2, 0.24, 0.9):
        gaps.add(time, time + 0.1)
    assert gaps.loss() is None
