"""Files opened and decoded as they go: their streams, and the pictures of a video as shown.

Picture and sound are read by two readers, each with its own open file and pulled as needed, so
that nothing piles up however badly a container interleaves its streams. All times are seconds
from the start of the file, the earliest time stamp of any of its streams.
"""

import math
from collections.abc import Iterator
from fractions import Fraction
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import av
import cv2
import numpy as np
from av.sidedata.sidedata import Type as SideDataType
from av.video.reformatter import (
    ColorPrimaries,
    ColorRange,
    Colorspace,
    ColorTrc,
    Interpolation,
    VideoReformatter,
)
from numpy.typing import NDArray

from avsegcli.errors import MediaError
from avsegcli.video.hdr import CURVES, ToneMapper

MAX_READ_ERRORS = 16  # in a row, after which the rest of a file is given up
SOUND_JUMP_S = 0.05  # a time stamp this far off what the samples before it say is believed
ENDS_EARLY_S = 1.0  # shorter than announced by this much: worth telling
FINEST_TIME_BASE = 10_000_000  # ticks a second
OF_THE_FILE = {"major_brand", "minor_version", "compatible_brands", "encoder", "timecode"}
UNSPECIFIED = 2  # colour space of untagged video
HD_HEIGHT = 720  # from here on untagged video is taken to be ITU-R BT.709, as players do


def open_media(path: Path) -> Any:
    """Open a media file for reading.

    Raises:
        MediaError: if there is no such file, or none that can be read as a media file.
    """
    try:
        size = path.stat().st_size
    except FileNotFoundError as error:
        raise MediaError(f"no such file: {path}", "Check the name and the folder.") from error
    except OSError as error:
        raise MediaError(f"cannot read {path}: {error.strerror}") from error
    if path.is_dir():
        raise MediaError(f"{path} is a folder, not a video", "Name a file.")
    if not path.is_file():
        raise MediaError(f"{path} is a pipe or a device, not a file", "Save it as a file first.")
    if size == 0:
        raise MediaError(f"{path} is empty (0 bytes)", "Copy or download it again.")
    try:
        return av.open(f"file:{path}", metadata_errors="replace")
    except PermissionError as error:
        raise MediaError(f"cannot read {path}: permission denied") from error
    except av.FFmpegError as error:
        raise MediaError(
            f"{path} is not a video that can be read",
            "It may be damaged, cut off, or another kind of file; does a player open it?",
        ) from error


def start_in(container: Any, time_base: Fraction) -> int:
    """Return the start of a file, the earliest time stamp of its streams, in `time_base`."""
    return round(Fraction(container.start_time or 0, av.time_base) / time_base)


def best_stream(container: Any, kind: str) -> Any | None:
    """Return the stream that a player would choose, or None; cover pictures do not count.

    Of several programs, as television has, the sound is that of the picture's.

    Args:
        container: an open file.
        kind: "video" or "audio".
    """
    streams = [
        stream
        for stream in getattr(container.streams, kind)
        if stream.codec_context is not None  # None: FFmpeg has no decoder for it
        and not stream.disposition & av.stream.Disposition.attached_pic
    ]
    picture = best_stream(container, "video") if kind == "audio" else None
    best = container.streams.best(kind, related=picture)
    return best if best in streams else next(iter(streams), None)


class SoundTrack(NamedTuple):
    """Where the sound of a video comes from: its own file, or another one."""

    path: Path
    number: int | None = None  # of the sound stream, from 1 on; None: the one a player chooses

    def stream_in(self, container: Any) -> Any:
        """Return the stream in an open file.

        Raises:
            MediaError: if there is no such stream.
        """
        if self.number is None:
            stream = best_stream(container, "audio")
            if stream is None:
                raise MediaError(
                    f"{self.path} has no sound", "--audio FILE takes that of a file that has."
                )
            return stream
        streams = container.streams.audio
        if not 1 <= self.number <= len(streams):
            raise MediaError(
                f"{self.path} has no sound stream {self.number}",
                f"It has {len(streams)}; the first is 1.",
            )
        stream = streams[self.number - 1]
        if stream.codec_context is None:
            raise MediaError(f"sound stream {self.number} of {self.path} has an unknown codec")
        return stream


