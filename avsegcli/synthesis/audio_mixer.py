"""The soundtrack of a composed clip: sources, times and levels, mixed, and the classes heard."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.signal import fftconvolve

from avsegcli.audio.log_mel import EXAMPLE_S, SAMPLE_RATE
from avsegcli.synthesis.parts import LOUDNESS_BLOCK, Recording
from avsegcli.synthesis.ranges import CompositionSettings

BLOCKS_A_SECOND = SAMPLE_RATE // LOUDNESS_BLOCK
BLOCKS_SEEN = int(EXAMPLE_S * BLOCKS_A_SECOND)  # of a second, by its log-mel example
BLOCKS_HEARD = 10  # 0.2 s, a short call: what sounds for less is not heard in that second
FADING_DB = -30.0  # below its own loud parts a source no longer counts as sounding
INAUDIBLE_DB = -58.0  # below full scale nothing counts
MASKED_DB = -22.0  # below everything else that sounds in the same second
NOMINAL_DB = -20.0  # the loud parts of a source of gain 0 before the mix is brought to its level


class Source(NamedTuple):
    """A recording that is to sound in a clip."""

    class_index: int
    path: Path
    recording: Recording
    on_screen: bool


class Soundtrack(NamedTuple):
    """The mix, and the classes heard in each second."""

    waveform: NDArray[np.float32]  # (T * 16,000,)
    heard: NDArray[np.bool_]  # (T, L + 1)
    record: dict[str, Any]  # what sounded when and how loud


def draw_soundtrack(
    rng: Generator,
    sources: Sequence[Source],
    noise: tuple[Path, Recording] | None,
    num_frames: int,
    num_classes: int,
    train: bool,
    settings: CompositionSettings,
) -> Soundtrack:
    """Mix the sources, each with its own gain, onset and end.

    What is heard is judged by the energy of each source in each second. A second in which a source
    can barely be made out is made silent for it, so that the truth is exact.

    Args:
        rng: random source.
        sources: at most one of each class.
        noise: a recording to mix in, at a random signal-to-noise ratio.
        num_frames: T, the length in seconds.
        num_classes: L + 1, with the background.
        train: change speed and tone too.
        settings: how clips are drawn.
    """
    num_samples = num_frames * SAMPLE_RATE
    gains = [rng.uniform(*settings.gain_db) for _ in sources]
    spans = [draw_spans(rng, num_frames, settings) for _ in sources]
    voices = np.zeros((len(sources), num_samples), np.float32)
    for voice, source, gain, when in zip(voices, sources, gains, spans, strict=True):
        for start, end in when:
            voice[start:end] = _excerpt(rng, source.recording, end - start, train, settings)
        voice *= _amplitude(NOMINAL_DB + gain) / np.sqrt(max(source.recording.loud, 1e-10))
        if train:
            voice[:] = _changed_tone(rng, voice, settings)
    backdrop, backdrop_record = _backdrop(rng, noise, num_samples, bool(sources), train, settings)

    level = rng.uniform(*settings.level_db)
    peak = np.abs(voices.sum(axis=0) + backdrop).max(initial=0)
    if sources or noise:
        factor = np.float32(_amplitude(level) / max(peak, 1e-6))
        voices *= factor
        backdrop *= factor
        loud = 10 ** ((NOMINAL_DB + np.array(gains)) / 10) * float(factor) ** 2
    else:
        loud = np.zeros(0)

    audible = _audible_seconds(voices, backdrop, loud)  # (N, T)
    for voice, seconds in zip(voices, audible, strict=True):
        _silence(voice, ~seconds)
    heard = np.zeros((num_frames, num_classes), bool)
    for source, seconds in zip(sources, audible, strict=True):
        heard[seconds, source.class_index] = True
    waveform = np.clip(voices.sum(axis=0) + backdrop, -1, 1).astype(np.float32)
    record = {
        "level_db": round(level, 2),
        "sources": [
            {
                "class_index": source.class_index,
                "file": source.path,
                "on_screen": source.on_screen,
                "gain_db": round(gain, 2),
                "spans_s": [[round(edge / SAMPLE_RATE, 3) for edge in span] for span in when],
                "heard": np.flatnonzero(seconds).tolist(),
            }
            for source, gain, when, seconds in zip(sources, gains, spans, audible, strict=True)
        ],
        "noise": backdrop_record,
    }
    return Soundtrack(waveform, heard, record)


def _amplitude(db: float) -> float:
    return float(10 ** (db / 20))


def draw_spans(
    rng: Generator, num_frames: int, settings: CompositionSettings
) -> list[tuple[int, int]]:
    """When a source sounds, in samples: all the time, once, or twice; a second at least."""
    if num_frames == 1 or rng.random() < settings.whole:
        return [(0, num_frames * SAMPLE_RATE)]
    if num_frames >= 4 and rng.random() < settings.twice:
        rest = num_frames - 2.5  # beside two sounding seconds and half a second between them
        cuts = np.sort(rng.uniform(0, rest, 4))
        starts_ends = cuts + np.array([0.0, 1.0, 1.5, 2.5])
        edges = (starts_ends * SAMPLE_RATE).astype(int)
        return [(int(edges[0]), int(edges[1])), (int(edges[2]), int(edges[3]))]
    length = rng.uniform(1, num_frames)
    start = rng.uniform(0, num_frames - length)
    return [(int(start * SAMPLE_RATE), int((start + length) * SAMPLE_RATE))]


def _excerpt(
    rng: Generator,
    recording: Recording,
    num_samples: int,
    train: bool,
    settings: CompositionSettings,
    looped: bool | None = None,
) -> NDArray[np.float32]:
    """Cut a piece that starts where something sounds.

    Too short a recording starts again if `looped`, and ends otherwise; None draws which.
    """
    speed = rng.uniform(*settings.playing_speed) if train else 1.0
    needed = int(num_samples * speed) + 2
    samples = recording.samples
    if looped is None:
        looped = rng.random() < settings.looped
    sounding = np.flatnonzero(recording.power > recording.loud * 0.01)
    choice = rng.random()
    if len(samples) > needed and len(sounding):
        start = int(sounding[int(choice * len(sounding))]) * LOUDNESS_BLOCK
        start = min(start, len(samples) - needed)
        piece = samples[start : start + needed].astype(np.float32)
    elif looped:
        once = _faded(samples.astype(np.float32))
        piece = np.tile(once, needed // len(once) + 1)[:needed]
    else:
        piece = np.zeros(needed, np.float32)
        piece[: len(samples)] = _faded(samples.astype(np.float32))[:needed]
    piece *= np.float32(1 / 32_768)
    if train:
        at = np.arange(num_samples) * speed
        piece = np.interp(at, np.arange(needed), piece).astype(np.float32)
    return _faded(piece[:num_samples])


def _faded(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Fade in and out over 10 ms, in place."""
    length = min(160, len(samples) // 2)
    ramp = np.linspace(0, 1, length, dtype=np.float32)
    samples[:length] *= ramp
    samples[len(samples) - length :] *= ramp[::-1]
    return samples


def _changed_tone(
    rng: Generator, voice: NDArray[np.float32], settings: CompositionSettings
) -> NDArray[np.float32]:
    """Make a source brighter or darker, now and then of a narrow band or heard in a room."""
    slope = rng.uniform(-settings.tone_tilt_db, settings.tone_tilt_db)
    spectrum = np.fft.rfft(voice)
    hz = np.linspace(0, SAMPLE_RATE / 2, len(spectrum), dtype=np.float32)
    octaves = np.clip(np.log2(np.maximum(hz, 1) / 1000), -3, 3)
    gain_db = octaves * np.float32(slope)
    if settings.tone_curve_db:
        knots = rng.normal(0, settings.tone_curve_db, 5)
        gain_db += np.interp(octaves, (-3, -1.5, 0, 1.5, 3), knots).astype(np.float32)
    gain = np.exp(gain_db * np.float32(np.log(10) / 20))
    if rng.random() < settings.narrow_band:
        gain *= 1 / (1 + (hz / rng.uniform(2500, 7000)) ** 12)
    changed = np.fft.irfft(spectrum * gain, len(voice)).astype(np.float32)
    return add_reverberation(rng, changed) if rng.random() < settings.room else changed


def add_reverberation(rng: Generator, voice: NDArray[np.float32]) -> NDArray[np.float32]:
    """Add the decaying noise that a room of 0.05 to 0.6 s of reverberation answers with.

    Args:
        rng: draws the room.
        voice: mono at 16 kHz, ``(S,)``.

    Returns:
        ``(S,)``; what sounds after the end is cut off.
    """
    length = int(rng.uniform(0.05, 0.6) * SAMPLE_RATE)
    decay = np.float32(10) ** np.linspace(0, -3, length, dtype=np.float32)  # by 60 dB
    answer = rng.standard_normal(length, np.float32) * decay
    answer *= np.float32(rng.uniform(0.1, 1.0)) / np.linalg.norm(answer)
    return voice + fftconvolve(voice, answer)[: len(voice)]


def _backdrop(
    rng: Generator,
    noise: tuple[Path, Recording] | None,
    num_samples: int,
    sounding: bool,
    train: bool,
    settings: CompositionSettings,
) -> tuple[NDArray[np.float32], dict[str, Any] | None]:
    """Noise from beginning to end; without noise or source silence, half the time not quite."""
    if noise is not None:
        path, recording = noise
        snr = rng.uniform(*settings.snr_db)
        backdrop = _excerpt(rng, recording, num_samples, train, settings, looped=True)
        backdrop *= _amplitude(NOMINAL_DB - snr) / np.sqrt(max(recording.loud, 1e-10))
        return backdrop, {"file": path, "snr_db": round(snr, 2)}
    if not sounding and rng.random() < 0.5:
        hiss = rng.standard_normal(num_samples, np.float32)
        return hiss * np.float32(_amplitude(rng.uniform(-80, -58))), None
    return np.zeros(num_samples, np.float32), None


def _audible_seconds(
    voices: NDArray[np.float32], backdrop: NDArray[np.float32], loud: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Say in which second each source is heard, ``(N, T)``.

    Args:
        voices: ``(N, S)``.
        backdrop: what sounds beside them, ``(S,)``.
        loud: power of each source's loud parts, ``(N,)``.
    """
    layers = np.concatenate([voices, backdrop[None]])
    blocks = np.square(layers.reshape(len(layers), -1, BLOCKS_A_SECOND, LOUDNESS_BLOCK))
    power = blocks.mean(axis=-1)[..., :BLOCKS_SEEN]  # (N + 1, T, blocks)
    least = np.maximum(loud * 10 ** (FADING_DB / 10), 10 ** (INAUDIBLE_DB / 10))
    sounding = (power[:-1] > least[:, None, None]).sum(axis=-1) >= BLOCKS_HEARD
    in_second = power.mean(axis=-1)
    masked = in_second[:-1] < in_second.sum(axis=0) * 10 ** (MASKED_DB / 10)
    audible: NDArray[np.bool_] = sounding & ~masked
    return audible


def _silence(voice: NDArray[np.float32], seconds: NDArray[np.bool_]) -> None:
    """Make some seconds of a source silent, with its neighbours faded towards them, in place."""
    padded = np.concatenate([[False], seconds, [False]])
    for second in np.flatnonzero(seconds):
        voice[second * SAMPLE_RATE : (second + 1) * SAMPLE_RATE] = 0
    ramp = np.linspace(0, 1, 320, dtype=np.float32)
    for t in np.flatnonzero(~seconds):
        first, last = t * SAMPLE_RATE, (t + 1) * SAMPLE_RATE
        if padded[t]:
            voice[first : first + 320] *= ramp
        if padded[t + 2]:
            voice[last - 320 : last] *= ramp[::-1]
