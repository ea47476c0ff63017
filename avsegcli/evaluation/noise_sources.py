"""Noise to mix into clips: synthetic noise, packaged speech and music, or recordings.

white, pink, brown   drawn at random
speech               eight sentences in six languages by eSpeak NG, which the package carries
babble               eight such voices at once, each from a place of its own
music                organ, strings and bass, a tune of our own, which the package carries
a file, a folder     recordings or videos: of a folder any that is found in it
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from avsegcli.audio.log_mel import SAMPLE_RATE
from avsegcli.audio.noise import BLOCK, COLOURS, active_power, coloured_noise
from avsegcli.datasets.io import read_soundtrack, read_waveform
from avsegcli.datasets.testset import packaged_testset
from avsegcli.errors import DataError
from avsegcli.synthesis.parts import RECORDINGS

KINDS = (*COLOURS, "babble", "speech", "music")
TRACKS = {".aac", ".m4a", ".mkv", ".mov", ".mp4", ".opus", ".webm"}  # read by FFmpeg
VOICES = 8  # of babble
SPEEDS = (0.85, 1.15)  # at which they are played, so that none is heard twice
TRIES = 20  # to find a piece of a recording that is not silent


class NoiseSource(Protocol):
    """Noise of one kind."""

    name: str

    def draw(self, rng: Generator, num_samples: int) -> NDArray[np.float32]:
        """Draw ``(num_samples,)`` of it, mono at 16 kHz; of 20 ms or more, never silent."""
        ...


class ColouredNoise:
    """White, pink or brown noise."""

    def __init__(self, name: str) -> None:
        self.name = name

    def draw(self, rng: Generator, num_samples: int) -> NDArray[np.float32]:
        """Draw a piece."""
        return coloured_noise(rng, self.name, num_samples, SAMPLE_RATE)


class RecordedNoise:
    """Pieces of recordings; one that is too short starts again.

    Args:
        name: for tables and files.
        files: sound files, each as likely as the others.
    """

    def __init__(self, name: str, files: Sequence[Path]) -> None:
        self.name, self.files = name, tuple(files)

    def draw(self, rng: Generator, num_samples: int) -> NDArray[np.float32]:
        """Draw a piece of one recording.

        Raises:
            DataError: if a file cannot be read, or twenty pieces in a row are silent.
        """
        for _ in range(TRIES):
            recording = _recording(self.files[int(rng.integers(len(self.files)))])
            start = int(rng.integers(max(1, len(recording) - num_samples + 1)))
            piece = np.resize(recording[start:], num_samples)
            if active_power(piece):
                return piece
        raise DataError(f"the noise in {self.files[0].parent} is silent")


class Babble:
    """Several voices at once.

    Args:
        voices: where each is drawn from.
    """

    name = "babble"

    def __init__(self, voices: NoiseSource) -> None:
        self.voices = voices

    def draw(self, rng: Generator, num_samples: int) -> NDArray[np.float32]:
        """Draw eight voices of one level, each at its own speed, and add them."""
        total = np.zeros(num_samples, np.float32)
        for _ in range(VOICES):
            speed = rng.uniform(*SPEEDS)
            voice = self.voices.draw(rng, max(BLOCK, int(num_samples * speed) + 2))
            played = np.interp(np.arange(num_samples) * speed, np.arange(len(voice)), voice)
            total += (played / np.sqrt(active_power(voice) * VOICES)).astype(np.float32)
        return total


def open_noise(name: str, split: str | None = None) -> NoiseSource:
    """Find the noise of a name.

    Args:
        name: one of `KINDS`, a sound file, or a folder with sound files at any depth.
        split: of a folder, take only files whose name begins with ``<split>-`` or which lie in a
            folder of this name.

    Raises:
        DataError: if there is no such noise.
    """
    path = Path(name)
    if name in COLOURS:
        return ColouredNoise(name)
    if name in KINDS:
        material = "speech" if name == "babble" else name
        packaged = RecordedNoise(material, [packaged_testset() / "noise" / f"{material}.ogg"])
        return Babble(packaged) if name == "babble" else packaged
    if path.is_file():
        return RecordedNoise(path.stem, [path])
    if not path.is_dir():
        raise DataError(
            f"{name} is neither a file, nor a folder, nor a kind of noise",
            f"kinds: {', '.join(KINDS)}",
        )
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() in RECORDINGS | TRACKS)
    if split is not None:
        files = [
            file
            for file in files
            if file.name.startswith(f"{split}-") or split in file.relative_to(path).parts[:-1]
        ]
    if not files:
        where = f"{name}, split '{split}'," if split else name
        raise DataError(
            f"{where} holds no sound file", f"read are {', '.join(sorted(RECORDINGS | TRACKS))}"
        )
    return RecordedNoise(path.name, files)


@lru_cache(maxsize=64)
def _recording(path: Path) -> NDArray[np.float32]:
    waveform = read_soundtrack(path) if path.suffix.lower() in TRACKS else read_waveform(path)
    if not len(waveform):
        raise DataError(f"{path} is empty", "replace or remove the file")
    return waveform
