"""Places where the time stamps of a file jump, as those of joined recordings do.

MPEG transport and program streams carry the clock of whoever recorded them. Where two recordings
were joined, or a recorder began anew, it jumps by minutes or hours, forward or back. What comes
after such a joint is moved so that it follows what was before, by the same for picture and sound.
"""

from bisect import bisect_right
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from typing import Any, NamedTuple

import av
from av.format import Flags

JOINT_S = 1.0  # seconds; picture and sound do not end at the same time
LONGEST_GAP_S = 10  # as FFmpeg's dts_delta_threshold; a longer step is no gap but a jump


class _Step(NamedTuple):
    """How one stream passes a joint."""

    position: int  # byte in the file of its first packet after it
    moved: Fraction  # seconds that make that packet follow the one before it
    before: int  # number of joints that it had passed


@dataclass
class _Joint:
    raw: Fraction  # seconds; the first time stamp after it
    jump: Fraction  # seconds, from the time stamp that was expected
    time: Fraction  # seconds; that time stamp
    steps: dict[int, _Step] = field(default_factory=dict)  # by the index of the stream

    def position(self, stream: int) -> int:
        """Return the byte at which a stream passes it."""
        steps = self.steps
        chosen = [steps[stream]] if stream in steps else steps.values()
        return min(step.position for step in chosen)


class Joints:
    """The joints of one file, and how what follows them is moved.

    Args:
        joints: in the order of the file.
        end: seconds; the last time stamp of the file after the last joint, 0 if there is no joint.
    """

    def __init__(self, joints: list[_Joint] | None = None, end: Fraction = Fraction(0)) -> None:
        self._joints = joints or []
        self._offsets = [Fraction(0)]
        for joint in self._joints:
            self._offsets.append(
                max(step.moved + self._offsets[step.before] for step in joint.steps.values())
            )
        self._positions: dict[int, list[int]] = {}  # of the joints, for each stream
        self.end = end + self._offsets[-1]  # seconds; of the moved time stamps

    def __bool__(self) -> bool:
        """Tell whether there are any."""
        return bool(self._joints)

    def offset(self, stream: int, position: int) -> Fraction:
        """Return by how many seconds a packet of a stream is moved, by its place in the file."""
        if stream not in self._positions:
            self._positions[stream] = [joint.position(stream) for joint in self._joints]
        return self._offsets[bisect_right(self._positions[stream], position)]

    def lie_within(self, start: float, end: float) -> bool:
        """Tell whether a gap, in seconds of the moved time stamps, comes of one, not of damage."""
        times = (
            joint.time + min(self._offsets[step.before] for step in joint.steps.values())
            for joint in self._joints
        )
        return any(start - JOINT_S < time < end + JOINT_S for time in times)

    def told(self, start: float) -> str:
        """Say where the time stamps jump, and by how much; a file starts at `start` seconds."""
        first = self._joints[0]
        more = f", and {len(self._joints) - 1} times more" if len(self._joints) > 1 else ""
        return (
            f"the time stamps jump by {float(first.jump):+.1f} s at "
            f"{float(first.time) - start:.1f} s{more}, as those of joined recordings do; what "
            "follows is moved to where it belongs"
        )


def find_joints(container: Any) -> Joints:
    """Look through a file for jumps of its time stamps; once for each file.

    Args:
        container: an open file; it is not read. Only of formats that allow jumps a second one is
            opened and read to its end.
    """
    if not container.format.flags & Flags.ts_discont.value:
        return Joints()
    return _find_joints(container.name, container.size)


@lru_cache(maxsize=8)
def _find_joints(name: str, _size: int) -> Joints:
    joints: list[_Joint] = []
    ends: dict[int, Fraction] = {}  # seconds; of the last packet of each stream
    passed: defaultdict[int, int] = defaultdict(int)  # joints, by each stream
    with av.open(name, metadata_errors="replace") as container, suppress(av.FFmpegError):
        streams = [*container.streams.video, *container.streams.audio]
        positions = dict.fromkeys((stream.index for stream in streams), 0)
        for packet in container.demux(streams):
            if packet.dts is None:
                continue
            stream = packet.stream_index
            positions[stream] = packet.pos or positions[stream]
            raw = packet.dts * packet.time_base
            expected = ends.get(stream, raw)
            if abs(raw - expected) > LONGEST_GAP_S:
                number = passed[stream]
                while number < len(joints) and abs(raw - joints[number].raw) > LONGEST_GAP_S:
                    number += 1
                if number == len(joints):
                    joints.append(_Joint(raw, raw - expected, expected))
                step = _Step(positions[stream], expected - raw, passed[stream])
                joints[number].steps[stream] = step
                passed[stream] = number + 1
            ends[stream] = raw + (packet.duration or 0) * packet.time_base
    if not joints:
        return Joints()
    return Joints(joints, max(ends[one] for one in ends if passed[one] == len(joints)))
