"""Noise, mixed into a waveform at a given signal-to-noise ratio that is then measured back.

A level is the power over the active part of a sound: pauses would otherwise make a bark or a
sentence count as quiet, and its mix noisier than it sounds. As in ITU-T P.56, what lies no more
than 15.9 dB below the active level is active; here over blocks of 20 ms, without P.56's smoothing
and its 0.2 s of hangover.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

BLOCK = 320  # samples: 20 ms
MARGIN_DB = 15.9  # of P.56: from the active level down to what is no longer active
SILENT_DB = -58.0  # active level below which a waveform is no signal, full scale = 0
NOMINAL_DB = -26.0  # level that a signal is taken to have where there is none
PEAK = 0.99  # of a mix, at most
COLOURS = {"white": 0.0, "pink": 1.0, "brown": 2.0}  # power falls with this exponent of frequency
LOWEST_HZ = 20.0  # below it coloured noise is flat


class Mix(NamedTuple):
    """A waveform with noise in it."""

    waveform: NDArray[np.float32]  # (S,), in [-1, 1]
    snr_db: float | None  # measured in the mix; None: there is no signal, infinite: no noise


def active_power(waveform: NDArray[np.float32]) -> float:
    """Compute the mean power over the active 20 ms blocks of a waveform, full scale = 1.

    The active blocks are the largest set of the loudest ones in which none lies more than 15.9 dB
    below their mean; so the level decides what is active, and what is active the level.

    Args:
        waveform: ``(S,)``, in [-1, 1]; samples after the last whole block do not count.

    Returns:
        Power; 0 of silence.

    Example:
        >>> burst = np.concatenate([np.full(3200, 0.5, np.float32), np.zeros(9600, np.float32)])
        >>> active_power(burst)
        0.25
    """
    whole = len(waveform) // BLOCK * BLOCK
    if not whole:
        return 0.0
    blocks = np.asarray(waveform[:whole], np.float64).reshape(-1, BLOCK)
    power = np.sort(np.square(blocks).mean(axis=1))[::-1]
    levels = np.cumsum(power) / np.arange(1, len(power) + 1)  # of the 1, 2, ... loudest
    active = np.flatnonzero(power >= levels * 10 ** (-MARGIN_DB / 10))
    return float(levels[active[-1]])


def mix_noise(waveform: NDArray[np.float32], noise: NDArray[np.float32], snr_db: float) -> Mix:
    """Add noise to a waveform.

    The noise is brought to its level; then the whole mix is made quieter if it would clip, which
    changes no ratio. Where the waveform is silent, the ratio is that to a signal of -26 dB.

    Args:
        waveform: mono, ``(S,)``, in [-1, 1].
        noise: likewise.
        snr_db: active level of the waveform above that of the noise; ``inf`` adds none.

    Raises:
        ValueError: if the two differ in length, or the noise is silent.
    """
    if waveform.shape != noise.shape:
        raise ValueError(f"a waveform of {waveform.shape} and noise of {noise.shape} samples")
    signal = active_power(waveform)
    heard = signal > 10 ** (SILENT_DB / 10)
    if snr_db == math.inf:
        return Mix(waveform, math.inf if heard else None)
    power = active_power(noise)
    if not power:
        raise ValueError("the noise is silent")
    wanted = (signal if heard else 10 ** (NOMINAL_DB / 10)) * 10 ** (-snr_db / 10)
    gain = np.float32(math.sqrt(wanted / power))
    mixed = waveform + gain * noise
    scale = np.float32(min(1.0, PEAK / max(float(np.abs(mixed).max()), PEAK)))
    mixed *= scale
    kept = scale * waveform
    measured = 10 * math.log10(active_power(kept) / active_power(mixed - kept)) if heard else None
    return Mix(mixed, measured)


def coloured_noise(
    rng: Generator, colour: str, num_samples: int, sample_rate: int
) -> NDArray[np.float32]:
    """Draw noise whose power falls by 0 (white), 3 (pink) or 6 dB (brown) an octave.

    Args:
        rng: random source.
        colour: one of `COLOURS`.
        num_samples: S.
        sample_rate: Hz.

    Returns:
        ``(S,)``, peak 1.
    """
    hz = np.fft.rfftfreq(num_samples, 1 / sample_rate)
    spectrum = np.fft.rfft(rng.standard_normal(num_samples))
    spectrum *= np.maximum(hz, LOWEST_HZ) ** (-COLOURS[colour] / 2)
    spectrum[0] = 0
    noise = np.fft.irfft(spectrum, num_samples)
    return (noise / np.abs(noise).max()).astype(np.float32)
