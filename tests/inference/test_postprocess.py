import cv2
import numpy as np
import pytest

from avsegcli.datasets.clip import Clip
from avsegcli.evaluation.metrics.avsbench import ScoredFrame
from avsegcli.evaluation.prediction import predict_clip
from avsegcli.evaluation.saved_predictions import SavedPredictions
from avsegcli.inference.graph_predictor import GraphPredictor
from avsegcli.inference.masks import MaskFinder
from avsegcli.inference.postprocess import MASK_THRESHOLD
from avsegcli.inference.torch_predictor import Predictor

ABOVE = np.nextafter(np.float32(0.5), np.float32(1))


class Everywhere:
    """Says one probability of one class, in every pixel."""

    classes = ("background", "object")
    num_frames = 5

    def __init__(self, prob):
        self.prob = prob

    def predict(self, frames, log_mel):
        return np.full((len(frames), 2, 8, 8), self.prob, np.float32)


@pytest.mark.parametrize(("prob", "expected"), [(np.float32(0.5), False), (ABOVE, True)])
def test_a_probability_of_exactly_a_half_is_no_object_anywhere(prob, expected, tmp_path):
    regions = MaskFinder(32, 32)(np.full((2, 8, 8), prob, np.float32)).regions
    assert bool(regions) is expected
    frames, log_mel = np.zeros((1, 32, 32, 3), np.uint8), np.zeros((1, 96, 64), np.float32)
    found = predict_clip(Everywhere(prob), frames, log_mel, size=(16, 16))
    assert found.labels.any() == found.labels.all() == expected
    target = np.zeros((16, 16), np.uint8)
    scored = ScoredFrame("a", 0, found.probs[0], found.labels[0], target)
    assert scored.painted.any() == scored.painted.all() == expected


class Clips:
    classes = ("background", "object")

    def __init__(self, clip):
        self.clip, self.names = clip, [clip.name]

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return self.clip


@pytest.mark.parametrize(("prob", "expected"), [(0.5, False), (float(ABOVE), True)])
def test_saved_predictions_of_exactly_a_half_are_no_object(prob, expected, tmp_path):
    square = [[0, 0, 0, 8, 8, 8, 8, 0]]
    result = {"image_id": "a/0", "category_id": 1, "segmentation": square, "score": prob}
    (tmp_path / "results.json").write_text(f"[{result}]".replace("'", '"'))
    shown = np.zeros((1, 8, 8, 3), np.uint8)
    clip = Clip("a", shown, np.zeros(16_000), shown[..., 0], np.ones(1, bool), None, None)
    saved = SavedPredictions(tmp_path, Clips(clip)).predict(clip, (8, 8))
    assert saved.labels.any() == expected


def test_of_saved_probabilities_those_above_a_half_are_objects(tmp_path):
    (tmp_path / "a").mkdir()
    grey = np.array([[127, 128, 255, 0]], np.uint8)
    cv2.imwrite(str(tmp_path / "a" / "0.png"), grey)
    shown = np.zeros((1, 1, 4, 3), np.uint8)
    clip = Clip("a", shown, np.zeros(16_000), shown[..., 0], np.ones(1, bool), None, None)
    saved = SavedPredictions(tmp_path, Clips(clip)).predict(clip, (1, 4))
    assert saved.labels[0].tolist() == [[0, 1, 1, 0]]


def test_every_predictor_has_the_one_threshold():
    assert Predictor.threshold == GraphPredictor.threshold == MASK_THRESHOLD == 0.5
