"""The part of a video that is asked for, by its start and end."""

import re
from fractions import Fraction
from typing import NamedTuple

from avsegcli.errors import ConfigError

CLOCK = re.compile(r"(?:(\d+):)?([0-5]?\d):([0-5]?\d(?:\.\d*)?)")
SECONDS = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(s|ms|us)?")
UNITS = {None: 1, "s": 1, "ms": 1000, "us": 1_000_000}  # a second


class Span(NamedTuple):
    """A part of a file, in seconds from its start."""

    start: Fraction = Fraction(0)
    end: Fraction | None = None  # None: that of the file

    @classmethod
    def of(cls, start: float | str | None, end: float | str | None) -> "Span":
        """Read times as a user gives them; None: start and end of the file.

        Raises:
            ConfigError: if one is not a time, or nothing lies between them.
        """
        begin = Fraction(0) if start is None else parse_time(start, "start")
        until = None if end is None else parse_time(end, "end")
        if until is not None and until <= begin:
            raise ConfigError(f"the end, {end}, does not come after the start, {start or 0}")
        return cls(begin, until)

    def clip(self, seconds: float) -> float:
        """Return how much of a file of a length, in seconds, lies in it; below 0: none."""
        end = seconds if self.end is None else min(seconds, float(self.end))
        return end - float(self.start)


def parse_time(given: float | str, name: str = "time") -> Fraction:
    """Read a time as FFmpeg takes it: [HH:]MM:SS[.m...], or seconds with s, ms, us or no unit.

    Args:
        given: seconds, or text.
        name: what it is, for the message.

    Returns:
        Seconds, exactly as written.

    Raises:
        ConfigError: if it is not a time from 0 on.

    Example:
        >>> [str(parse_time(text)) for text in ("1:30", "0:01:30.5", "90", "200ms", ".5")]
        ['90', '181/2', '90', '1/5', '1/2']
    """
    text = str(given).strip()
    if match := CLOCK.fullmatch(text):
        hours, minutes, seconds = match.groups(default="0")
        return 3600 * int(hours) + 60 * int(minutes) + Fraction(seconds)
    if match := SECONDS.fullmatch(text):
        number, unit = match.groups()
        return Fraction(number) / UNITS[unit]
    raise ConfigError(f"{name} must be a time, not '{given}'", "For example 1:30, 90 or 1500ms.")
