"""Frames and the sound of a file to a video file."""

import math
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import av
from av.video.reformatter import ColorRange

from avsegcli.errors import MediaError
from avsegcli.media.decode import (
    SOUND_JUMP_S,
    SoundTrack,
    StreamDecoder,
    VideoReader,
    open_media,
    start_in,
)

os.environ.setdefault("SVT_LOG", "1")  # SVT-AV1 would tell all about itself, not errors only

FULL_CHROMA = frozenset({"libx264", "libx265"})  # take odd sizes only so
X264 = ("libx264", {"preset": "veryfast", "crf": "20"})
VP9 = (
    "libvpx-vp9",
    {"crf": "32", "b": "0", "deadline": "realtime", "cpu-used": "7", "row-mt": "1"},
)
PCM = frozenset({"pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_f32le", "pcm_u8", "pcm_s16be"})
LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1"}  # of sound that is encoded again, else stereo
AAC_RATES = frozenset({8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 88200, 96000})
OPUS_RATE = 48000  # Hz; also of sound whose rate AAC does not have


class Container(NamedTuple):
    """What is written into files of one kind."""

    muxer: str  # FFmpeg's name
    video: tuple[str, dict[str, str]]  # encoder and its options
    sound: str  # encoder of sound that cannot be copied
    copied: frozenset[str]  # codecs of sound that the container takes and players play
    options: dict[str, str]  # of the muxer


MPEG_SOUND = frozenset({"aac", "mp3", "ac3", "eac3", "alac"})
START_FIRST = {"movflags": "+faststart"}
CONTAINERS = {
    ".mp4": Container("mp4", X264, "aac", MPEG_SOUND | {"opus", "flac"}, START_FIRST),
    ".m4v": Container("mp4", X264, "aac", MPEG_SOUND, START_FIRST),
    ".mov": Container("mov", X264, "aac", MPEG_SOUND | PCM, START_FIRST),
    ".mkv": Container(
        "matroska",
        X264,
        "aac",
        MPEG_SOUND | PCM | {"opus", "vorbis", "flac", "mp2", "dts", "truehd"},
        {},
    ),
    ".webm": Container("webm", VP9, "libopus", frozenset({"opus", "vorbis"}), {}),
}


def container_of(output: Path) -> Container:
    """Return what the suffix of an output stands for.

    Raises:
        MediaError: if it stands for nothing that can be written.
    """
    try:
        return CONTAINERS[output.suffix.lower()]
    except KeyError:
        raise MediaError(
            f"cannot write {output}: no video format is known by the suffix "
            f"{output.suffix or '(none)'}",
            f"Use one of {', '.join(CONTAINERS)}, .gif.",
        ) from None


EXISTS = "Give --force to replace it."


def check_writable(output: Path, *, force: bool = False, hint: str = EXISTS) -> None:
    """Make sure that a file may be written.

    Args:
        output: the file that is wanted.
        force: it may replace one that exists.
        hint: what to do if it exists and may not be replaced.

    Raises:
        MediaError: if it exists, or its folder does not or may not be written to.
    """
    folder = output.resolve().parent
    if output.is_dir():
        raise MediaError(f"cannot write {output}: it is a folder", "Name a file.")
    if output.exists() and not force:
        raise MediaError(f"{output} exists already", hint)
    if not folder.is_dir():
        raise MediaError(f"cannot write {output}: no such folder: {folder}", "Make it first.")
    if not os.access(folder, os.W_OK):
        raise MediaError(f"cannot write {output}: permission denied", "Choose another folder.")


@contextmanager
def written_whole(output: Path) -> Iterator[Path]:
    """Give a hidden file beside `output` to write to; it becomes `output` if all goes well.

    A file of that name is replaced then. Whatever goes wrong, Ctrl-C included, nothing is left
    behind.

    Raises:
        MediaError: if it cannot be written there.
    """
    output = output.resolve()  # what a link points to is replaced, not the link
    temporary = output.with_name(f".avseg-{secrets.token_hex(6)}{output.suffix}")
    try:
        with told_as_cannot_write(output):
            temporary.touch(exist_ok=False)
        yield temporary
        with told_as_cannot_write(output):
            temporary.replace(output)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def told_as_cannot_write(output: Path | None) -> Iterator[None]:
    """Turn errors of the system and of FFmpeg into a `MediaError` about `output`."""
    try:
        yield
    except (OSError, av.FFmpegError) as error:
        reason = (error.strerror or str(error)).lower()
        raise MediaError(f"cannot write {output}: {reason}") from error


