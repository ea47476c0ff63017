import cv2
import numpy as np
import pytest

from avsegcli.video.still import StillReader


@pytest.mark.parametrize(
    ("size", "shown"),
    [((3000, 1667), (1920, 1066)), ((1667, 3000), (1066, 1920)), ((161, 97), (161, 97))],
)
def test_a_picture_that_is_scaled_has_even_sides(tmp_path, size, shown):
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), np.full((size[1], size[0], 3), 128, np.uint8))
    picture = StillReader(path, 0.04)
    (frame,) = picture
    assert (picture.width, picture.height) == (frame.width, frame.height) == shown
