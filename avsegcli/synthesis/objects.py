"""The cutouts of a composed clip: their places, their motion, their light, and the paste."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from avsegcli.synthesis.geometry import REFERENCE_EDGE, Matrices, blurred, resized, similarities
from avsegcli.synthesis.ranges import CompositionSettings

SHADOW_REACH = 0.06  # of an object's longest side


class Layer(NamedTuple):
    """A cutout at its size and in its light, and where it is in each frame."""

    rgba: NDArray[np.uint8]  # (H, W, 4)
    matrices: Matrices
    class_index: int  # 0 for a thing of no class
    shadow: float  # how much it darkens what is around it, in [0, 1]


class Placement(NamedTuple):
    """Position and size of an object in the middle of the clip, in pixels of the frame."""

    centre: NDArray[np.float64]  # (2,), x and y
    size: NDArray[np.float64]  # (2,), width and height before it is turned
    scale: float  # of the cutout's own pixels

    def box(self) -> NDArray[np.float64]:
        """Left, top, right, bottom."""
        return np.concatenate([self.centre - self.size / 2, self.centre + self.size / 2])


def draw_placement(
    rng: Generator,
    cutout: NDArray[np.uint8],
    frame_size: tuple[int, int],
    others: Sequence[Placement],
    settings: CompositionSettings,
) -> Placement:
    """Draw the size and place of an object.

    An object that its photo cut off, such as the upper half of a person, is put at that border of
    the frame.
    """
    size = np.array([cutout.shape[1], cutout.shape[0]], float)
    frame = np.array([frame_size[1], frame_size[0]], float)
    fit = (frame / size).min()
    smallest, largest = settings.object_size
    largest *= (1.0, 0.85, 0.72, 0.65)[min(len(others), 3)]
    share = smallest + (largest - smallest) * rng.beta(2.2, 1.1)
    scale = min(fit * share, settings.max_enlargement * frame.min() / REFERENCE_EDGE)
    size = size * scale

    inside = np.maximum(frame - size, 0) / 2  # how far the centre may leave the middle
    if rng.random() < settings.cropped:
        inside = inside + 0.3 * size
    candidates = frame / 2 + inside * rng.uniform(-1, 1, (6, 2))
    for axis, side in _cut_sides(cutout):
        out = size[axis] * rng.uniform(0.02, 0.12)
        at = size[axis] / 2 - out
        candidates[:, axis] = frame[axis] - at if side else at
    hidden = [sum(_overlap(centre, size, other) for other in others) for centre in candidates]
    best = int(np.argmin(hidden)) if rng.random() < settings.apart else 0
    return Placement(candidates[best], size, scale)


def draw_held_placement(rng: Generator, cutout: NDArray[np.uint8], holder: Placement) -> Placement:
    """Draw the size and place of an instrument in front of who plays it."""
    size = np.array([cutout.shape[1], cutout.shape[0]], float)
    scale = holder.size.max() / size.max() * rng.uniform(0.35, 0.95)
    offset = holder.size * rng.uniform((-0.2, -0.15), (0.2, 0.25))
    return Placement(holder.centre + offset, size * scale, float(scale))


def _cut_sides(cutout: NDArray[np.uint8]) -> list[tuple[int, int]]:
    """The sides along which a photo's border cut the object: (axis, 1 for right or bottom)."""
    solid = cutout[..., 3] > 128
    edges = {
        (1, 1): solid[-4:].any(axis=0).mean(),
        (0, 0): solid[:, :4].any(axis=1).mean(),
        (0, 1): solid[:, -4:].any(axis=1).mean(),
    }
    side, length = max(edges.items(), key=lambda item: item[1])
    return [side] if length > 0.5 else []


def _overlap(centre: NDArray[np.float64], size: NDArray[np.float64], other: Placement) -> float:
    """Area that two boxes share, as a part of the smaller one."""
    reach = (size + other.size) / 2 - np.abs(centre - other.centre)
    shared = np.minimum(np.clip(reach, 0, None), np.minimum(size, other.size))
    return float(shared.prod() / min(size.prod(), other.size.prod()))


