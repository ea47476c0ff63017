"""Frames to the input of the network: resize, normalize, pad. No torch."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

STRIDE = 32  # the network's coarsest level: sizes are padded to multiples of it
ENLARGED_TO = 224  # pixels: the longest side of a frame that is smaller
CELL = 4  # pixels: what one value of a mask covers
MEAN = np.array([0.485, 0.456, 0.406], np.float32)  # of ImageNet, RGB in [0, 1]
DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)


def frame_size(size: tuple[int, ...], longest: int) -> tuple[int, int]:
    """Scale a (height, width) so that its longest side has `longest` pixels.

    Frames are enlarged to `ENLARGED_TO` pixels at most: more would cost time and show nothing. The
    sides are rounded to multiples of 4, so that the network's masks cover the frame exactly.

    Example:
        >>> frame_size((720, 1280), 320), frame_size((120, 160), 320)
        ((180, 320), (168, 224))
    """
    longest = min(longest, max(*size, ENLARGED_TO))
    # In whole numbers up to the division: 360 x 640 is to give what 720 x 1280 gives.
    height, width = (max(CELL, CELL * round(side * longest / (CELL * max(size)))) for side in size)
    return height, width


def fit_frame(frame: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize one RGB frame ``(H, W, 3)`` to (height, width)."""
    if frame.shape[:2] == size:
        return frame
    smaller = frame.shape[0] > size[0]
    interpolation = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return cv2.resize(frame, size[::-1], interpolation=interpolation)


def resize_for_network(frame: NDArray[np.uint8], longest: int) -> NDArray[np.uint8]:
    """Resize one RGB frame ``(H, W, 3)`` so that its longest side has `longest` pixels.

    Every frame that a network sees, of a video or of a data set, goes through this function; a
    frame that has been through it stays as it is.

    Example:
        >>> resize_for_network(np.zeros((480, 854, 3), np.uint8), 224).shape
        (124, 224, 3)
    """
    return fit_frame(frame, frame_size(frame.shape[:2], longest))


def resize_labels(labels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Resize class indices ``(H, W)`` by the pixel nearest to each centre, as Pillow does."""
    if labels.shape == size:
        return labels
    resized = cv2.resize(labels, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    return np.asarray(resized, np.uint8)


def normalise(frame: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Subtract ImageNet's mean and divide by its deviation; RGB ``(H, W, 3)``, 0..255."""
    return (frame - np.float32(255) * MEAN) / (np.float32(255) * DEVIATION)


def pad_to_stride(frames: NDArray[np.float32]) -> NDArray[np.float32]:
    """Pad ``(T, H, W, 3)`` with zeros, at the right and below, to multiples of 32."""
    bottom, right = -frames.shape[1] % STRIDE, -frames.shape[2] % STRIDE
    return np.pad(frames, ((0, 0), (0, bottom), (0, right), (0, 0)))


def prepare_frames(
    frames: Sequence[NDArray[np.uint8]], longest: int
) -> tuple[NDArray[np.float32], tuple[int, int]]:
    """Prepare the pictures of a clip for a network.

    Args:
        frames: ``(H, W, 3)`` RGB, of one size.
        longest: pixels of their longest side, as the network takes them.

    Returns:
        Scaled, normalised and padded frames ``(T, H', W', 3)``, and the height and width of their
        part that is real.
    """
    resized = [resize_for_network(frame, longest) for frame in frames]
    height, width = resized[0].shape[:2]
    return pad_to_stride(np.stack([normalise(frame) for frame in resized])), (height, width)
