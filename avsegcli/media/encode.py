"""Frames and the sound of a file to a video file."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import av

from avsegcli.errors import MediaError
from avsegcli.media.decode import StreamDecoder, VideoReader, best_stream, open_media, start_in

X264 = ("libx264", {"preset": "veryfast", "crf": "20"})
VP9 = ("libvpx-vp9", {"crf": "32", "b": "0", "deadline": "realtime", "cpu-used": "7", "row-mt": "1"})
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
            f"Use one of {', '.join(CONTAINERS)}.",
        ) from None


@contextmanager
def written_whole(output: Path, *, force: bool = False) -> Iterator[Path]:
    """Give a hidden file beside `output` to write to; it becomes `output` if all goes well.

    Whatever goes wrong, Ctrl-C included, nothing is left behind.

    Args:
        output: the file that is wanted.
        force: replace it if it exists.

    Raises:
        MediaError: if it exists, or cannot be written there.
    """
    output = output.resolve()  # what a link points to is replaced, not the link
    if output.is_dir():
        raise MediaError(f"cannot write {output}: it is a folder", "Name a file.")
    if output.exists() and not force:
        raise MediaError(f"{output} exists already", "Give --force to replace it.")
    temporary = output.with_name(f".avseg-{secrets.token_hex(6)}{output.suffix}")
    try:
        try:
            temporary.touch(exist_ok=False)
            yield temporary
            temporary.replace(output)
        except OSError as error:
            reason = error.strerror or str(error)
            raise MediaError(f"cannot write {output}: {reason.lower()}") from error
    finally:
        temporary.unlink(missing_ok=True)


class Sound:
    """The sound of a file on its way into another, pulled in step with the pictures.

    Packets are copied as they are if the container takes their codec, else encoded again.

    Args:
        path: a file with sound.
        output: an open output container.
        container: what is written into it.
    """

    def __init__(self, path: Path, output: Any, container: Container) -> None:
        self._input = open_media(path)
        source = best_stream(self._input, "audio")
        self._start = start_in(self._input, source.time_base)
        self._source = source
        context = source.codec_context
        self.copied = context.codec.canonical_name in container.copied
        if self.copied:
            self._stream = output.add_stream_from_template(source)
            self._packets = self._copy()
        else:
            rate = context.sample_rate
            if container.sound != "aac" or rate not in AAC_RATES:
                rate = OPUS_RATE
            layout = LAYOUTS.get(len(context.layout.channels), "stereo")
            self._stream = output.add_stream(container.sound, rate=rate, layout=layout)
            self._packets = self._encode()
        self._waiting: Any | None = next(self._packets, None)

    def until(self, time: float) -> Iterator[Any]:
        """Yield the packets that begin before `time`, in seconds, and are not yet yielded."""
        while self._waiting is not None:
            packet = self._waiting
            if packet.dts is not None and float(packet.dts * packet.time_base) >= time:
                return
            self._waiting = next(self._packets, None)
            yield packet

    def _copy(self) -> Iterator[Any]:
        last = None
        errors = 0
        while errors == 0 or last is not None and errors < 16:
            errors += 1
            try:
                for packet in self._input.demux(self._source):
                    if packet.dts is None or (last is not None and packet.dts <= last):
                        continue  # the empty packet at the end, or a damaged time stamp
                    last = packet.dts
                    packet.dts -= self._start
                    if packet.pts is not None:
                        packet.pts -= self._start
                    packet.stream = self._stream
                    yield packet
                return
            except av.FFmpegError:
                continue

    def _encode(self) -> Iterator[Any]:
        context = self._stream.codec_context
        resampler = av.AudioResampler(context.format, context.layout, context.sample_rate)
        for frame in StreamDecoder(self._input, self._source):
            if frame.pts is not None:
                frame.pts -= self._start
            for resampled in resampler.resample(frame):
                yield from self._stream.encode(resampled)
        for resampled in resampler.resample(None):
            yield from self._stream.encode(resampled)
        yield from self._stream.encode(None)

    def close(self) -> None:
        """Close the file that the sound comes from."""
        self._input.close()
