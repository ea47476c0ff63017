"""Waveform to the log-mel examples that VGGish is defined on."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE = 16_000  # Hz
WINDOW = 400  # samples: 25 ms
HOP = 160  # samples: 10 ms
FFT_SIZE = 512
NUM_BANDS = 64
LOWEST_HZ, HIGHEST_HZ = 125.0, 7_500.0
LOG_OFFSET = 0.01
EXAMPLE_FRAMES = 96
EXAMPLE_S = EXAMPLE_FRAMES * HOP / SAMPLE_RATE  # 0.96 s
EXAMPLE_SAMPLES = (EXAMPLE_FRAMES - 1) * HOP + WINDOW  # 15,600: what one example looks at


@cache
def _mel_matrix() -> NDArray[np.float32]:
    """HTK mel filters, ``(FFT_SIZE / 2 + 1, NUM_BANDS)``, triangles in mel, zero at 0 Hz."""

    def mel(hz: NDArray[np.float64] | float) -> NDArray[np.float64]:
        return 1127.0 * np.log1p(np.asarray(hz) / 700.0)

    bins = mel(np.linspace(0.0, SAMPLE_RATE / 2, FFT_SIZE // 2 + 1))[:, None]
    edges = np.linspace(mel(LOWEST_HZ), mel(HIGHEST_HZ), NUM_BANDS + 2)
    rise = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    filters = np.maximum(0.0, np.minimum(rise, fall))
    filters[0] = 0.0
    return filters.astype(np.float32)


@cache
def _hann() -> NDArray[np.float32]:
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)).astype(np.float32)


def log_mel(waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    """Compute the log-mel spectrogram, one row for each whole 25 ms window.

    Args:
        waveform: mono at 16 kHz, ``(S,)``, in [-1, 1].

    Returns:
        ``log(mel + 0.01)``, ``(1 + (S - 400) // 160, 64)``; no row if S < 400.

    Example:
        >>> log_mel(np.zeros(16_000, np.float32)).shape
        (98, 64)
    """
    if len(waveform) < WINDOW:
        return np.zeros((0, NUM_BANDS), np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(waveform, WINDOW)[::HOP]
    magnitude = np.abs(np.fft.rfft(windows * _hann(), FFT_SIZE)).astype(np.float32)
    # Not `@`: NumPy's threads would wait for more such products, at the cost of a core each time.
    mel = np.einsum("fj,jb->fb", magnitude, _mel_matrix())
    return np.log(mel + np.float32(LOG_OFFSET))


def log_mel_example(waveform: NDArray[np.float32], start: int) -> NDArray[np.float32]:
    """Compute one log-mel example of 0.96 s; what lies outside the waveform is silence.

    Args:
        waveform: mono at 16 kHz, ``(S,)``, in [-1, 1].
        start: first sample of the example; may be negative or beyond the end.

    Returns:
        ``(96, 64)``.
    """
    piece = np.zeros(EXAMPLE_SAMPLES, np.float32)
    first, last = max(start, 0), min(start + EXAMPLE_SAMPLES, len(waveform))
    if last > first:
        piece[first - start : last - start] = waveform[first:last]
    return log_mel(piece)
