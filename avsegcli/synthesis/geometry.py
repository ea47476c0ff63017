"""Geometric transforms and filters that camera, objects and degradation share."""

import cv2
import numpy as np
from numpy.typing import NDArray

Matrices = NDArray[np.float64]  # (T, 3, 3), from the pixels of a picture to those of the frame
REFERENCE_EDGE = 224  # the frame's shorter side at which sigmas hold


def similarities(
    scale: NDArray[np.float64],
    angle: NDArray[np.float64],
    source: NDArray[np.float64],
    target: NDArray[np.float64],
) -> Matrices:
    """Matrices that scale and turn, ``(T,)`` each, and bring point source to target."""
    matrices = np.zeros((len(scale), 3, 3))
    cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
    matrices[:, 0, 0] = matrices[:, 1, 1] = cosine
    matrices[:, 0, 1], matrices[:, 1, 0] = -sine, sine
    matrices[:, 2, 2] = 1
    moved = np.einsum("tij,tj->ti", matrices[:, :2, :2], np.broadcast_to(source, (len(scale), 2)))
    matrices[:, :2, 2] = target - moved
    return matrices


def resized(image: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    """Scale a picture, at least to 2 x 2 pixels."""
    height, width = (max(2, round(side * scale)) for side in image.shape[:2])
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, (width, height), interpolation=how), np.uint8)


def blurred(image: NDArray[np.uint8], sigma: float) -> NDArray[np.uint8]:
    """Blur a picture by a Gaussian of `sigma` pixels."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.uint8)
