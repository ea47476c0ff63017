from fractions import Fraction

import av
import numpy as np
import pytest

from avsegcli.inference.masks import MaskFinder
from avsegcli.render.colors import COLOURS, class_colour
from avsegcli.render.overlay import Painter
from avsegcli.render.styles import STYLES
from avsegcli.render.text import YuvColours, draw_label, draw_text
from avsegcli.video.reader import planes_of

CLASSES = ("background", "dog", "speedboat", "person")


def grey_frame(width: int, height: int, value: int = 100):
    frame = av.VideoFrame(width, height, "yuv420p")
    for plane, filling in zip(planes_of(frame), (value, 128, 128), strict=True):
        plane[:] = filling
    frame.pts, frame.time_base, frame.colorspace = 7, Fraction(1, 25), 5
    return frame


def masks_of(width: int, height: int, class_index: int = 1):
    probs = np.zeros((4, 32, 32), np.float32)
    probs[class_index, 12:28, 8:24] = 1
    return MaskFinder(width, height)(probs)


def test_nothing_sounding_returns_the_frame_itself():
    frame = grey_frame(64, 64)
    silent = MaskFinder(64, 64)(np.zeros((4, 8, 8), np.float32))
    assert Painter(CLASSES, 64, 64).paint(frame, silent) is frame


def test_the_given_frame_is_not_drawn_on():
    frame = grey_frame(320, 240)
    painted = Painter(CLASSES, 320, 240).paint(frame, masks_of(320, 240))
    assert painted.pts == 7
    assert [np.unique(plane).tolist() for plane in planes_of(frame)] == [[100], [128], [128]]
    assert (planes_of(painted)[0] != 100).any()


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_the_fill_is_the_colour_of_the_class_at_the_opacity_asked(alpha):
    frame = grey_frame(320, 240)
    painter = Painter(CLASSES, 320, 240, colorspace=5, alpha=alpha)
    rgb = painter.paint(frame, masks_of(320, 240, 2)).to_ndarray(format="rgb24").astype(int)
    grey = frame.to_ndarray(format="rgb24")[0, 0].astype(int)
    wanted = grey + alpha * (np.array(class_colour(2)) - grey)
    inside, outside = rgb[150:170, 120:150].mean(axis=(0, 1)), rgb[225:, 250:].mean(axis=(0, 1))
    assert inside == pytest.approx(wanted, abs=4)
    assert outside == pytest.approx(grey, abs=2)


def test_the_outline_is_opaque_in_the_colour_of_the_class():
    painter = Painter(CLASSES, 640, 480, colorspace=5, alpha=0.0)
    rgb = painter.paint(grey_frame(640, 480), masks_of(640, 480, 2)).to_ndarray(format="rgb24")
    edge = rgb[300, 150:170].astype(int)  # the mask begins at 160
    assert np.abs(edge - class_colour(2)).sum(axis=1).min() < 60


@pytest.mark.parametrize(
    ("width", "height"), [(1920, 1080), (321, 181), (64, 48), (16, 16), (3, 3), (1, 1)]
)
@pytest.mark.parametrize("style", STYLES)
def test_any_frame_size_can_be_painted(width, height, style):
    painter = STYLES[style](CLASSES, width, height)
    probs = np.zeros((4, 16, 16), np.float32)
    probs[1, :, :8], probs[2, :4, 8:], probs[3, 8:, 8:] = 1, 1, 1
    masks = MaskFinder(width, height)(probs)
    painted = painter.paint(grey_frame(width, height), masks)
    assert (painted.width, painted.height) == (painter.wide * width, height)


@pytest.mark.parametrize("capital", [7, 14, 43])
def test_capitals_are_as_high_as_asked_and_in_the_middle(capital):
    label = draw_label("HHHH", (255, 255, 255), capital, YuvColours(5, 480))
    letter = label.opaque[0][2:-2, label.width // 4 : -label.width // 4].min(axis=1) < 125
    for ink in ((draw_text("H", capital) > 0.5).any(axis=1), letter):
        above, below = ink.argmax(), ink[::-1].argmax()
        assert len(ink) - above - below == capital
        assert abs(above - below) <= 1
    assert (draw_text("Åg|", capital) > 0.5).any(axis=1).sum() > 1.4 * capital  # not cut off


def test_labels_stay_inside_the_frame_and_apart_from_each_other():
    painter = Painter(("background", "a long class name", "another long name"), 640, 360)
    probs = np.zeros((3, 16, 16), np.float32)
    probs[1, 0:3, 0:3] = 1
    probs[2, 0:3, 3:5] = 1
    places = places_of_texts(painter, MaskFinder(640, 360)(probs))
    assert len(places) == 3  # legend and two labels
    assert_apart_and_inside(places, 640, 360)


def test_labels_at_the_lower_edge_move_up():
    painter = Painter(CLASSES, 320, 240, legend=False)
    probs = np.zeros((4, 16, 16), np.float32)
    probs[1, 15:, 4:8], probs[2, 15:, 8:12], probs[3, 14, 6:10] = 1, 1, 1
    places = places_of_texts(painter, MaskFinder(320, 240)(probs))
    assert len(places) == 3
    assert_apart_and_inside(places, 320, 240)
    assert min(box.top for box in places) > 120


def test_texts_that_would_cover_much_of_a_tiny_frame_are_left_out():
    names, probs = ("background", "dog", "acoustic-guitar"), np.zeros((3, 16, 16), np.float32)
    probs[1, 6:, :8], probs[2, 6:, 8:] = 1, 1
    (label,) = places_of_texts(Painter(names, 96, 54), MaskFinder(96, 54)(probs))
    assert label.right - label.left < 40  # "dog", and no legend
    names, probs = ("background", "a", "b", "c"), np.zeros((4, 16, 16), np.float32)
    probs[1, :5], probs[2, 5:10], probs[3, 10:] = 1, 1, 1
    places = places_of_texts(Painter(names, 40, 40), MaskFinder(40, 40)(probs))
    assert len(places) == 2  # there is no room for a third one above or below
    assert_apart_and_inside(places, 40, 40)


def places_of_texts(painter, masks):
    places = []
    put = painter._put
    painter._put = lambda *arguments: places.append(put(*arguments)) or places[-1]
    painter.paint(grey_frame(painter.width, painter.height), masks)
    return places


def assert_apart_and_inside(places, width, height):
    for index, box in enumerate(places):
        assert box.left >= 0
        assert box.top >= 0
        assert box.right <= width
        assert box.bottom <= height
        assert all(box.overlap(other) is None for other in places[:index])


def test_colours_are_steady_and_differ_for_as_many_classes_as_avsbench_has():
    assert class_colour(1) == COLOURS[0]
    assert len({class_colour(index) for index in range(1, 61)}) == 60
    assert all(0 <= value <= 255 for index in range(1, 256) for value in class_colour(index))
