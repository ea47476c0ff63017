import numpy as np
import pytest

from avsegcli.datasets.label_colors import colours_to_labels, label_colours, labels_to_colours


def test_the_colours_are_those_of_the_bit_rule():
    # 1 = red, 2 = green, 4 = blue of the highest bit; 8 = red of the next one.
    expected = [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0], [0, 0, 128]]
    assert label_colours(8)[:5].tolist() == expected
    assert label_colours(8)[8].tolist() == [64, 0, 0]


def test_no_two_classes_share_a_colour():
    assert len(np.unique(label_colours(255), axis=0)) == 256


def test_painted_labels_are_read_back_as_they_were():
    labels = np.arange(71, dtype=np.uint8).reshape(1, -1)
    assert (colours_to_labels(labels_to_colours(labels), 70) == labels).all()


@pytest.mark.parametrize("colour", [(1, 2, 3), (64, 0, 0)])
def test_a_colour_of_no_class_is_an_error_and_never_background(colour):
    rgb = np.zeros((2, 3, 3), np.uint8)
    rgb[1, 2] = colour
    with pytest.raises(ValueError, match=r"row 1, column 2 is of no class"):
        colours_to_labels(rgb, 7)


def test_more_classes_than_a_byte_holds_are_refused():
    with pytest.raises(ValueError, match="256"):
        label_colours(256)
