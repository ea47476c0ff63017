"""Files opened and decoded as they go: their streams, and the pictures of a video as shown.

Picture and sound are read by two readers, each with its own open file and pulled as needed, so
that nothing piles up however badly a container interleaves its streams. All times are seconds
from the start of the file, the earliest time stamp of any of its streams.
"""

import math
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import av
import cv2
import numpy as np
from av.format import Flags
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

from avsegcli.device import is_memory_short, memory_limit
from avsegcli.errors import MediaError, OutOfMemoryError
from avsegcli.video.damage import PictureGaps
from avsegcli.video.deinterlace import deinterlace as deinterlaced
from avsegcli.video.deinterlace import is_top_field_first
from avsegcli.video.hdr import CURVES, ToneMapper
from avsegcli.video.joints import find_joints
from avsegcli.video.span import Span

MAX_READ_ERRORS = 16  # in a row, after which the rest of a file is given up
SOUND_JUMP_S = 0.05  # a time stamp this far off what the samples before it say is believed
ENDS_EARLY_S = 1.0  # shorter than announced by this much: worth telling
FINEST_TIME_BASE = 10_000_000  # ticks a second
COARSEST_TIME_BASE = Fraction(1, 20)  # seconds a tick; a held picture is asked about more often
OF_THE_FILE = {"major_brand", "minor_version", "compatible_brands", "encoder", "timecode"}
UNSPECIFIED = 2  # colour space of untagged video
HD_HEIGHT = 720  # from here on untagged video is taken to be ITU-R BT.709, as players do
ACCURATE = (  # conversion of RGB, as FFmpeg's `accurate_rnd+full_chroma_inp+full_chroma_int`
    Interpolation.BICUBIC
    | Interpolation.ACCURATE_RND
    | Interpolation.FULL_CHR_H_INP
    | Interpolation.FULL_CHR_H_INT
)
PREROLL_S = 2  # seconds that are read before the start of a part; decoders have settled by then
SLIVER_S = 0.04  # seconds; a picture of which less than half of that is asked for is left out
RESYNCING = frozenset(
    {"matroska,webm", "flv"}
)  # formats that go on after damage as if nothing were
LONGEST_HEADER = 256  # bytes between two packets
BLACK = (16, 128, 128)  # Y, U, V


def open_media(path: Path) -> Any:
    """Open a media file for reading.

    Raises:
        MediaError: if there is no such file, or none that can be read as a media file.
    """
    try:
        size = path.stat().st_size
    except FileNotFoundError as error:
        raise MediaError(f"no such file: {path}", _suggest_name(path)) from error
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
    except MemoryError:  # of FFmpeg, too
        raise
    except av.FFmpegError as error:
        if is_memory_short():
            raise OutOfMemoryError(memory_limit()) from error
        raise MediaError(
            f"{path} is not a video that can be read",
            "It may be damaged, cut off, or another kind of file; does a player open it?",
        ) from error


