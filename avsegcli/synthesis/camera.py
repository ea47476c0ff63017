"""The camera of a composed clip: a window that glides over a photo."""

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from avsegcli.synthesis.geometry import Matrices, blurred, resized, similarities
from avsegcli.synthesis.ranges import CompositionSettings


def frame_times(num_frames: int) -> NDArray[np.float64]:
    """Seconds from the middle of the clip at which its frames are taken, ``(T,)``."""
    return np.arange(0.5, num_frames) - num_frames / 2


def draw_camera(
    rng: Generator,
    photo_size: tuple[int, int],
    frame_size: tuple[int, int],
    times: NDArray[np.float64],
    settings: CompositionSettings,
    focus: tuple[float, float, float, float] | None = None,
) -> Matrices:
    """Draw a window that glides over a photo.

    Args:
        rng: random source.
        photo_size: height and width.
        frame_size: height and width.
        times: of the frames, ``(T,)``.
        settings: how clips are drawn.
        focus: box of an object to keep in view: left, top, right, bottom, in the photo's pixels.
    """
    height, width = frame_size
    fit = min(photo_size[1] / width, photo_size[0] / height)  # photo pixels per frame pixel
    smallest, largest = settings.window
    if focus is not None:
        extent = max((focus[2] - focus[0]) / (width * fit), (focus[3] - focus[1]) / (height * fit))
        smallest = np.clip(extent * rng.uniform(0.75, 1.2), smallest, largest)
    zoom = rng.uniform(smallest, largest)
    centre = np.array([photo_size[1], photo_size[0]]) * rng.uniform(0.1, 0.9, 2)
    if focus is not None:
        window = fit * zoom * np.array([width, height])
        box = np.reshape(focus, (2, 2))
        slack = np.abs(window - (box[1] - box[0])) / 2
        centre = box.mean(axis=0) + slack * rng.uniform(-0.9, 0.9, 2)
    moves = rng.random() < settings.camera_moves
    zoom_rate = rng.uniform(-settings.zoom, settings.zoom) if moves else 0.0
    pan = rng.uniform(-settings.pan, settings.pan, 2) if moves else np.zeros(2)
    tilted = rng.random() < settings.camera_tilt
    tilt = np.deg2rad(rng.uniform(-6, 6)) if tilted else 0.0
    mirrored = rng.random() < 0.5

    scale = fit * np.clip(zoom * np.exp(zoom_rate * times), 0.3, 1.0)  # (T,)
    window = scale[:, None] * np.array([width, height])  # (T, 2)
    centres = centre + pan * window * times[:, None]
    extent_xy = np.array([photo_size[1], photo_size[0]])
    centres = np.clip(centres, window / 2, np.maximum(extent_xy - window / 2, window / 2))
    matrices = similarities(1 / scale, np.full(len(times), tilt), centres, _middle(frame_size))
    if mirrored:
        matrices = np.array([[-1.0, 0, width], [0, 1, 0], [0, 0, 1]]) @ matrices
    return matrices


def _middle(frame_size: tuple[int, int]) -> NDArray[np.float64]:
    return np.array([frame_size[1] / 2, frame_size[0] / 2])


def film(
    photo: NDArray[np.uint8],
    mask: NDArray[np.uint8] | None,
    camera: Matrices,
    frame_size: tuple[int, int],
    blur_sigma: float = 0.0,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Take the frames of a photo and of its mask; no mask is background everywhere.

    Returns:
        Frames, ``(T, H, W, 3)``, and class indices, ``(T, H, W)``.
    """
    height, width = frame_size
    frames = np.empty((len(camera), height, width, 3), np.uint8)
    visible = np.zeros((len(camera), height, width), np.uint8)
    shrink = min(1.0, 1.3 * float(np.hypot(camera[:, 0, 0], camera[:, 0, 1]).max()))
    small, to_photo = photo, np.eye(3)
    if shrink < 0.8:  # else linear interpolation is good enough
        small = resized(photo, shrink)
        x, y = photo.shape[1] / small.shape[1], photo.shape[0] / small.shape[0]
        # Pixel centres have whole numbers, so the corner of both pictures is at -1/2.
        to_photo = np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]])
    if blur_sigma:
        small = blurred(small, blur_sigma)
    for t, matrix in enumerate(camera):
        cv2.warpAffine(
            small,
            (matrix @ to_photo)[:2],
            (width, height),
            dst=frames[t],
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REFLECT_101,
        )
        if mask is not None:
            cv2.warpAffine(
                mask,
                matrix[:2],
                (width, height),
                dst=visible[t],
                flags=cv2.INTER_NEAREST,
                borderMode=cv2.BORDER_REFLECT_101,
            )
    return frames, visible
