"""The picture of a composed clip: a camera over a photo, cutouts in front of it, one finish."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from avsegcli.datasets.composition import CompositionSettings

Matrices = NDArray[np.float64]  # (T, 3, 3), from the pixels of a picture to those of the frame
SHADOW_REACH = 0.06  # of an object's longest side
REFERENCE_EDGE = 224  # the frame's shorter side at which sigmas hold


class Layer(NamedTuple):
    """A cutout at its size and in its light, and where it is in each frame."""

    rgba: NDArray[np.uint8]  # (H, W, 4)
    matrices: Matrices
    class_index: int  # 0 for a thing of no class
    shadow: float  # how much it darkens what is around it, in [0, 1]


def frame_times(num_frames: int) -> NDArray[np.float64]:
    """Seconds from the middle of the clip at which its frames are taken, ``(T,)``."""
    return np.arange(0.5, num_frames) - num_frames / 2


# ---------------------------------------------------------------------------------- the camera


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
    matrices = _similarities(1 / scale, np.full(len(times), tilt), centres, _middle(frame_size))
    if mirrored:
        matrices = np.array([[-1.0, 0, width], [0, 1, 0], [0, 0, 1]]) @ matrices
    return matrices


def _middle(frame_size: tuple[int, int]) -> NDArray[np.float64]:
    return np.array([frame_size[1] / 2, frame_size[0] / 2])


def _similarities(
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
        small = _resized(photo, shrink)
        to_photo = np.diag([photo.shape[1] / small.shape[1], photo.shape[0] / small.shape[0], 1.0])
    if blur_sigma:
        small = _blurred(small, blur_sigma)
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


def _resized(image: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    height, width = (max(2, round(side * scale)) for side in image.shape[:2])
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, (width, height), interpolation=how), np.uint8)


def _blurred(image: NDArray[np.uint8], sigma: float) -> NDArray[np.uint8]:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.uint8)


# --------------------------------------------------------------------------------- the cutouts


class Place(NamedTuple):
    """Where an object is in the middle of the clip, in pixels of the frame."""

    centre: NDArray[np.float64]  # (2,), x and y
    size: NDArray[np.float64]  # (2,), width and height before it is turned
    scale: float  # of the cutout's own pixels

    def box(self) -> NDArray[np.float64]:
        """Left, top, right, bottom."""
        return np.concatenate([self.centre - self.size / 2, self.centre + self.size / 2])


def draw_place(
    rng: Generator,
    cutout: NDArray[np.uint8],
    frame_size: tuple[int, int],
    others: Sequence[Place],
    settings: CompositionSettings,
) -> Place:
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
    return Place(candidates[best], size, scale)


def draw_held_place(rng: Generator, cutout: NDArray[np.uint8], holder: Place) -> Place:
    """Draw the size and place of an instrument in front of who plays it."""
    size = np.array([cutout.shape[1], cutout.shape[0]], float)
    scale = holder.size.max() / size.max() * rng.uniform(0.35, 0.95)
    offset = holder.size * rng.uniform((-0.2, -0.15), (0.2, 0.25))
    return Place(holder.centre + offset, size * scale, float(scale))


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


def _overlap(centre: NDArray[np.float64], size: NDArray[np.float64], other: Place) -> float:
    """Area that two boxes share, as a part of the smaller one."""
    reach = (size + other.size) / 2 - np.abs(centre - other.centre)
    shared = np.minimum(np.clip(reach, 0, None), np.minimum(size, other.size))
    return float(shared.prod() / min(size.prod(), other.size.prod()))


def draw_motion(
    rng: Generator,
    place: Place,
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
    own = _similarities(scales, angles, np.array([layer_size[1], layer_size[0]]) / 2, centres)
    standing = camera[len(times) // 2]
    return camera @ np.linalg.inv(standing) @ own


def make_layer(
    rng: Generator,
    cutout: NDArray[np.uint8],
    place: Place,
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
    image = _resized(cutout, place.scale)
    if rng.random() < 0.5:
        image = np.ascontiguousarray(image[:, ::-1])
    sigma = rng.uniform(*settings.feather) * unit
    margin = 2 + int(2 * sigma)
    image = np.pad(image, ((margin, margin), (margin, margin), (0, 0)), "edge")
    alpha = np.ascontiguousarray(image[..., 3])
    alpha[:margin], alpha[-margin:], alpha[:, :margin], alpha[:, -margin:] = 0, 0, 0, 0
    trim = rng.uniform(*settings.trim)
    trimmed = np.clip((np.arange(256) / 255 - trim) / (1 - trim), 0, 1) * 255
    alpha = trimmed.astype(np.uint8)[_blurred(alpha, sigma)]

    table = _light_table(rng, image, alpha, place, behind, strength, settings)
    colours = cv2.LUT(np.ascontiguousarray(image[..., :3]), table)
    if rng.random() < settings.object_blur:
        colours = cv2.GaussianBlur(colours, (0, 0), rng.uniform(0.4, 1.2) * unit)
    return np.dstack([colours, alpha]).astype(np.uint8)


def _light_table(
    rng: Generator,
    image: NDArray[np.uint8],
    alpha: NDArray[np.uint8],
    place: Place,
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


# ------------------------------------------------------------------------ the finished picture


@dataclass(frozen=True)
class Finish:
    """What a camera and a codec do to every pixel, pasted or not."""

    colour: NDArray[np.float32]  # (3, 4), affine in RGB
    gamma: NDArray[np.uint8]  # (256,)
    sigma: float  # of the blur; 0: none
    shrink: float  # resolution that is left; 1: all
    noise: NDArray[np.int16] | None  # (H, 2 W, 3), shifted from frame to frame
    quality: int  # of the JPEG; 0: none

    def __call__(self, frame: NDArray[np.uint8], t: int) -> NDArray[np.uint8]:
        """Finish frame t, ``(H, W, 3)``."""
        height, width = frame.shape[:2]
        if self.sigma:
            frame = _blurred(frame, self.sigma)
        if self.shrink < 1:
            small = _resized(frame, self.shrink)
            frame = np.asarray(cv2.resize(small, (width, height)), np.uint8)
        finished = cv2.LUT(cv2.transform(frame, self.colour), self.gamma)
        if self.noise is not None:
            shift = (t * 71) % width
            finished = cv2.add(finished, self.noise[:, shift : shift + width], dtype=cv2.CV_8U)
        if self.quality:  # red and blue change places in the codec and back: no matter here
            _, coded = cv2.imencode(".jpg", finished, [cv2.IMWRITE_JPEG_QUALITY, self.quality])
            return np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)
        return np.asarray(finished, np.uint8)


def draw_finish(
    rng: Generator, frame_size: tuple[int, int], train: bool, settings: CompositionSettings
) -> Finish:
    """Draw one finish for all frames of a clip."""
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
    return Finish(
        np.hstack([colour, offset]).astype(np.float32),
        gamma.astype(np.uint8),
        sigma,
        shrink,
        noise,
        quality,
    )