def _suggest_name(path: Path) -> str:
    """Say what to do about a name that no file has."""
    with suppress(RuntimeError):  # of a user who has no home
        meant = Path(str(path).strip().strip("'\"").strip()).expanduser()
        if meant != path and meant.is_file():
            return f"There is a file {meant}: its name is written without quotes, spaces and ~."
    return "Check the name and the folder."


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
    """Source of the sound of a video: its own file, or another one."""

    path: Path
    number: int | None = None  # of the sound stream, from 1 on; None: the one a player chooses
    span: Span = Span()  # the part that is asked for; time counts from its start

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
    """Reads and decodes one stream to its end, past whatever is damaged.

    Where time stamps jump, as those of joined recordings do, what follows is moved: see `joints`.

    Args:
        container: an open file.
        stream: one of its streams.
        others: more of them, whose packets are read, too.
    """

    def __init__(self, container: Any, stream: Any, *others: Any) -> None:
        self.damaged = 0  # packets that could not be read or decoded
        self.joints = find_joints(container)
        self._container = container
        self._stream = stream
        self._position = 0  # byte in the file of the last packet
        self._incomplete = False  # the file says that of a packet
        # In these, damage is jumped over without a word: bytes that no packet accounts for tell.
        resyncs = container.format.name in RESYNCING
        self._wanted = {one.index for one in (stream, *others)}
        self._streams = [one for one in container.streams if resyncs or one.index in self._wanted]
        self._jumped_over = False
        self._read_to: int | None = None  # byte in the file

    @property
    def is_damaged(self) -> bool:
        """Whether something of the stream, as far as it has been read, seems to be damaged."""
        return self.damaged > 0 or self._incomplete or self._jumped_over

    def go_to(self, time: Fraction) -> None:
        """Skip what is shortly before a time, if the file can be entered there for certain.

        Args:
            time: seconds, as the time stamps count.
        """
        if time <= 0 or self.joints or self._container.format.flags & Flags.generic_index.value:
            return
        ticks = round((time - PREROLL_S) / self._stream.time_base)
        begin = start_in(self._container, self._stream.time_base)
        if ticks <= begin:
            return
        with suppress(av.FFmpegError):
            self._container.seek(ticks, stream=self._stream)
            first = next(self._container.demux(self._stream), None)
            found = first is not None and first.dts is not None and first.dts <= ticks
            self._container.seek(ticks if found else begin, stream=self._stream)

    def packets(self) -> Iterator[Any]:
        """Yield the packets of the stream and of the others, an empty one of each last."""
        errors = 0
        while errors < MAX_READ_ERRORS:
            try:
                for packet in self._container.demux(self._streams):
                    errors = 0
                    self._account_for(packet)
                    if packet.stream_index in self._wanted:
                        self._incomplete |= packet.is_corrupt
                        yield self._moved(packet) if self.joints else packet
                return
            except MemoryError:  # of FFmpeg, too
                raise
            except av.FFmpegError:
                errors += 1
                self.damaged += errors == 1

    def _account_for(self, packet: Any) -> None:
        if packet.pos is not None and len(self._streams) > len(self._wanted):
            if self._read_to is not None and packet.pos - self._read_to > LONGEST_HEADER:
                self._jumped_over = True
            self._read_to = packet.pos + packet.size

    def _moved(self, packet: Any) -> Any:
        """Move a packet that comes after a jump of the time stamps."""
        self._position = packet.pos or self._position  # several may come out of one
        offset = self.joints.offset(packet.stream_index, self._position)
        ticks = round(offset / packet.time_base)
        if packet.dts is not None:
            packet.dts += ticks
        if packet.pts is not None:
            packet.pts += ticks
        return packet

    def __iter__(self) -> Iterator[Any]:
        """Yield the decoded frames in the order of presentation."""
        for packet in self.packets():
            yield from self.decode(packet, self._stream)
        yield from self.decode(None, self._stream)

    def decode(self, packet: Any | None, stream: Any) -> list[Any]:
        """Decode one packet of a stream, None after the last one; none come of a damaged one."""
        try:
            return list(stream.codec_context.decode(packet))
        except EOFError:  # flushed before
            return []
        except (MemoryError, av.BlockingIOError) as error:  # of FFmpeg, too; no thread to decode in
            raise OutOfMemoryError(memory_limit()) from error
        except av.FFmpegError as error:
            if is_memory_short():
                raise OutOfMemoryError(memory_limit()) from error
            self.damaged += 1
            return []


class Orientation(NamedTuple):
    """Orientation of a stored picture: transposed first, then flipped."""

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


