from fractions import Fraction

import av
import numpy as np
import pytest
from videos import write_video

from avsegcli.media.decode import VideoReader
from avsegcli.media.gif import GifWriter


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
            writer.write(painted)
    video.close()
    with av.open(str(tmp_path / "a.gif")) as container:
        assert {(frame.width, frame.height) for frame in container.decode(video=0)} == {size}
