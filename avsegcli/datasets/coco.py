"""Masks as COCO stores them: polygons and run lengths."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

DRAWN_LARGER = 4  # polygons, since OpenCV fills the pixels under their outline too


def decode_segmentation(segmentation: Any, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Draw a COCO segmentation.

    Args:
        segmentation: a list of polygons [x, y, x, y, ...], or run lengths {"size": [height, width],
            "counts": list or string}.
        size: height and width of the picture, for polygons.

    Returns:
        ``(H, W)``; run lengths say their own size.

    Raises:
        ValueError: if it is none of these, or the run lengths do not fill the picture.

    Example:
        >>> decode_segmentation({"size": [2, 3], "counts": [1, 2, 3]}, (2, 3)).astype(int).tolist()
        [[0, 1, 0], [1, 0, 0]]
    """
    if isinstance(segmentation, dict):
        counts = segmentation["counts"]
        counts = counts.encode() if isinstance(counts, str) else counts
        runs = _decode_counts(counts) if isinstance(counts, bytes) else [int(c) for c in counts]
        height, width = (int(side) for side in segmentation["size"])
        if sum(runs) != height * width or min(runs) < 0:
            raise ValueError(f"runs of {sum(runs)} pixels for {width} x {height}")
        values = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
        return values.reshape(width, height).T  # column by column
    height, width = size
    canvas = np.zeros((DRAWN_LARGER * height, DRAWN_LARGER * width), np.uint8)
    for polygon in segmentation:
        points = np.asarray(polygon, np.float64)
        if points.ndim != 1 or len(points) < 6 or len(points) % 2:
            raise ValueError("a polygon needs three or more points")
        # The middle of the first pixel is at 0.5 in COCO and at 0 in OpenCV.
        corners = np.round(DRAWN_LARGER * points.reshape(-1, 2) - 0.5).astype(np.int32)
        cv2.fillPoly(canvas, [corners], (255,))
    return np.asarray(cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA) > 127)


def _decode_counts(counts: bytes) -> list[int]:
    """Read COCO's compressed run lengths.

    Each is written in groups of five bits, lowest first, from character 48 on; bit 5 says that
    another group follows, bit 4 of the last is the sign; from the third on only the difference to
    the run before the last is written.
    """
    runs: list[int] = []
    value, shift = 0, 0
    for byte in counts:
        group = byte - 48
        value |= (group & 0x1F) << shift
        shift += 5
        if not group & 0x20:
            if group & 0x10:
                value -= 1 << shift
            runs.append(value + runs[-2] if len(runs) > 2 else value)
            value, shift = 0, 0
    if shift:
        raise ValueError("run lengths are cut off")
    return runs