def letterbox(frame: Any, width: int, height: int, stretch: Fraction = Fraction(1)) -> Any:
    """Fit a yuv420p frame into another size between black bars.

    Args:
        frame: it is not drawn on.
        width: of the result, in pixels.
        height: of the result, in pixels.
        stretch: how many times wider the pixels of the frame are than those of the result.
    """
    shown_width = frame.width * stretch
    scale = min(width / shown_width, Fraction(height, frame.height))
    # Halved chroma wants even places.
    inner = [max(2, 2 * round(side * scale / 2)) for side in (shown_width, frame.height)]
    inner = [min(inner[0], width), min(inner[1], height)]
    fitted = frame.reformat(*inner, interpolation=Interpolation.BICUBIC)
    boxed = av.VideoFrame(width, height, "yuv420p")
    left, top = (width - inner[0]) // 4 * 2, (height - inner[1]) // 4 * 2
    for source, target, black in zip(planes_of(fitted), planes_of(boxed), BLACK, strict=True):
        step = 1 if black == BLACK[0] else 2
        target[:] = black
        target[top // step :, left // step :][: source.shape[0], : source.shape[1]] = source
    boxed.pts, boxed.time_base, boxed.duration = frame.pts, frame.time_base, frame.duration
    boxed.colorspace, boxed.color_range = frame.colorspace, frame.color_range
    return boxed


class VideoReader:
    """The pictures of a video file, as they are shown.

    A picture of another size than the first one is fitted into that between black bars.

    Args:
        path: a file that FFmpeg can read.
        span: the part of it that is asked for; all times count from its start.
        deinterlace: make one picture of the two half pictures of an interlaced frame.

    Raises:
        MediaError: if it is not a readable video, none of its pictures can be decoded, or it ends
            before the part that is asked for; so does the iteration.
    """

    kind = "video"
    path: Path
    width: int  # pixels, as shown
    height: int
    rate: Fraction  # frames a second, exact; of a variable rate the mean
    time_base: Fraction  # seconds; unit of the frames' time stamps
    duration: float | None  # seconds, as announced, in the span; None if the file does not say
    sample_aspect_ratio: Fraction  # width / height of a pixel, as shown
    has_sound: bool  # whether the file has sound, too
    top_field_first: bool | None  # of frames that are interlaced and stay so; None: they are not
    metadata: dict[str, str]  # title, artist and so on, but not how the file was made
    chapters: list[dict[str, Any]]  # as PyAV has them

    def __init__(self, path: Path, *, span: Span = Span(), deinterlace: bool = True) -> None:  # noqa: B008
        self.path = path
        self.span = span
        self._container = open_media(path)
        stream = best_stream(self._container, "video")
        if stream is None:
            raise MediaError(
                f"{path} has no picture", "Give a video, or a picture and --audio FILE."
            )
        stream.thread_type = "AUTO"
        self._stream = stream
        self._decoder = StreamDecoder(self._container, self._stream)
        start = Fraction(self._container.start_time or 0, av.time_base)
        self._decoder.go_to(start + span.start if span.start else Fraction(0))
        self._decoded = iter(self._decoder)
        first = next(self._decoded, None)
        if first is None:
            raise MediaError(
                f"no picture of {path} can be decoded",
                "It may be damaged, cut off, or of a kind that is not known (animated WebP).",
            )
        frames = chain([first], self._decoded)
        self._pending: Iterator[Any] = deinterlaced(frames) if deinterlace else frames
        is_interlaced = first.interlaced_frame and not deinterlace
        self.top_field_first = is_top_field_first(first) if is_interlaced else None
        self._orientation = Orientation.of(first)
        self._first_size = self._stored_size = first.width, first.height
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
        self._tone_mapper = ToneMapper() if self.color_trc in CURVES else None
        if self._tone_mapper is not None:
            self.colorspace = Colorspace.ITU709
            self.color_trc, self.color_primaries = ColorTrc.BT709, ColorPrimaries.BT709
        self.rate = stream.average_rate or stream.guessed_rate or stream.base_rate or Fraction(25)
        self.time_base = self._time_base(stream.time_base)
        self._announced = self._announced_duration()
        self.duration = None if self._announced is None else span.clip(self._announced)
        if self.duration is not None and self.duration <= 0:
            raise self._too_short(self._announced or 0)
        self.has_sound = best_stream(self._container, "audio") is not None
        written = self._container.metadata.items()
        self.metadata = {key: text for key, text in written if key.lower() not in OF_THE_FILE}
        chapters = [self._from_start(chapter) for chapter in self._container.chapters()]
        self.chapters = [chapter for chapter in chapters if chapter["start"] < chapter["end"]]
        self._end = 0.0  # seconds; of what has been read
        self.gaps = PictureGaps(float(1 / self.rate))
        self._left_out = 0  # pictures that do not come after the one before
        self._new_size: tuple[int, int, float] | None = None  # the first other one; seconds
        self._to_yuv = VideoReformatter()
        self._to_rgb = VideoReformatter()

    def _too_short(self, seconds: float) -> MediaError:
        return MediaError(
            f"{self.path} ends after {seconds:.1f} s, before the start that is asked for, "
            f"{float(self.span.start):g} s",
            "Give an earlier --start.",
        )

    def _from_start(self, chapter: dict[str, Any]) -> dict[str, Any]:
        """Count the times of a chapter from the start of the span, within it."""
        unit = chapter["time_base"]
        start = start_in(self._container, unit) + round(self.span.start / unit)
        last = math.inf if self.span.end is None else round(self.span.end / unit)
        last -= round(self.span.start / unit)
        return {
            **chapter,
            "start": max(0, chapter["start"] - start),
            "end": max(0, min(chapter["end"] - start, last)),
        }

    def _time_base(self, stored: Fraction) -> Fraction:
        """Return a unit in which both the stored time stamps and the exact rate can be written.

        Matroska, WebM and FLV round time stamps to milliseconds: 29.97 frames a second do not
        survive that, though the file names the rate. `frames` puts such time stamps back.
        """
        if stored > COARSEST_TIME_BASE:
            stored /= math.ceil(stored / COARSEST_TIME_BASE)
        ticks = math.lcm(stored.denominator, self.rate.numerator)
        finer = Fraction(1, ticks)
        self._frame_ticks = 1 / (self.rate * finer)
        rounded = (1 / (self.rate * stored)).denominator > 1
        if not rounded or ticks > FINEST_TIME_BASE or self._frame_ticks.denominator > 1:
            self._frame_ticks = Fraction(0)
            return stored
        return finer

    def _announced_duration(self) -> float | None:
        if self._decoder.joints:
            return (
                float(self._decoder.joints.end) - (self._container.start_time or 0) / av.time_base
            )
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

        Time stamps count from the start of the span in `time_base`. Their colour space is that
        in which players show them, also where the file has no tag: `to_ndarray("rgb24")` gives
        the right colours; high dynamic range has become an ordinary one. The frames may belong to
        the decoder: `copy_of` one before drawing on it. They can be read once.
        """
        start = round(self.span.start / self.time_base)
        end = math.inf if self.span.end is None else round(self.span.end / self.time_base)
        shown_before = False
        for decoded, pts, duration in self._timed():
            if pts >= end:
                break
            visible = min(pts + duration, end) - max(pts, start)
            if visible < min(duration, SLIVER_S / self.time_base) / 2:
                continue
            if self._new_size is None and (decoded.width, decoded.height) != self._first_size:
                self._new_size = decoded.width, decoded.height, float(pts * self.time_base)
            frame = self._upright(decoded)
            begin = pts - start if shown_before or not start else 0
            shown_before = True
            frame.pts, frame.time_base = begin, self.time_base
            frame.duration = min(pts + duration, end) - start - begin
            yield frame
        if not shown_before:
            raise self._too_short(self._end)

    def _timed(self) -> Iterator[tuple[Any, int, int]]:
        """Yield the decoded frames, when and how long they are shown, in `time_base`.

        Time counts from the start of the file.
        """
        stored_base = self._stream.time_base
        step = max(1, round(1 / (self.rate * self.time_base)))
        held: tuple[Any, int, int] | None = None  # until the next one tells how long it is shown
        for (decoded, pts), (_, following) in pairwise(chain(self._stamped(), [(None, None)])):
            expected = 0 if held is None else held[1] + step
            if pts is None:
                pts = expected
            elif held is not None and following is not None and expected < following <= pts:
                pts = expected  # a slip: the next one is back in line
            if held is not None:
                before, begin, _ = held
                if pts <= begin:
                    self._left_out += 1
                    continue  # a damaged time stamp, or the same picture twice
                self._add_step(float(begin * self.time_base), float(pts * self.time_base))
                yield before, begin, pts - begin
            shown = self._snap_to_frame_rate((decoded.duration or 0) * stored_base) or step
            held = decoded, pts, shown
            self._end = float((pts + shown) * self.time_base)
        if held is not None:
            yield held

    def _add_step(self, time: float, following: float) -> None:
        start = (self._container.start_time or 0) / av.time_base
        if not self._decoder.joints.lie_within(start + time, start + following):
            self.gaps.add(time, following)

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
        if decoded.format.name != "yuv420p" or decoded.color_range == ColorRange.JPEG:
            in_rgb = decoded.format.is_rgb or decoded.format.has_palette
            decoded = self._to_yuv.reformat(
                decoded,
                format="yuv420p",
                interpolation=ACCURATE if in_rgb else Interpolation.BILINEAR,
                dst_colorspace=self.colorspace if in_rgb else None,
                dst_color_range=ColorRange.MPEG,
            )
            if in_rgb:
                decoded.colorspace = self.colorspace
        if (decoded.width, decoded.height) != self._stored_size:
            decoded = self._fitted(decoded)
        if self._untagged_hd:
            decoded.colorspace = Colorspace.ITU709
        if self._orientation == Orientation():
            return decoded
        return copy_of(decoded, self._orientation)

    def _fitted(self, frame: Any) -> Any:
        shape = self._stream.codec_context.sample_aspect_ratio or Fraction(1)
        before = self._stream.sample_aspect_ratio or Fraction(1)
        return letterbox(frame, *self._stored_size, shape / before)

    def rgb(self, frame: Any) -> NDArray[np.uint8]:
        """Convert one of this video's frames to RGB with square pixels, ``(H, W, 3)``."""
        width = max(1, round(frame.width * float(self.sample_aspect_ratio)))
        return np.asarray(
            self._to_rgb.reformat(frame, width, format="rgb24").to_ndarray(), np.uint8
        )

    @property
    def damaged(self) -> int:
        """How many packets could not be read or decoded so far."""
        return self._decoder.damaged

    @property
    def is_damaged(self) -> bool:
        """Whether gaps come of damage."""
        return self._decoder.is_damaged

    def problems(self) -> list[str]:
        """Describe problems of the file, as far as it has been read, but for damage."""
        found = []
        if self._left_out / self.rate > ENDS_EARLY_S:
            found.append(
                f"{self.path}: left out {self._left_out} pictures whose time stamps go back, "
                "as those of files that were only joined do"
            )
        if self._decoder.joints:
            start = (self._container.start_time or 0) / av.time_base
            found.append(f"{self.path}: {self._decoder.joints.told(start)}")
        if self._new_size is not None:
            width, height, time = self._new_size
            found.append(
                f"{self.path}: the size of the picture changes at {time:.1f} s from "
                f"{self._first_size[0]} x {self._first_size[1]} to {width} x {height}; it is "
                "fitted into the first one between black bars"
            )
        wanted = self.span.end or math.inf
        if self._announced is not None and self._end < min(self._announced, wanted) - ENDS_EARLY_S:
            found.append(
                f"{self.path} ends early, after {self._end:.1f} of {self._announced:.1f} seconds"
            )
        return found

    def close(self) -> None:
        """Close the file."""
        self._container.close()
