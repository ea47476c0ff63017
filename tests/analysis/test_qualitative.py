import numpy as np
import pytest

from avsegcli.analysis.qualitative import OTHER, draw_panel_rows
from avsegcli.datasets.clip import Clip
from avsegcli.errors import DataError
from avsegcli.evaluation.gallery import paint
from avsegcli.render.colors import class_colour

CLASSES = ("background", "cat", "dog")


class Clips(list):
    """Clips in memory."""

    classes = CLASSES


class PaintsAll:
    """Paints the whole picture as its first class."""

    num_frames = 5

    def __init__(self, *classes):
        self.classes = ("background", *classes)

    def predict(self, frames, log_mel):
        return np.ones((len(frames), 2, 4, 4), np.float32)


def clip(name, *seconds):
    """A grey clip; each second lists the classes of its left and right half."""
    labels = np.zeros((len(seconds), 16, 16), np.uint8)
    for t, (left, right) in enumerate(seconds):
        labels[t, :, :8], labels[t, :, 8:] = left, right
    frames = np.full((*labels.shape, 3), 100, np.uint8)
    sound = np.zeros(16_000 * len(seconds), np.float32)
    return Clip(name, frames, sound, labels, np.ones(len(seconds), bool), None, None)


CLIPS = Clips([clip("silent", (0, 0)), clip("one", (1, 0), (0, 0)), clip("two", (0, 1), (1, 2))])


def test_each_row_has_frame_truth_and_models_at_the_second_that_tells_most():
    models = {"full": PaintsAll("dog"), "row 1": PaintsAll("owl", "dog")}
    rows = draw_panel_rows(models, CLIPS)
    assert [(row.name, row.second) for row in rows] == [("two", 1), ("one", 0)]
    pictures = rows[0].pictures
    assert list(pictures) == ["frame", "truth", "full", "row 1"]
    assert (pictures["frame"] == 100).all()
    for column, indices in {"truth": (1, 2), "full": (2, 2), "row 1": (3, 3)}.items():
        for x, index in zip((3, 12), indices, strict=True):
            expected = paint(pictures["frame"], np.full((16, 16), index, np.uint8))
            np.testing.assert_array_equal(pictures[column][8, x], expected[8, x])
    colours = {"cat": class_colour(1), "dog": class_colour(2), OTHER: class_colour(3)}
    assert rows[0].classes == colours


def test_clips_can_be_named_and_unknown_names_are_refused():
    rows = draw_panel_rows({"m": PaintsAll("cat")}, CLIPS, clips=["one", "silent"])
    assert [row.name for row in rows] == ["one", "silent"]
    with pytest.raises(DataError, match="no clip 'three'"):
        draw_panel_rows({"m": PaintsAll("cat")}, CLIPS, clips=["three"])


def test_no_more_is_read_than_the_named_clips():
    class Counted(Clips):
        def __getitem__(self, index):
            assert index < 2
            return super().__getitem__(index)

    (row,) = draw_panel_rows({"m": PaintsAll("cat")}, Counted(CLIPS), clips=["one"])
    assert row.name == "one"


def test_without_anything_that_sounds_there_is_nothing_to_show():
    with pytest.raises(DataError, match="in no clip"):
        draw_panel_rows({"m": PaintsAll("cat")}, Clips(CLIPS[:1]))
