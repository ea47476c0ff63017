from fractions import Fraction
from itertools import pairwise
from typing import Any

import av
import numpy as np
import pytest
from videos import write_video

from avsegcli.audio.load import SoundReader
from avsegcli.segment import windows
from avsegcli.segment.windows import Window, cut_windows, interpolate_masks
from avsegcli.video.reader import VideoReader, planes_of


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("clip") / "a.mp4", width=64, height=48, seconds=3)


def cut(path, **settings) -> list[Window]:
    settings = {"num_frames": 5, "fps": 4, "size": 32} | settings
    return list(cut_windows(VideoReader(path), SoundReader(path), **settings))


def test_windows_hold_every_frame_once_and_begin_with_an_analysed_one(clip):
    cuts = cut(clip)
    assert sum(len(window.frames) for window in cuts) == 90
    times = [frame.time for window in cuts for frame in window.frames]
    assert times == sorted(times)
    assert all(window.analysed[0] == 0 for window in cuts)
    assert [len(window.analysed) for window in cuts] == [5, 5, 2]
    analysed = [window.frames[i].time for window in cuts for i in window.analysed]
    assert analysed == pytest.approx(np.arange(12) / 4, abs=1 / 29)
    assert cuts[0].pictures[0].shape == (24, 32, 3)
    assert cuts[0].log_mel.shape == (5, 96, 64)


@pytest.mark.parametrize(
    ("fps", "analysed"), [(1, 3), (29.97, 90), (100, 90), (1e308, 90), (0.1, 1)]
)
def test_as_many_frames_are_analysed_as_asked_or_as_there_are(clip, fps, analysed):
    assert sum(len(window.analysed) for window in cut(clip, fps=fps)) == analysed


def test_a_picture_that_stands_still_is_asked_about_again_as_long_as_there_is_sound(tmp_path):
    times = [*(Fraction(i, 25) for i in range(26)), Fraction(6)]
    path = write_video(
        tmp_path / "a.mp4", times=times, time_base=Fraction(1, 1000), width=64, height=48, seconds=4
    )
    frames = [frame for window in cut(path) for frame in window.frames]
    asked = [window.frames[i].time for window in cut(path) for i in window.analysed]
    assert asked[:16] == pytest.approx(np.arange(16) / 4, abs=0.04)
    assert max(np.diff(asked[:18])) < 0.3
    assert 4.4 < asked[-2] < 5  # then nothing sounds any more
    assert asked[-1] == 6
    for frame, following in pairwise(frames):
        assert frame.pts + frame.duration == following.pts
    assert (frames[-2].to_ndarray() == frames[26].to_ndarray()).all()


def test_a_slide_each_second_is_asked_about_in_between(tmp_path):
    path = write_video(tmp_path / "a.mp4", rate=Fraction(1), seconds=3, width=64, height=48)
    asked = [window.frames[i].time for window in cut(path) for i in window.analysed]
    assert asked == pytest.approx(np.arange(12) / 4, abs=0.05)


def test_big_frames_make_short_windows(clip, monkeypatch):
    frame_bytes = 64 * 48 * 3 // 2
    monkeypatch.setattr(windows, "FRAME_MEMORY", windows.WINDOWS_ALIVE * 20 * frame_bytes)
    cuts = cut(clip)
    assert max(len(window.frames) for window in cuts) <= 20
    assert [len(window.analysed) for window in cuts] == [2] * 6
    monkeypatch.setattr(windows, "FRAME_MEMORY", windows.WINDOWS_ALIVE * 3 * frame_bytes)
    cuts = cut(clip)
    assert max(len(window.frames) for window in cuts) <= 3
    assert sum(len(window.frames) for window in cuts) == 90


def grey_frame(time: int) -> Any:
    frame = av.VideoFrame(16, 16, "yuv420p")
    for plane in planes_of(frame):
        plane[:] = 128
    frame.pts, frame.time_base = time, Fraction(1)
    return frame


def test_masks_of_what_stands_still_between_analysed_frames_are_linear_in_time():
    first = Window(
        [grey_frame(0), grey_frame(1), grey_frame(3), grey_frame(4), grey_frame(5)],
        [0, 3],
        [],
        np.zeros(0),
    )
    second = Window([grey_frame(6), grey_frame(7)], [0], [], np.zeros(0))
    answers = [
        (first, np.array([0, 8], np.float32).reshape(2, 1, 1, 1)),
        (second, np.array([4], np.float32).reshape(1, 1, 1, 1)),
    ]
    spread = list(interpolate_masks(iter(answers)))
    assert [masked.probs.item() for masked in spread] == [0, 2, 6, 8, 6, 4, 4]
    assert [masked.frame.time for masked in spread] == [0, 1, 3, 4, 5, 6, 7]
    assert [i for i, masked in enumerate(spread) if masked.analysed] == [0, 3, 5]


def test_no_frames_no_masks():
    assert list(interpolate_masks(iter([]))) == []
