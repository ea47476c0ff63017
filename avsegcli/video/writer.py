"""Frames and the sound of a file to a video file."""

import math
import os
from collections.abc import Iterable
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import av
from av.codec.context import Flags
from av.video.reformatter import ColorRange

from avsegcli.errors import MediaError
from avsegcli.files.preflight import wrap_write_errors
from avsegcli.video.containers import Container, container_of
from avsegcli.video.deinterlace import flag_interlaced
from avsegcli.video.filters import FilterChain
from avsegcli.video.reader import SoundTrack, VideoReader
from avsegcli.video.stream_mux import StreamsOut

os.environ.setdefault("SVT_LOG", "1")  # SVT-AV1 would tell all about itself, not errors only

FULL_CHROMA = frozenset({"libx264", "libx265"})  # take odd sizes only so
TOP_FIRST, BOTTOM_FIRST = 2, 3  # FFmpeg's numbers of the order of fields
LARGE = 4096 * 2304  # pixels; of larger frames x264 would hold more than 2 GB to look ahead
HOLD_NO_FRAMES = {
    "tune": "zerolatency",
    "weightp": "0",
    "x264-params": "sliced-threads=0:threads=1",
}
TELL_SHAPE = frozenset({"h264", "hevc"})  # codecs that tell the shape of their pixels


class VideoWriter:
    """Writes the frames of one video, with the sound of a file, to another file.

    Size, exact frame rate, time stamps, pixel shape and colour tags are those of the video, and
    so are title, artist and what else its metadata say, chapters, more sound and subtitles.
    H.264 with halved chroma knows even sizes only: a video of odd width or height is written
    with full chroma (yuv444p), so that it keeps its size, at the price that some hardware
    players refuse it; VP9 (.webm) takes odd sizes as they are. Where a file cannot tell the shape
    of pixels (.webm; .mkv by the codec), they are made square. Matroska and WebM know no time
    below 0: where sound has a lead-in before it, as copied AAC has, picture and sound move by it.
    Sound of another file ends with the picture, that of the video itself may outlast it.

    Used as a context manager: the file is complete when the block ends without an error.

    Args:
        path: file to write; its suffix decides format and codecs, see `CONTAINERS`.
        video: the video that the frames come from.
        sound: the file whose sound goes with them.
        name: of the file in error messages, if `path` is a temporary one.
        container: what kind of file it is; None: what its suffix says.
        encoder: FFmpeg's name of the encoder and its options; None: those of the container.
        pix_fmt: what is encoded; None: the frames' yuv420p where the encoder takes their size.
        time_base: unit of the time stamps that are encoded, in seconds; None: that of the video.
        wide: the frames are this many times as wide as those of the video.
        others: more sound and subtitles of the video go into the file, as far as it takes them.

    Raises:
        MediaError: if the file cannot be written; so do the methods.
    """

    def __init__(
        self,
        path: Path,
        video: VideoReader,
        sound: Path | SoundTrack,
        *,
        name: Path | None = None,
        container: Container | None = None,
        encoder: tuple[str, dict[str, str]] | None = None,
        pix_fmt: str | None = None,
        time_base: Fraction | None = None,
        wide: int = 1,
        others: bool = True,
    ) -> None:
        self._name = name or path
        container = container or container_of(path)
        codec, options = encoder or container.video
        if codec == "libx264" and wide * video.width * video.height > LARGE:
            options = {**HOLD_NO_FRAMES, **options}
        with wrap_write_errors(self._name):
            self._output = _create(path, container)
        try:
            self._stream = self._output.add_stream(codec, rate=video.rate, options=options)
        except ValueError as error:
            raise MediaError(
                f"{self._name}: no {path.suffix} file holds what {codec} encodes",
                "Choose another encoder, or another suffix.",
            ) from error
        self._stream.time_base = video.time_base
        context = self._stream.codec_context
        shape = video.sample_aspect_ratio
        context.width, context.height = wide * video.width, video.height
        if shape != 1 and not (
            container.muxer in ("mp4", "mov") or context.codec.canonical_name in TELL_SHAPE
        ):  # PyAV cannot put it into Matroska's own fields
            context.width, shape = 2 * max(1, round(context.width * shape / 2)), Fraction(1)
        odd = context.width % 2 or video.height % 2
        context.pix_fmt = pix_fmt or ("yuv444p" if odd and codec in FULL_CHROMA else "yuv420p")
        context.time_base = time_base or video.time_base
        context.sample_aspect_ratio = shape
        context.colorspace, context.color_trc = video.colorspace, video.color_trc
        context.color_primaries, context.color_range = video.color_primaries, ColorRange.MPEG
        context.thread_type = "AUTO"  # PyAV's default, slices, makes x264 slow and its files big
        context.flags |= Flags.frame_duration  # else the last frame is shown for a guessed time
        track = SoundTrack(sound) if isinstance(sound, Path) else sound
        self._others = StreamsOut(
            track, video.path, self._output, container, name=self._name, others=others
        )
        self._output.metadata.update(video.metadata)
        self._output.set_chapters(video.chapters)
        self._top_field_first = video.top_field_first
        self._flagged: FilterChain | None = None
        if video.top_field_first is not None:
            context.flags |= Flags.interlaced_dct | Flags.interlaced_me
            context.field_order = TOP_FIRST if video.top_field_first else BOTTOM_FIRST
        self._unit = time_base
        self._tick = -1  # in that unit, of the last frame
        self._end = 0.0  # seconds, of the last frame

    def write(self, frame: Any) -> None:
        """Append one frame, yuv420p, with its time stamp.

        It is left out if the encoder's time stamps are too coarse to tell it from the one before.
        """
        if self._unit is not None:
            tick = math.floor(frame.pts * frame.time_base / self._unit + Fraction(1, 2))
            if tick == self._tick:
                return
            self._tick = tick
        frame.pict_type = 0  # else x264 repeats the choices of the encoder before it
        self._end = float((frame.pts + frame.duration) * frame.time_base)
        if self._top_field_first is not None:
            self._flagged = self._flagged or flag_interlaced(
                frame, top_field_first=self._top_field_first
            )
            (frame,) = self._flagged.push(frame)
        self._encode(frame)

    def _encode(self, frame: Any | None) -> None:
        with wrap_write_errors(self._name):
            for packet in self._stream.encode(frame):
                self._mux(self._others.until(float(packet.dts * packet.time_base)))
                self._output.mux(packet)

    def _mux(self, packets: Iterable[Any]) -> None:
        for packet in packets:
            try:
                self._output.mux(packet)
            except av.InvalidDataError:
                if not self._others.is_copied(packet):
                    raise
                # A damaged packet is left out; who listens to the sound tells of it.

    @property
    def problems(self) -> list[str]:
        """What is left out of the file, a line each."""
        return self._others.problems

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self._encode(None)
                with wrap_write_errors(self._name):
                    self._mux(self._others.rest(self._end))
                    self._output.close()
        finally:
            self._others.close()
            with suppress(av.FFmpegError):
                self._output.close()


def _create(path: Path, container: Container) -> Any:
    return av.open(f"file:{path}", "w", format=container.muxer, container_options=container.options)
