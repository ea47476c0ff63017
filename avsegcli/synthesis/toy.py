"""A tiny parts folder of shapes that beep: for tests, examples and a first look at a training run.

Four classes: a disc with a low beep, a square with bursts of noise, a triangle with a rising chirp
and a star with a warble; a cross and a ring make no sound.
"""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from avsegcli.audio.log_mel import SAMPLE_RATE
from avsegcli.datasets.io import write_file, write_picture, write_waveform

CLASSES = ("disc", "square", "star", "triangle")
THINGS = ("cross", "ring")
HUES = {"disc": 0, "square": 60, "star": 25, "triangle": 115}  # OpenCV's: half degrees
FILES = {"train": 5, "val": 2, "test": 2}  # of each kind of picture and sound
CUTOUT_SIZE = 96  # pixels
PHOTO_SIZE = (120, 160)
SOUND_S = 2.5
DRAWN_LARGER = 4  # and then reduced, for a soft edge


def write_toy_parts(root: Path, seed: int = 0) -> None:
    """Draw a parts folder with the splits train, val and test.

    Args:
        root: the folder, made if missing.
        seed: of everything random in it.

    Raises:
        DataError: if a file cannot be written.
    """
    rng = np.random.default_rng(seed)
    for split, count in FILES.items():
        for number in range(count):
            stem = f"{split}-toy-{number:02d}"
            for name in CLASSES:
                write_picture(root / "objects" / name / f"{stem}.webp", _cutout(rng, name))
                _write_sound(root / "sounds" / name / f"{stem}.ogg", _sound(rng, name))
            for name in THINGS:
                path = root / "objects" / "_silent" / name / f"{stem}.webp"
                write_picture(path, _cutout(rng, name))
            write_picture(root / "backgrounds" / f"{stem}.jpg", _background(rng))
            _write_sound(root / "noise" / "hum" / f"{stem}.ogg", _sound(rng, "hum"))
            photo, mask = _scene(rng, CLASSES[number % len(CLASSES)])
            write_picture(root / "scenes" / f"{stem}.jpg", photo)
            write_picture(root / "scenes" / f"{stem}.png", mask)
    indices = {"background": 0, **{name: i for i, name in enumerate(CLASSES, 1)}, "ignore": 255}
    write_file(root / "scenes" / "classes.json", json.dumps(indices).encode())


def _write_sound(path: Path, waveform: NDArray[np.float64]) -> None:
    write_waveform(path, 0.7 * waveform / np.abs(waveform).max())


def _outline(name: str) -> NDArray[np.float64]:
    """Corners of a shape within the unit circle, ``(N, 2)``."""
    corners, radii = {
        "disc": (60, [1.0]),
        "ring": (60, [1.0]),
        "square": (4, [1.0]),
        "triangle": (3, [1.0]),
        "star": (10, [1.0, 0.42]),
        "cross": (12, [1.0, 0.38, 1.0]),
    }[name]
    angles = (np.arange(corners) + 0.5) * 2 * np.pi / corners - np.pi / 2
    directions = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return np.asarray(np.resize(radii, corners)[:, None] * directions, np.float64)


def _alpha(name: str, size: int, stretch: float) -> NDArray[np.uint8]:
    """Draw a shape that fills a square, ``(size, size)``."""
    large = np.zeros((size * DRAWN_LARGER,) * 2, np.uint8)
    middle, radius = large.shape[0] / 2, large.shape[0] * 0.46
    points = middle + radius * _outline(name) * np.array([1.0, stretch])
    cv2.fillPoly(large, [points.astype(np.int32)], (255,))
    if name == "ring":
        cv2.circle(large, (int(middle), int(middle)), int(0.55 * radius), (0,), -1)
    return np.asarray(cv2.resize(large, (size, size), interpolation=cv2.INTER_AREA), np.uint8)


def _cutout(rng: Generator, name: str) -> NDArray[np.uint8]:
    """A shape with some shading, RGBA."""
    hue = HUES.get(name, int(rng.integers(180))) + int(rng.integers(-8, 9))
    hsv = np.full((CUTOUT_SIZE, CUTOUT_SIZE, 3), (hue % 180, rng.integers(150, 250), 0), np.uint8)
    across = np.linspace(-1, 1, CUTOUT_SIZE)[:, None] * rng.uniform(-30, 30)
    shade = rng.uniform(150, 220) + across + rng.normal(0, 6, hsv.shape[:2])
    hsv[..., 2] = np.clip(shade, 0, 255)
    alpha = _alpha(name, CUTOUT_SIZE, rng.uniform(0.75, 1.0))
    return np.dstack([cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), alpha]).astype(np.uint8)


def _background(rng: Generator) -> NDArray[np.uint8]:
    """A dull gradient with a few bars, RGB."""
    height, width = PHOTO_SIZE
    ends = rng.uniform(60, 190, (2, 1, 1, 3)) * 0.3 + rng.uniform(40, 140, (2, 1, 1, 1))
    down = np.linspace(0, 1, height)[:, None, None]
    photo = np.broadcast_to(ends[0] * (1 - down) + ends[1] * down, (height, width, 3)).copy()
    for _ in range(4):
        left, wide = int(rng.integers(width)), int(rng.integers(4, 30))
        photo[int(rng.integers(height)) :, left : left + wide] += rng.uniform(-25, 25)
    photo += rng.normal(0, 4, photo.shape)
    return np.asarray(np.clip(photo, 0, 255)[..., ::-1], np.uint8)


def _scene(rng: Generator, name: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A photo of one shape and its mask with an ignored rim."""
    photo, cutout = _background(rng), _cutout(rng, name)
    top = int(rng.integers(PHOTO_SIZE[0] - CUTOUT_SIZE))
    left = int(rng.integers(PHOTO_SIZE[1] - CUTOUT_SIZE))
    alpha = cutout[..., 3:] / 255
    region = (slice(top, top + CUTOUT_SIZE), slice(left, left + CUTOUT_SIZE))
    photo[region] = (alpha * cutout[..., :3] + (1 - alpha) * photo[region]).astype(np.uint8)
    mask = np.zeros(PHOTO_SIZE, np.uint8)
    solid = cutout[..., 3]
    mask[region] = np.select([solid > 216, solid > 38], [CLASSES.index(name) + 1, 255], 0)
    return photo, mask


def _sound(rng: Generator, name: str) -> NDArray[np.float64]:
    """Synthesize the sound of a class."""
    t = np.arange(int(SOUND_S * SAMPLE_RATE)) / SAMPLE_RATE
    rate = rng.uniform(2.0, 3.0)  # beeps a second
    phase = t * rate % 1
    pulse = np.clip(np.minimum(phase, 0.75 - phase) * 20, 0, 1)
    pitch = rng.uniform(0.95, 1.05)
    sounds: dict[str, Callable[[], NDArray[np.float64]]] = {
        "disc": lambda: pulse * np.sin(2 * np.pi * 320 * pitch * t),
        "square": lambda: pulse * rng.standard_normal(len(t)),
        "star": lambda: np.sin(2 * np.pi * 1100 * pitch * t + 30 * np.sin(2 * np.pi * 6 * t)),
        "triangle": lambda: (
            pulse * np.sin(2 * np.pi * (2200 * pitch * phase + 900 * phase**2) / rate)
        ),
        "hum": lambda: np.sin(2 * np.pi * 100 * pitch * t) + 0.3 * rng.standard_normal(len(t)),
    }
    return sounds[name]()
