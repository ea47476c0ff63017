"""Class indices as the colours of AVSBench-semantic's label pictures, and back."""

from functools import cache

import numpy as np
from numpy.typing import NDArray


@cache
def _palette() -> NDArray[np.uint8]:
    """The colours of all 256 indices, ``(256, 3)``.

    From the lowest bit up, every three bits of the index go to red, green and blue, which are
    filled from their highest bit down.
    """
    colours = np.zeros((256, 3), np.uint8)
    for index in range(256):
        rest, place = index, 7
        while rest:
            for channel in range(3):
                colours[index, channel] |= ((rest >> channel) & 1) << place
            rest, place = rest >> 3, place - 1
    colours.flags.writeable = False
    return colours


@cache
def _index_of_code() -> NDArray[np.int16]:
    """For each colour as red * 65536 + green * 256 + blue its class index, or -1."""
    indices = np.full(1 << 24, -1, np.int16)
    indices[_codes(_palette())] = np.arange(256)
    indices.flags.writeable = False
    return indices


def _codes(rgb: NDArray[np.uint8]) -> NDArray[np.int32]:
    wide = rgb.astype(np.int32)
    return (wide[..., 0] << 16) | (wide[..., 1] << 8) | wide[..., 2]


def label_colours(num_classes: int) -> NDArray[np.uint8]:
    """Give the colour of the background and of each class.

    Args:
        num_classes: L, without the background, at most 255.

    Returns:
        RGB, ``(L + 1, 3)``; row 0, the background, is black.

    Example:
        >>> label_colours(9).tolist()[7:]
        [[128, 128, 128], [64, 0, 0], [192, 0, 0]]
    """
    if not 0 <= num_classes <= 255:
        raise ValueError(f"num_classes must be in 0..255, not {num_classes}")
    return _palette()[: num_classes + 1]


def labels_to_colours(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Paint class indices, ``(..., H, W)``, in their colours, ``(..., H, W, 3)`` RGB."""
    return _palette()[labels]


def colours_to_labels(rgb: NDArray[np.uint8], num_classes: int) -> NDArray[np.uint8]:
    """Read a label picture back into class indices.

    Args:
        rgb: ``(H, W, 3)``.
        num_classes: L, without the background.

    Returns:
        Class indices in 0..L, ``(H, W)``.

    Raises:
        ValueError: if a colour is of no class: it is never read as background.

    Example:
        >>> colours_to_labels(label_colours(3)[None], 3)
        array([[0, 1, 2, 3]], dtype=uint8)
    """
    indices = _index_of_code()[_codes(rgb)]
    unknown = (indices < 0) | (indices > num_classes)
    if unknown.any():
        y, x = np.argwhere(unknown)[0]
        colour = tuple(rgb[y, x].tolist())
        raise ValueError(f"colour {colour} at row {y}, column {x} is of no class")
    return indices.astype(np.uint8)


def nearest_labels(rgb: NDArray[np.uint8], num_classes: int) -> tuple[NDArray[np.uint8], int]:
    """Read a label picture whose colours may be blended by the nearest colour of a class.

    Args:
        rgb: ``(H, W, 3)``.
        num_classes: L, without the background.

    Returns:
        Class indices in 0..L, ``(H, W)``, and the number of pixels whose colour was of no class.

    Example:
        >>> nearest_labels(np.array([[[0, 17, 0], [120, 0, 9]]], np.uint8), 3)
        (array([[0, 1]], dtype=uint8), 2)
    """
    codes = _codes(rgb)
    indices = _index_of_code()[codes]
    unknown = (indices < 0) | (indices > num_classes)
    blended, places = np.unique(codes[unknown], return_inverse=True)
    colours = np.stack([blended >> 16, (blended >> 8) & 255, blended & 255], axis=1)
    differences = colours[:, None].astype(np.int32) - label_colours(num_classes).astype(np.int32)
    indices[unknown] = (differences**2).sum(axis=2).argmin(axis=1)[places]
    return indices.astype(np.uint8), int(unknown.sum())
