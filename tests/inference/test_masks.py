import numpy as np
import pytest

from avsegcli.inference.masks import Box, MaskFinder


def disc(h: int, w: int, y: float, x: float, radius: float) -> np.ndarray:
    yy, xx = np.mgrid[0:h, 0:w]
    return 1 / (1 + np.exp((np.hypot(yy - y, xx - x) - radius) * 2)).astype(np.float32)


def stack(*maps: np.ndarray) -> np.ndarray:
    return np.stack([np.zeros_like(maps[0]), *maps]).astype(np.float32)


def test_nothing_over_the_threshold_is_no_region():
    masks = MaskFinder(320, 180)(stack(np.full((32, 56), 0.49)))
    assert masks.regions == []
    assert not masks.labels().any()


@pytest.mark.parametrize(("width", "height"), [(1280, 720), (321, 181), (177, 99)])
def test_a_disc_keeps_its_place_and_size_at_any_frame_size(width, height):
    (region,) = MaskFinder(width, height)(stack(disc(32, 56, 12, 30, 6))).regions
    assert region.class_index == 1
    assert region.centre == pytest.approx((30.5 * width / 56, 12.5 * height / 32), abs=1.5)
    expected = np.pi * 36 * width / 56 * height / 32
    assert region.area == pytest.approx(expected, rel=0.05)
    assert region.area == region.mask.sum()
    assert region.score > 0.8


def test_the_box_is_tight_and_begins_at_even_pixels():
    (region,) = MaskFinder(321, 181)(stack(disc(32, 56, 12, 30, 6))).regions
    rows, columns = np.flatnonzero(region.mask.any(1)), np.flatnonzero(region.mask.any(0))
    assert region.box.left % 2 == region.box.top % 2 == 0
    assert rows[0] <= 1
    assert columns[0] <= 1
    assert (rows[-1] + 1, columns[-1] + 1) == region.mask.shape


def test_resampling_in_a_box_agrees_with_resampling_the_whole_frame():
    """The same disc alone, and with a spot in a corner that widens the box."""
    alone = disc(32, 56, 16, 28, 4)
    both = alone.copy()
    both[0:3, 0:3] = 1
    both[-3:, -3:] = 1
    find = MaskFinder(500, 300)
    one, other = find(stack(alone)).labels(), find(stack(both)).labels()
    window = np.s_[80:220, 150:350]
    assert one[window].any()
    np.testing.assert_array_equal(one[window], other[window])


def test_a_pixel_belongs_to_its_most_probable_class():
    left, right = np.zeros((20, 20), np.float32), np.zeros((20, 20), np.float32)
    left[5:15, 2:12] = 0.7
    right[5:15, 8:18] = 0.9
    labels = MaskFinder(200, 200)(stack(left, right)).labels()
    assert labels[100, 50] == 1
    assert labels[100, 100] == 2
    assert labels[100, 150] == 2
    assert labels[20, 100] == 0


def test_specks_are_dropped_and_pieces_and_holes_outlined():
    probs = np.zeros((64, 64), np.float32)
    probs[10:40, 10:40] = 1
    probs[20:30, 20:30] = 0  # a hole
    probs[50:58, 50:58] = 1
    probs[60, 2] = 1  # under 0.1 % of the frame
    (region,) = MaskFinder(128, 128)(stack(probs)).regions
    assert len(region.outlines) == 3
    assert region.largest == Box(20, 20, 80, 80)
    assert region.centre == pytest.approx((49.5, 49.5), abs=1)
    labels = MaskFinder(128, 128)(stack(probs)).labels()
    assert labels[108, 108] == 1
    assert labels[49, 49] == 0
    assert not labels[115:, :20].any()


def test_a_single_pixel_frame_works():
    (region,) = MaskFinder(1, 1)(stack(np.ones((1, 1)))).regions
    assert region.area == 1
