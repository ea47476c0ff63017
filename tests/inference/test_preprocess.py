from fractions import Fraction

import av
import numpy as np
import pytest
from videos import write_video

from avsegcli.evaluation.prediction import predict_clip
from avsegcli.inference.preprocess import prepare_frames
from avsegcli.segment.segmenter import Segmenter


class Recorder:
    """Keeps the network's input for each frame."""

    classes = ("background", "object")
    num_frames, threshold, size = 5, 0.5, 224
    model_name, device_name = "recorder", "cpu"

    def __init__(self):
        self.inputs = []

    def predict(self, frames, log_mel):
        prepared, _ = prepare_frames(frames, self.size)
        self.inputs += list(prepared)
        return np.zeros((len(frames), 2, 8, 8), np.float32)


@pytest.mark.parametrize(("width", "height"), [(854, 480), (160, 96), (320, 570)])
def test_segment_and_eval_show_the_network_the_same_pixels(tmp_path, width, height):
    path = write_video(
        tmp_path / "a.mp4", width=width, height=height, rate=Fraction(4), seconds=1.0
    )
    segmenting, scoring = Recorder(), Recorder()
    list(Segmenter(segmenting).segment(path, fps=4))
    with av.open(str(path)) as container:
        frames = np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])
    predict_clip(scoring, frames, np.zeros((len(frames), 96, 64), np.float32), size=(224, 224))
    assert len(segmenting.inputs) == len(scoring.inputs) == 4
    for one, other in zip(segmenting.inputs, scoring.inputs, strict=True):
        np.testing.assert_array_equal(one, other)
