"""Pictures and sound that damage has taken out of a file, told by gaps in the time stamps."""

from pathlib import Path
from typing import NamedTuple, Protocol

CONSTANT = 0.9  # share of the pictures that come one step after the other at a constant rate
ALIKE = 0.1  # of a step; two steps that differ by less are alike


class Loss(NamedTuple):
    """Pictures or sound that are missing."""

    what: str  # with their number, or how long they last
    start: float  # seconds from the start of the file
    end: float  # seconds; what follows the last gap is there


class PictureGaps:
    """Counts pictures that are missing in a stream of constant rate.

    Args:
        step: seconds from one picture to the next.
    """

    def __init__(self, step: float) -> None:
        self._step = step
        self._seen = self._regular = self._missing = 0
        self._start, self._end = float("inf"), 0.0

    def add(self, time: float, following: float) -> None:
        """Add a picture, when it is shown and when the next one is, in seconds."""
        steps = (following - time) / self._step
        self._seen += 1
        self._regular += abs(steps - 1) < ALIKE
        if round(steps) > 1:
            self._missing += round(steps) - 1
            self._start = min(self._start, time + self._step)
            self._end = following

    def loss(self) -> Loss | None:
        """Return which are missing; None: none, or the rate is not constant and nobody knows."""
        if not self._missing or self._regular < CONSTANT * (self._seen - 1):
            return None
        told = f"{self._missing} of {self._seen + 1 + self._missing} pictures"
        return Loss(told, self._start, self._end)


class SoundGaps:
    """Adds up sound that is missing."""

    def __init__(self) -> None:
        self._missing = 0.0
        self._start, self._end = float("inf"), 0.0

    def add(self, time: float, following: float) -> None:
        """Add a gap: when the sound before it ends and when it goes on, in seconds."""
        self._missing += following - time
        self._start, self._end = min(self._start, time), following

    def loss(self) -> Loss | None:
        """Return the gap, None if there is none."""
        if not self._missing:
            return None
        return Loss(f"{self._missing:.1f} s of sound", self._start, self._end)


class Reader(Protocol):
    """What reads the pictures or the sound of a file."""

    path: Path
    kind: str  # in words

    @property
    def gaps(self) -> PictureGaps | SoundGaps:
        """What is missing."""
        ...

    @property
    def damaged(self) -> int:
        """How many packets could not be read or decoded."""
        ...

    @property
    def is_damaged(self) -> bool:
        """Whether gaps come of damage."""
        ...

    def problems(self) -> list[str]:
        """Describe other problems."""
        ...


def problems_of(*readers: Reader) -> list[str]:
    """Describe damage of files, as far as they have been read.

    Damage that hits the sound may hit the pictures, too: what is missing of a file is one line.
    """
    told = []
    for path in dict.fromkeys(reader.path for reader in readers):
        both = [reader for reader in readers if reader.path == path]
        losses = [reader.gaps.loss() for reader in both if any(one.is_damaged for one in both)]
        known = [loss for loss in losses if loss is not None]
        if known:
            start, end = min(loss.start for loss in known), max(loss.end for loss in known)
            what = " and ".join(loss.what for loss in known)
            told.append(
                f"{path}: skipped damage between {start:.1f} and {end:.1f} s: {what} are missing"
            )
        told += [
            f"{path}: skipped {reader.damaged} damaged {reader.kind} packets"
            for reader in both
            if reader.damaged and not known
        ]
    return told + [problem for reader in readers for problem in reader.problems()]
