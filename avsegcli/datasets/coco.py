"""Masks as COCO stores them, polygons and run lengths, read by pycocotools."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

SHORTEST_POLYGON = 6  # numbers: three points


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
        return _decode_runs(segmentation)
    if not isinstance(segmentation, list):
        raise ValueError(f"{segmentation!r} is neither polygons nor run lengths")
    height, width = size
    if not segmentation:
        return np.zeros(size, bool)
    polygons = []
    for polygon in segmentation:
        points = np.asarray(polygon, np.float64)
        if points.ndim != 1 or len(points) < SHORTEST_POLYGON or len(points) % 2:
            raise ValueError("a polygon needs three or more points")
        if not np.isfinite(points).all():
            raise ValueError("a polygon has a point that is not a number")
        polygons.append(points.tolist())
    return np.asarray(coco.decode(coco.merge(coco.frPyObjects(polygons, height, width))), bool)


def _decode_runs(segmentation: dict[str, Any]) -> NDArray[np.bool_]:
    height, width = (int(side) for side in segmentation["size"])
    counts = segmentation["counts"]
    if isinstance(counts, list):
        runs = [int(count) for count in counts]
        if sum(runs) != height * width or min(runs) < 0:
            raise ValueError(f"runs of {sum(runs)} pixels for {width} x {height}")
        listed = {"size": [height, width], "counts": runs}
        return np.asarray(coco.decode(coco.frPyObjects(listed, height, width)), bool)
    counts = counts.encode() if isinstance(counts, str) else bytes(counts)
    try:
        decoded = coco.decode({"size": [height, width], "counts": counts})
    except (ValueError, OverflowError) as error:
        raise ValueError(f"run lengths that are damaged, for {width} x {height}") from error
    # pycocotools leaves pixels after the last run unset, whatever is in memory there.
    if coco.encode(np.asfortranarray(decoded))["counts"] != counts:
        raise ValueError(f"runs that do not fill {width} x {height} pixels")
    return np.asarray(decoded, bool)