class StreamDecoder:
    """Reads and decodes one stream to its end, past whatever is damaged."""

    def __init__(self, container: Any, stream: Any) -> None:
        self.damaged = 0  # packets that could not be read or decoded
        self._container = container
        self._stream = stream

    def packets(self) -> Iterator[Any]:
        """Yield the packets of the stream, an empty one last."""
        errors = 0
        while errors < MAX_READ_ERRORS:
            try:
                for packet in self._container.demux(self._stream):
                    errors = 0
                    yield packet
                return
            except av.FFmpegError:
                errors += 1
                self.damaged += errors == 1

    def __iter__(self) -> Iterator[Any]:
        """Yield the decoded frames in the order of presentation."""
        for packet in self.packets():
            yield from self._decode(packet)
        yield from self._decode(None)

    def _decode(self, packet: Any | None) -> list[Any]:
        try:
            return list(self._stream.codec_context.decode(packet))
        except EOFError:  # flushed before
            return []
        except av.FFmpegError:
            self.damaged += 1
            return []


class Orientation(NamedTuple):
    """How a stored picture is turned to be shown: transposed first, then flipped."""

    transposed: bool = False
    flip_x: bool = False
    flip_y: bool = False

    @classmethod
    def of(cls, frame: Any) -> "Orientation":
        """Read the display matrix of a decoded frame; multiples of 90 degrees and mirroring."""
        try:
            side_datas = list(frame.side_data)
        except ValueError:  # PyAV knows no Exif, which photos carry; the angle it can tell
            return cls._turned_by(frame.rotation)
        for side_data in side_datas:
            if side_data.type == SideDataType.DISPLAYMATRIX:
                # Shown x = a x + c y, shown y = b x + d y (x right, y down).
                a, b, _, c, d = np.frombuffer(side_data, np.int32)[:5].tolist()
                if abs(a) + abs(d) >= abs(b) + abs(c):
                    return cls(False, a < 0, d < 0)
                return cls(True, c < 0, b < 0)
        return cls()

    @classmethod
    def _turned_by(cls, degrees: int) -> "Orientation":
        """Turn counter-clockwise by a multiple of 90 degrees."""
        return {
            0: cls(),
            90: cls(True, False, True),
            180: cls(False, True, True),
            270: cls(True, True, False),
        }.get(degrees % 360, cls())

    def apply(self, plane: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Turn one plane, ``(H, W)``, to ``(H, W)`` or ``(W, H)``."""
        if self.transposed:
            plane = np.asarray(cv2.transpose(plane), np.uint8)
        return plane[:: -1 if self.flip_y else 1, :: -1 if self.flip_x else 1]


def planes_of(frame: Any) -> list[NDArray[np.uint8]]:
    """View the planes Y, U, V of a yuv420p frame as arrays, ``(H, W)`` and twice ``(H/2, W/2)``.

    The arrays share the memory of the frame. A frame that came out of a decoder may still serve
    that decoder as a reference: draw on a `copy_of` it only.
    """
    return [
        np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width]
        for plane in frame.planes
    ]


def copy_of(frame: Any, orientation: Orientation = Orientation()) -> Any:  # noqa: B008
    """Copy a yuv420p frame, turned by `orientation`, into memory that may be drawn on."""
    width, height = frame.width, frame.height
    if orientation.transposed:
        width, height = height, width
    copy = av.VideoFrame(width, height, "yuv420p")
    for source, target in zip(planes_of(frame), planes_of(copy), strict=True):
        target[:] = orientation.apply(source)
    copy.pts, copy.time_base, copy.duration = frame.pts, frame.time_base, frame.duration
    copy.colorspace, copy.color_range = frame.colorspace, frame.color_range
    return copy


class VideoReader:
    """The pictures of a video file, as they are shown.

    Args:
        path: a file that FFmpeg can read.

    Raises:
        MediaError: if it is not a readable video, or none of its pictures can be decoded.
    """

    path: Path
    width: int  # pixels, as shown
    height: int
    rate: Fraction  # frames a second, exact; of a variable rate the mean
    time_base: Fraction  # seconds; unit of the frames' time stamps
    duration: float | None  # seconds, as announced; None if the file does not say
    sample_aspect_ratio: Fraction  # width / height of a pixel, as shown
    has_sound: bool  # whether the file has sound, too
    metadata: dict[str, str]  # title, artist and so on, but not how the file was made
    chapters: list[dict[str, Any]]  # as PyAV has them

    def __init__(self, path: Path) -> None:
        self.path = path
        self._container = open_media(path)
        stream = best_stream(self._container, "video")
        if stream is None:
            raise MediaError(
                f"{path} has no picture", "Give a video, or a picture and --audio FILE."
            )
        stream.thread_type = "AUTO"
        self._stream = stream
        self._decoder = StreamDecoder(self._container, self._stream)
        self._decoded = iter(self._decoder)
        first = next(self._decoded, None)
        if first is None:
            raise MediaError(
                f"no picture of {path} can be decoded",
                "It may be damaged, cut off, or of a kind that is not known (animated WebP).",
            )
        self._pending: Iterator[Any] = chain([first], self._decoded)
        self._orientation = Orientation.of(first)
        self._stored_size = first.width, first.height
        self.width, self.height = self._stored_size
        self.sample_aspect_ratio = self._stream.sample_aspect_ratio or Fraction(1)
        if self._orientation.transposed:
            self.width, self.height = self.height, self.width
            self.sample_aspect_ratio = 1 / self.sample_aspect_ratio
        in_rgb = first.format.is_rgb or first.format.has_palette
        self.colorspace = Colorspace.ITU601 if in_rgb else first.colorspace
        self._untagged_hd = self.colorspace == UNSPECIFIED and self.height >= HD_HEIGHT
        self._in_rgb = in_rgb
        self.color_trc = first.color_trc
        self.color_primaries = first.color_primaries
        self._tone_mapper = ToneMapper(first) if self.color_trc in CURVES else None
        if self._tone_mapper is not None:
            self.colorspace = Colorspace.ITU709
            self.color_trc, self.color_primaries = ColorTrc.BT709, ColorPrimaries.BT709
        self.rate = stream.average_rate or stream.guessed_rate or stream.base_rate or Fraction(25)
        self.time_base = self._time_base(stream.time_base)
        self.duration = self._announced_duration()
        self.has_sound = best_stream(self._container, "audio") is not None
        written = self._container.metadata.items()
        self.metadata = {key: text for key, text in written if key.lower() not in OF_THE_FILE}
        self.chapters = [self._from_start(chapter) for chapter in self._container.chapters()]
        self._end = 0.0  # seconds; of what has been read
        self._left_out = 0  # pictures that do not come after the one before
        self._to_yuv = VideoReformatter()
        self._to_rgb = VideoReformatter()

    def _from_start(self, chapter: dict[str, Any]) -> dict[str, Any]:
        """Count the times of a chapter from the start of the file."""
        start = start_in(self._container, chapter["time_base"])
        return {
            **chapter,
            "start": max(0, chapter["start"] - start),
            "end": max(0, chapter["end"] - start),
        }

    def _time_base(self, stored: Fraction) -> Fraction:
        """Return a unit in which both the stored time stamps and the exact rate can be written.

        Matroska, WebM and FLV round time stamps to milliseconds: 29.97 frames a second do not
        survive that, though the file names the rate. `frames` puts such time stamps back.
        """
        ticks = math.lcm(stored.denominator, self.rate.numerator)
        finer = Fraction(1, ticks)
        self._frame_ticks = 1 / (self.rate * finer)
        rounded = (1 / (self.rate * stored)).denominator > 1
        if not rounded or ticks > FINEST_TIME_BASE or self._frame_ticks.denominator > 1:
            self._frame_ticks = Fraction(0)
            return stored
        return finer

    def _announced_duration(self) -> float | None:
        if self._stream.duration:
            return float(self._stream.duration * self._stream.time_base)
        if self._container.duration:
            # Matroska says when it ends, not how long it is.
            matroska = self._container.format.name.startswith("matroska")
            before = (self._container.start_time or 0) if matroska else 0
            return float((self._container.duration - before) / av.time_base)
        return None

    def __iter__(self) -> Iterator[Any]:
        """Yield the frames: yuv420p, limited range, upright, one size, time stamps rising.

        Time stamps count from the start of the file in `time_base`. Their colour space is that
        in which players show them, also where the file has no tag: `to_ndarray("rgb24")` gives
        the right colours; high dynamic range has become an ordinary one. The frames may belong to
        the decoder: `copy_of` one before drawing on it. They can be read once.
        """
        stored_base = self._stream.time_base
        step = max(1, round(1 / (self.rate * self.time_base)))
        held: Any | None = None  # until the next one tells how long it is shown
        for (decoded, pts), (_, following) in pairwise(chain(self._stamped(), [(None, None)])):
            expected = 0 if held is None else held.pts + step
            if pts is None:
                pts = expected
            elif held is not None and following is not None and expected < following <= pts:
                pts = expected  # a slip: the next one is back in line
            if held is not None:
                if pts <= held.pts:
                    self._left_out += 1
                    continue  # a damaged time stamp, or the same picture twice
                held.duration = pts - held.pts
                yield held
            shown = self._snap_to_frame_rate((decoded.duration or 0) * stored_base) or step
            held = self._upright(decoded)
            held.pts, held.time_base, held.duration = pts, self.time_base, shown
            self._end = float((pts + shown) * self.time_base)
        if held is not None:
            yield held

    def _stamped(self) -> Iterator[tuple[Any, int | None]]:
        """Pair the decoded frames with their time stamps, in `time_base`, or with None.

        AVI and some others know the times of decoding only, and these are then given as times of
        presentation, too: with B-frames they go back and forth. As FFmpeg does, this takes the
        kind of time stamp that has gone back less often.
        """
        stored_base = self._stream.time_base
        start = start_in(self._container, stored_base)
        last, times_back = [-math.inf, -math.inf], [0, 0]  # of presentation, of decoding
        for decoded in self._pending:
            for kind, stamp in enumerate((decoded.pts, decoded.dts)):
                if stamp is not None:
                    times_back[kind] += stamp <= last[kind]
                    last[kind] = stamp
            of_decoding = times_back[0] > times_back[1] or decoded.pts is None
            stamp = decoded.dts if of_decoding else decoded.pts
            on_beat = (
                None if stamp is None else self._snap_to_frame_rate((stamp - start) * stored_base)
            )
            yield decoded, on_beat

    def _snap_to_frame_rate(self, time: Fraction) -> int:
        """Undo the rounding of a container: the tick of the exact rate next to `time`."""
        pts = round(time / self.time_base)
        if self._frame_ticks:
            beat = round(pts / self._frame_ticks) * self._frame_ticks
            if abs(beat - pts) * self.time_base <= self._stream.time_base / 2:
                return int(beat)
        return pts

    def _upright(self, decoded: Any) -> Any:
        if self._tone_mapper is not None:
            decoded = self._tone_mapper(decoded)
        plain = decoded.format.name == "yuv420p" and decoded.color_range != ColorRange.JPEG
        if not plain or (decoded.width, decoded.height) != self._stored_size:
            width, height = self._stored_size
            decoded = self._to_yuv.reformat(
                decoded, width, height, "yuv420p", dst_color_range=ColorRange.MPEG
            )
            if self._in_rgb:
                decoded.colorspace = self.colorspace
        if self._untagged_hd:
            decoded.colorspace = Colorspace.ITU709
        if self._orientation == Orientation():
            return decoded
        return copy_of(decoded, self._orientation)

    def small_rgb(self, frame: Any, longest: int) -> NDArray[np.uint8]:
        """Scale a frame down for the network.

        Args:
            frame: one of this video's frames.
            longest: pixels of the longer side; a smaller frame keeps its size.

        Returns:
            ``(h, w, 3)`` RGB with square pixels.
        """
        shown_width = frame.width * float(self.sample_aspect_ratio)
        scale = min(1.0, longest / max(shown_width, frame.height))
        small = self._to_rgb.reformat(
            frame,
            max(1, round(shown_width * scale)),
            max(1, round(frame.height * scale)),
            "rgb24",
            interpolation=Interpolation.AREA,
        )
        return np.asarray(small.to_ndarray(), np.uint8)

    def problems(self) -> list[str]:
        """Say in words what was wrong with the file, as far as it has been read."""
        found = []
        if self._decoder.damaged:
            found.append(f"{self.path}: skipped {self._decoder.damaged} damaged video packets")
        if self._left_out / self.rate > ENDS_EARLY_S:
            found.append(
                f"{self.path}: left out {self._left_out} pictures whose time stamps go back, "
                "as those of files that were only joined do"
            )
        if self.duration is not None and self._end < self.duration - ENDS_EARLY_S:
            found.append(
                f"{self.path} ends early, after {self._end:.1f} of {self.duration:.1f} seconds"
            )
        return found

    def close(self) -> None:
        """Close the file."""
        self._container.close()