class Sound:
    """The sound of a file on its way into another, pulled in step with the pictures.

    Packets are copied as they are if the container takes their codec, else encoded again.

    Args:
        track: a file with sound, or one stream of it.
        output: an open output container.
        container: what is written into it.
    """

    def __init__(self, track: SoundTrack, output: Any, container: Container) -> None:
        self._input = open_media(track.path)
        source = track.stream_in(self._input)
        self._time_base = source.time_base
        self._start = start_in(self._input, source.time_base)
        self._decoder = StreamDecoder(self._input, source)
        context = source.codec_context
        self.copied = context.codec.canonical_name in container.copied
        if self.copied:
            self._stream = output.add_stream_from_template(source)
            packets = self._copy()
        else:
            rate = context.sample_rate
            if container.sound != "aac" or rate not in AAC_RATES:
                rate = OPUS_RATE
            layout = LAYOUTS.get(len(context.layout.channels), "stereo")
            self._stream = output.add_stream(container.sound, rate=rate, layout=layout)
            packets = self._encode()
        self._packets = _rising(packets)
        self._waiting: Any | None = next(self._packets, None)

    def until(self, time: float) -> Iterator[Any]:
        """Yield the packets that begin before `time`, in seconds, and are not yet yielded."""
        while self._waiting is not None:
            packet = self._waiting
            if float(packet.dts * packet.time_base) >= time:
                return
            self._waiting = next(self._packets, None)
            yield packet

    def _copy(self) -> Iterator[Any]:
        for packet in self._decoder.packets():
            if packet.dts is None:
                continue  # the empty packet at the end
            packet.dts -= self._start
            if packet.pts is not None:
                packet.pts -= self._start
            packet.stream = self._stream
            yield packet

    def _encode(self) -> Iterator[Any]:
        context = self._stream.codec_context
        resampler: av.AudioResampler | None = None
        taken = None  # what the resampler takes
        time = Fraction(0)  # seconds; where the next frame belongs if nothing is missing
        for frame in self._decoder:
            rate = frame.sample_rate
            if frame.pts is not None:
                stamp = (frame.pts - self._start) * self._time_base
                if resampler is None or abs(stamp - time) > SOUND_JUMP_S:
                    time = stamp
            # Some containers round time stamps, and some decoders give the last frame none.
            frame.pts, frame.time_base = round(time * rate), Fraction(1, rate)
            time += Fraction(frame.samples, rate)
            form = frame.format.name, frame.layout.name, rate
            if resampler is None or form != taken:  # a broadcast may change from stereo to mono
                if resampler is not None:
                    yield from self._encoded(resampler.resample(None))
                taken = form
                resampler = av.AudioResampler(context.format, context.layout, context.sample_rate)
            yield from self._encoded(resampler.resample(frame))
        if resampler is not None:
            yield from self._encoded(resampler.resample(None))
        yield from self._stream.encode(None)

    def _encoded(self, frames: list[Any]) -> Iterator[Any]:
        for frame in frames:
            yield from self._stream.encode(frame)

    def close(self) -> None:
        """Close the file that the sound comes from."""
        self._input.close()


def _rising(packets: Iterator[Any]) -> Iterator[Any]:
    """Leave out packets that do not come after the one before: damaged, or doubled at a joint."""
    last = -math.inf
    for packet in packets:
        if packet.dts > last:
            last = packet.dts
            yield packet


def _create(path: Path, container: Container) -> Any:
    return av.open(f"file:{path}", "w", format=container.muxer, container_options=container.options)


class VideoWriter:
    """Writes the frames of one video, with the sound of a file, to another file.

    Size, exact frame rate, time stamps, pixel shape and colour tags are those of the video.
    H.264 with halved chroma knows even sizes only: a video of odd width or height is written
    with full chroma (yuv444p), so that it keeps its size, at the price that some hardware
    players refuse it; VP9 (.webm) takes odd sizes as they are. Matroska and WebM know no time
    below 0: where sound has a lead-in before it, as copied AAC has, picture and sound move by it.
    Sound of another file ends with the picture, that of the video itself may outlast it.

    Used as a context manager: the file is complete when the block ends without an error.

    Args:
        path: file to write; its suffix decides format and codecs, see `CONTAINERS`.
        video: the video that the frames come from.
        sound: the file whose sound goes with them.
        name: of the file in error messages, if `path` is a temporary one.
        encoder: FFmpeg's name of the encoder and its options; None: those of the suffix.
        pix_fmt: what is encoded; None: the frames' yuv420p where the encoder takes their size.
        wide: the frames are this many times as wide as those of the video.

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
        encoder: tuple[str, dict[str, str]] | None = None,
        pix_fmt: str | None = None,
        wide: int = 1,
    ) -> None:
        self._name = name or path
        container = container_of(path)
        codec, options = encoder or container.video
        with told_as_cannot_write(self._name):
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
        context.width, context.height = wide * video.width, video.height
        odd = context.width % 2 or video.height % 2
        context.pix_fmt = pix_fmt or ("yuv444p" if odd and codec in FULL_CHROMA else "yuv420p")
        context.time_base = video.time_base
        context.sample_aspect_ratio = video.sample_aspect_ratio
        context.colorspace, context.color_trc = video.colorspace, video.color_trc
        context.color_primaries, context.color_range = video.color_primaries, ColorRange.MPEG
        context.thread_type = "AUTO"  # PyAV's default, slices, makes x264 slow and its files big
        track = SoundTrack(sound) if isinstance(sound, Path) else sound
        self._sound = Sound(track, self._output, container)
        self._own_sound = track.path == video.path
        self._end = 0.0  # seconds, of the last frame

    def write(self, frame: Any) -> None:
        """Append one frame, yuv420p, with its time stamp."""
        frame.pict_type = 0  # else x264 repeats the choices of the encoder before it
        self._end = float((frame.pts + frame.duration) * frame.time_base)
        self._encode(frame)

    def _encode(self, frame: Any | None) -> None:
        with told_as_cannot_write(self._name):
            for packet in self._stream.encode(frame):
                self._output.mux(list(self._sound.until(float(packet.dts * packet.time_base))))
                self._output.mux(packet)

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
                end = math.inf if self._own_sound else self._end
                with told_as_cannot_write(self._name):
                    self._output.mux(list(self._sound.until(end)))
                    self._output.close()
        finally:
            self._sound.close()
            with suppress(av.FFmpegError):
                self._output.close()
