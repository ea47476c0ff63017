"""Photometric degradation of a composed clip: color, blur, noise and compression."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from avsegcli.synthesis.geometry import REFERENCE_EDGE, blurred, resized
from avsegcli.synthesis.ranges import CompositionSettings


@dataclass(frozen=True)
class Degradation:
    """Changes that a camera and a codec make to every pixel, pasted or not."""

    colour: NDArray[np.float32]  # (3, 4), affine in RGB
    gamma: NDArray[np.uint8]  # (256,)
    sigma: float  # of the blur; 0: none
    shrink: float  # resolution that is left; 1: all
    noise: NDArray[np.int16] | None  # (H, 2 W, 3), shifted from frame to frame
    quality: int  # of the JPEG; 0: none

    def __call__(self, frame: NDArray[np.uint8], t: int) -> NDArray[np.uint8]:
        """Degrade frame t, ``(H, W, 3)``."""
        height, width = frame.shape[:2]
        if self.sigma:
            frame = blurred(frame, self.sigma)
        if self.shrink < 1:
            small = resized(frame, self.shrink)
            frame = np.asarray(cv2.resize(small, (width, height)), np.uint8)
        degraded = cv2.LUT(cv2.transform(frame, self.colour), self.gamma)
        if self.noise is not None:
            shift = (t * 71) % width
            degraded = cv2.add(degraded, self.noise[:, shift : shift + width], dtype=cv2.CV_8U)
        if self.quality:  # red and blue change places in the codec and back: no matter here
            _, coded = cv2.imencode(".jpg", degraded, [cv2.IMWRITE_JPEG_QUALITY, self.quality])
            return np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)
        return np.asarray(degraded, np.uint8)


def draw_degradation(
    rng: Generator, frame_size: tuple[int, int], train: bool, settings: CompositionSettings
) -> Degradation:
    """Draw one degradation for all frames of a clip."""
    strength = settings.strength_train if train else settings.strength_held_out
    unit = min(frame_size) / REFERENCE_EDGE

    def around_one(reach: float) -> float:
        return float(np.exp(strength * rng.uniform(-reach, reach)))

    saturation = 0.0 if train and rng.random() < settings.grey else around_one(0.45)
    luma = np.array([0.299, 0.587, 0.114])
    colour = saturation * np.eye(3) + (1 - saturation) * luma
    contrast, brightness = around_one(0.25), strength * rng.uniform(-22, 22)
    balance = np.array([around_one(0.10), around_one(0.05), around_one(0.10)])
    colour = contrast * balance[:, None] * colour
    offset = np.full((3, 1), 120 * (1 - contrast) + brightness)
    gamma = (np.arange(256) / 255) ** around_one(0.25) * 255

    sigma, shrink = 0.0, 1.0
    if rng.random() < settings.soft:
        if rng.random() < 0.5:
            sigma = unit * (0.3 + strength * rng.uniform(0, 1.0))
        else:
            shrink = 1 - strength * rng.uniform(0.1, 0.6)
    noise = None
    if rng.random() < settings.noisy:
        level = rng.uniform(*settings.noise_sigma) * (0.4 + 0.6 * strength)
        height, width = frame_size
        field = rng.standard_normal((height, width, 3), np.float32) * np.float32(level)
        if rng.random() < 0.5:  # grain in clumps, as a codec leaves it
            field = cv2.blur(field, (2, 2)) * np.float32(1.6)
        noise = np.tile(field.astype(np.int16), (1, 2, 1))
    low, high = settings.jpeg_quality
    quality = int(rng.integers(low, high + 1)) if rng.random() < settings.jpeg else 0
    return Degradation(
        np.hstack([colour, offset]).astype(np.float32),
        gamma.astype(np.uint8),
        sigma,
        shrink,
        noise,
        quality,
    )
