from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from videos import write_video

from avsegcli.video.gif import GifWriter
from avsegcli.video.reader import VideoReader


@pytest.mark.parametrize(
    ("shape", "wide", "size"),
    [(1, 1, (96, 80)), (2, 1, (192, 80)), (Fraction(1, 2), 1, (48, 80)), (8, 2, (480, 25))],
)
def test_a_gif_has_the_shape_in_which_the_video_is_shown(tmp_path, shape, wide, size):
    video = VideoReader(write_video(tmp_path / "a.mp4", width=96, height=80, seconds=0.2))
    video.sample_aspect_ratio = Fraction(shape)
    with GifWriter(tmp_path / "a.gif", video, wide=wide) as writer:
        for frame in video:
            painted = av.VideoFrame(wide * frame.width, frame.height, "yuv420p")
            for plane in painted.planes:
                plane.update(np.full(plane.buffer_size, 128, np.uint8).tobytes())
            painted.pts, painted.time_base = frame.pts, frame.time_base
            painted.duration = frame.duration
            writer.write(painted)
    video.close()
    with av.open(str(tmp_path / "a.gif")) as container:
        assert {(frame.width, frame.height) for frame in container.decode(video=0)} == {size}


@pytest.mark.parametrize("times", [[0], [0, 0.1, 0.2], [0, 0.3, 0.5], [0, 0.04, 0.08, 0.12]])
def test_the_last_frame_lasts_as_long_as_that_of_the_video(tmp_path, times):
    video = VideoReader(write_video(tmp_path / "a.mp4", seconds=0.2))
    with GifWriter(tmp_path / "a.gif", video) as writer:
        for time, end in zip(times, [*times[1:], 2.5], strict=True):
            frame = av.VideoFrame(160, 96, "yuv420p")
            frame.pts, frame.time_base = round(time / video.time_base), video.time_base
            frame.duration = round(end / video.time_base) - frame.pts
            writer.write(frame)
    video.close()
    with av.open(str(tmp_path / "a.gif")) as container:
        last = list(container.decode(video=0))[-1]
    assert last.time + last.duration * last.time_base == pytest.approx(2.5, abs=0.02)


def test_the_colours_of_hd_without_a_tag_are_those_that_players_show(tmp_path):
    video = VideoReader(write_video(tmp_path / "a.mp4", width=1280, height=720, seconds=0.04))
    with GifWriter(tmp_path / "a.gif", video) as writer:
        for frame in video:
            shown = cv2.resize(video.rgb(frame), (480, 270), interpolation=cv2.INTER_AREA)
            writer.write(frame)
    video.close()
    with av.open(str(tmp_path / "a.gif")) as container:
        rgb = next(container.decode(video=0)).to_ndarray(format="rgb24")
    assert rgb[135, 150] == pytest.approx(shown[135, 150], abs=6)
    assert rgb[-9, -9] == pytest.approx(shown[-9, -9], abs=6)