def draw_motion(
    rng: Generator,
    place: Placement,
    layer_size: tuple[int, int],
    camera: Matrices,
    frame_size: tuple[int, int],
    times: NDArray[np.float64],
    settings: CompositionSettings,
) -> Matrices:
    """Draw a smooth path through a place; what stands still moves with the camera's picture."""
    angle = np.deg2rad(rng.normal(0, settings.tilt_deg))
    if rng.random() < settings.wild_tilt:
        angle = np.deg2rad(rng.uniform(-40, 40))
    angles, scales = np.full(len(times), angle), np.ones(len(times))
    centres = np.broadcast_to(place.centre, (len(times), 2))
    if rng.random() < settings.moving:
        edge = min(frame_size)
        heading, speed = rng.uniform(0, 2 * np.pi), rng.uniform(*settings.speed) * edge
        drift = speed * np.array([np.cos(heading), 0.6 * np.sin(heading)])
        phase, pace, swing = rng.uniform(0, 6.28), rng.uniform(1, 5), rng.uniform(0, 0.03) * edge
        bob = np.sin(phase + pace * times)[:, None] * swing * np.array([0.4, 1.0])
        centres = centres + drift * times[:, None] + bob
        angles = angles + np.deg2rad(rng.uniform(0, 5)) * np.sin(phase + pace * times)
        scales = np.exp(rng.uniform(-settings.growth, settings.growth) * times)
    own = similarities(scales, angles, np.array([layer_size[1], layer_size[0]]) / 2, centres)
    standing = camera[len(times) // 2]
    return camera @ np.linalg.inv(standing) @ own


def make_layer(
    rng: Generator,
    cutout: NDArray[np.uint8],
    place: Placement,
    behind: NDArray[np.uint8],
    strength: float,
    settings: CompositionSettings,
) -> NDArray[np.uint8]:
    """Bring a cutout to its size, soften its edge, and light it as what is behind it is lit.

    Args:
        rng: random source.
        cutout: RGBA, ``(H, W, 4)``.
        place: where it will be.
        behind: the frame that it will be pasted on, ``(H, W, 3)``.
        strength: of the random change of colour, in [0, 1].
        settings: how clips are drawn.

    Returns:
        RGBA with a transparent border.
    """
    unit = min(behind.shape[:2]) / REFERENCE_EDGE
    image = resized(cutout, place.scale)
    if rng.random() < 0.5:
        image = np.ascontiguousarray(image[:, ::-1])
    sigma = rng.uniform(*settings.feather) * unit
    margin = 2 + int(2 * sigma)
    image = np.pad(image, ((margin, margin), (margin, margin), (0, 0)), "edge")
    alpha = np.ascontiguousarray(image[..., 3])
    alpha[:margin], alpha[-margin:], alpha[:, :margin], alpha[:, -margin:] = 0, 0, 0, 0
    trim = rng.uniform(*settings.trim)
    trimmed = np.clip((np.arange(256) / 255 - trim) / (1 - trim), 0, 1) * 255
    alpha = trimmed.astype(np.uint8)[blurred(alpha, sigma)]

    table = _light_table(rng, image, alpha, place, behind, strength, settings)
    colours = cv2.LUT(np.ascontiguousarray(image[..., :3]), table)
    if rng.random() < settings.object_blur:
        colours = cv2.GaussianBlur(colours, (0, 0), rng.uniform(0.4, 1.2) * unit)
    return np.dstack([colours, alpha]).astype(np.uint8)


def _light_table(
    rng: Generator,
    image: NDArray[np.uint8],
    alpha: NDArray[np.uint8],
    place: Placement,
    behind: NDArray[np.uint8],
    strength: float,
    settings: CompositionSettings,
) -> NDArray[np.uint8]:
    """A look-up table, ``(256, 3)``, that moves the object's light towards what is behind it."""
    mean, spread = cv2.meanStdDev(image[..., :3], mask=(alpha > 128).astype(np.uint8))
    left, top, right, bottom = place.box().astype(int)
    region = behind[max(top, 0) : max(bottom, 1), max(left, 0) : max(right, 1)]
    if not region.size:
        region = behind
    behind_mean, behind_spread = cv2.meanStdDev(region)
    mean, spread, behind_mean, behind_spread = (
        x.ravel() for x in (mean, spread, behind_mean, behind_spread)
    )
    light, contrast = rng.uniform(*settings.light_match), rng.uniform(*settings.contrast_match)
    # Take over all of the light but only half of the colour: a red car in a wood stays red.
    wanted = 0.5 * behind_mean + 0.5 * mean * (behind_mean.mean() / max(mean.mean(), 1.0))
    target = mean + light * (np.clip(wanted, 30, 225) - mean)
    target = np.clip(target, 0.55 * mean, 1.7 * mean + 20)
    jitter = strength * 0.12
    target = target * rng.uniform(1 - jitter, 1 + jitter) * rng.uniform(0.95, 1.05, 3)
    ratio = behind_spread.mean() / max(spread.mean(), 1.0)
    gain = 1 + contrast * (np.clip(ratio, 0.7, 1.3) - 1)
    table = (np.arange(256)[:, None] - mean) * gain + target
    clipped: NDArray[np.uint8] = np.clip(table, 0, 255).astype(np.uint8)[:, None, :]
    return clipped


def paste(
    frame: NDArray[np.uint8], visible: NDArray[np.uint8], layer: Layer, matrix: NDArray[np.float64]
) -> None:
    """Lay a cutout over a frame and over what is visible in it, both in place."""
    height, width = layer.rgba.shape[:2]
    corners = matrix[:2] @ np.array([[0, width, 0, width], [0, 0, height, height], [1, 1, 1, 1]])
    reach = int(SHADOW_REACH * max(height, width)) if layer.shadow else 0
    limits = (frame.shape[1], frame.shape[0])
    left, top = np.clip(np.floor(corners.min(axis=1)) - reach, 0, limits).astype(int)
    right, bottom = np.clip(np.ceil(corners.max(axis=1)) + reach, 0, limits).astype(int)
    if right <= left or bottom <= top:
        return
    local = matrix[:2].copy()
    local[:, 2] -= (left, top)
    warped = cv2.warpAffine(layer.rgba, local, (right - left, bottom - top))
    region = frame[top:bottom, left:right]
    alpha = warped[..., 3]
    weight = alpha.astype(np.float32) * np.float32(1 / 255)
    under = np.ascontiguousarray(region)
    if layer.shadow:
        dim = 1 - layer.shadow * cv2.blur(weight, (2 * reach + 1, 2 * reach + 1))
        dimmed = cv2.multiply(under, cv2.merge([dim] * 3), dtype=cv2.CV_8U)
        under = np.asarray(dimmed, np.uint8)
    region[:] = cv2.blendLinear(np.ascontiguousarray(warped[..., :3]), under, weight, 1 - weight)
    visible[top:bottom, left:right][alpha > 127] = layer.class_index
