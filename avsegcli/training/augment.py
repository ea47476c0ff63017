"""Augmentation of stored clips: flips, sizes and colours of their frames, level and noise of sound.

Composed clips need none of it: they are drawn anew each time. All frames of a clip change alike.
"""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from avsegcli.audio.log_mel import SAMPLE_RATE
from avsegcli.audio.noise import coloured_noise, mix_noise
from avsegcli.config import DataConfig
from avsegcli.datasets.clip import Clip

GREY = np.array([0.299, 0.587, 0.114], np.float32)  # of R, G and B, ITU-R BT.601


def augment(clip: Clip, config: DataConfig, rng: Generator) -> Clip:
    """Change a clip at random, frames and labels alike.

    Args:
        clip: the clip; it stays as it is.
        config: `flip`, `color_jitter`, `gain_db`, `noise` and `noise_snr_db` count.
        rng: random source.
    """
    if rng.random() < config.flip:
        visible = None if clip.visible is None else clip.visible[:, :, ::-1]
        clip = clip._replace(
            frames=clip.frames[:, :, ::-1], labels=clip.labels[:, :, ::-1], visible=visible
        )
    if config.color_jitter:
        clip = clip._replace(frames=jitter_colors(clip.frames, config.color_jitter, rng))
    if config.gain_db:
        gain = 10 ** (rng.uniform(-config.gain_db, config.gain_db) / 20)
        clip = clip._replace(waveform=np.clip(clip.waveform * np.float32(gain), -1, 1))
    if rng.random() < config.noise:
        noise = coloured_noise(rng, "pink", len(clip.waveform), SAMPLE_RATE)
        snr_db = rng.uniform(config.noise_snr_db[0], config.noise_snr_db[1])
        clip = clip._replace(waveform=mix_noise(clip.waveform, noise, snr_db).waveform)
    return clip


def jitter_size(config: DataConfig, rng: Generator) -> int:
    """Draw the longest side of a clip's frames, in pixels: `size` times a factor."""
    return max(2, round(config.size * rng.uniform(config.scale_jitter[0], config.scale_jitter[1])))


def jitter_colors(frames: NDArray[np.uint8], strength: float, rng: Generator) -> NDArray[np.uint8]:
    """Change brightness, contrast and saturation, each with a probability of one half.

    As R2-VOS does at a strength of 0.5, but for its turns of hue and its swaps of channels.

    Args:
        frames: RGB, ``(T, H, W, 3)``.
        strength: contrast and saturation are multiplied by 1 - strength to 1 + strength, and a
            quarter of it, as a share of the full scale, is added to the brightness at most.
        rng: random source.
    """
    brightness = rng.uniform(-strength, strength) / 4 * 255
    contrast, saturation = rng.uniform(1 - strength, 1 + strength, 2)
    wanted = rng.random(3) < 0.5
    if not wanted.any():
        return frames
    colors: NDArray[np.float32] = frames.astype(np.float32)
    if wanted[0]:
        colors += np.float32(brightness)
    if wanted[1]:
        colors *= np.float32(contrast)
    if wanted[2]:
        grey = (colors @ GREY)[..., None]
        colors = (grey + saturation * (colors - grey)).astype(np.float32)
    return np.clip(np.rint(colors), 0, 255).astype(np.uint8)
