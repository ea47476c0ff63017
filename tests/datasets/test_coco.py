import numpy as np
import pytest
from pycocotools import mask as mask_tools

from avsegcli.datasets.coco import decode_segmentation

BLOCK = np.zeros((37, 53), bool)
BLOCK[5:20, 10:40] = True


def test_a_polygon_fills_its_pixels():
    polygon = [[10, 5, 40, 5, 40, 20, 10, 20]]
    np.testing.assert_array_equal(decode_segmentation(polygon, BLOCK.shape), BLOCK)


def test_run_lengths_are_counted_down_the_columns():
    runs = {"size": [37, 53], "counts": [37 * 10 + 5]}
    for _ in range(29):
        runs["counts"] += [15, 22]
    runs["counts"] += [15, 37 * 53 - sum(runs["counts"]) - 15]
    np.testing.assert_array_equal(decode_segmentation(runs, BLOCK.shape), BLOCK)


def test_compressed_run_lengths_are_those_of_pycocotools():
    random = np.random.default_rng(0)
    for mask in (BLOCK, random.random((37, 53)) > 0.7, ~BLOCK, np.zeros_like(BLOCK)):
        coded = mask_tools.encode(np.asfortranarray(mask, np.uint8))
        np.testing.assert_array_equal(decode_segmentation(coded, mask.shape), mask)
        text = coded | {"counts": coded["counts"].decode()}
        np.testing.assert_array_equal(decode_segmentation(text, mask.shape), mask)


@pytest.mark.parametrize(
    "damaged",
    [
        {"size": [2, 3], "counts": [1, 2]},
        {"size": [2, 3], "counts": [8, -2]},
        {"size": [2, 3], "counts": "P"},
        {"size": [2, 3], "counts": ""},
        [[1, 2, 3, 4]],
        [[float("nan")] * 6],
        None,
    ],
)
def test_what_is_no_mask_is_refused(damaged):
    with pytest.raises(ValueError, match=r"runs|run lengths|polygon"):
        decode_segmentation(damaged, (2, 3))
