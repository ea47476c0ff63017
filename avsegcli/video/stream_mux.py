"""All that goes into a video file beside its pictures: sound, more sound, subtitles."""

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import av
from av.stream import Disposition

from avsegcli.video.audio_mux import CopiedSound, EncodedSound
from avsegcli.video.containers import Container
from avsegcli.video.reader import SoundTrack, StreamDecoder, open_media
from avsegcli.video.span import Span
from avsegcli.video.subtitle_mux import TEXT, CopiedSubtitles, EncodedSubtitles

KEPT_TAGS = ("language", "title")  # of a stream's metadata


class Lane(Protocol):
    """One stream on its way."""

    copied: bool  # not encoded again
    stream: Any  # of the output

    def take(self, packet: Any) -> Iterator[Any]:
        """Turn a packet of the source, an empty one at its end, into those to write."""
        ...


class StreamsOut:
    """The sound of a file and other streams on their way into another, in step with the pictures.

    Packets are copied as they are if the container takes their codec; else sound and text are
    encoded again, and subtitles that are pictures are left out. More sound and subtitles are those
    of the video; sound of another file, or a stream of it that is asked for, takes the place of all
    of its sound.

    Args:
        track: a file with sound, or one stream of it.
        video: the file that the pictures come from.
        output: an open output container.
        container: what is written into it.
        name: of the output in messages.
        others: whether more sound and subtitles go into it.
    """

    def __init__(
        self,
        track: SoundTrack,
        video: Path,
        output: Any,
        container: Container,
        *,
        name: Path,
        others: bool,
    ) -> None:
        self.problems: list[str] = []  # what is left out, a line each
        self._files = [open_media(track.path)]
        sound = track.stream_in(self._files[0])
        from_files = [[sound]]
        if others and track.path == video:
            streams = self._files[0].streams
            more = [one for one in streams.audio if track.number is None and one is not sound]
            from_files = [[sound, *more, *streams.subtitles]]
        elif others:
            self._files.append(open_media(video))
            from_files.append(list(self._files[1].streams.subtitles))
        self._sources = [
            _Source(file, streams, track.span)
            for file, streams in zip(self._files, from_files, strict=True)
            if streams
        ]
        self._copied: set[int] = set()  # indices of streams of the output
        for source in self._sources:
            for stream in source.streams:
                lane = source.add(stream, output, container)
                if lane is None:
                    self.problems.append(_left_out(stream, source.path, name))
                elif lane.copied:
                    self._copied.add(lane.stream.index)
        self._end = math.inf if track.span.end is None else track.span.clip(math.inf)
        self._own_sound = track.path == video
        self._sources[0].set_default(sound)

    def until(self, time: float) -> Iterator[Any]:
        """Yield the packets that begin before `time`, in seconds, and are not yet yielded."""
        for source in self._sources:
            yield from source.until(min(time, self._end))

    def rest(self, pictures_end: float) -> Iterator[Any]:
        """Yield the last packets; the video's own sound may outlast the pictures."""
        return self.until(math.inf if self._own_sound else pictures_end)

    def is_copied(self, packet: Any) -> bool:
        """Tell whether a packet is as it was in its file."""
        return packet.stream_index in self._copied

    def close(self) -> None:
        """Close the files that the streams come from."""
        for file in self._files:
            file.close()


class _Source:
    """A file that streams come from.

    Args:
        file: an open container.
        streams: of it; the first one is the clock by which it is read.
        span: the part of it that is asked for.
    """

    def __init__(self, file: Any, streams: Sequence[Any], span: Span) -> None:
        self.path = file.name.removeprefix("file:")
        self.streams = streams
        self._start = Fraction(file.start_time or 0, av.time_base) + span.start
        self._decoder = StreamDecoder(
            file, *(one for one in streams if one.codec_context is not None)
        )
        self._decoder.go_to(self._start if span.start else Fraction(0))
        self._packets = self._decoder.packets()
        self._lanes: dict[int, Lane] = {}  # by the index of the source's stream
        self._reached = -math.inf  # seconds
        self._waiting: list[Any] = []

    def add(self, stream: Any, output: Any, container: Container) -> Lane | None:
        """Make room for a stream in the output; None: it cannot be carried there."""
        if stream.codec_context is None:
            return None
        codec = stream.codec_context.codec.canonical_name
        lane: Lane
        if stream.type == "audio" and codec in container.copied:
            lane = CopiedSound(stream, output, self._start)
        elif stream.type == "audio":
            lane = EncodedSound(stream, output, self._start, container, self._decoder)
        elif codec in container.subtitles:
            lane = CopiedSubtitles(stream, output, self._start)
        elif codec in TEXT:
            lane = EncodedSubtitles(stream, output, self._start, container.text)
        else:
            return None
        for key in KEPT_TAGS:
            if key in stream.metadata:
                lane.stream.metadata[key] = stream.metadata[key]
        lane.stream.disposition = Disposition(stream.disposition) & ~Disposition.default
        self._lanes[stream.index] = lane
        return lane

    def set_default(self, stream: Any) -> None:
        """Make a stream the one that players choose."""
        chosen = self._lanes[stream.index].stream
        chosen.disposition = Disposition(chosen.disposition) | Disposition.default

    def until(self, time: float) -> Iterator[Any]:
        """Yield the packets that begin before `time`, in seconds, and are not yet yielded."""
        while self._reached < time:
            packet = next(self._packets, None)
            if packet is None:
                self._reached = math.inf
                break
            if packet.dts is not None and packet.stream_index == self.streams[0].index:
                self._reached = float(packet.dts * packet.time_base - self._start)
            if packet.stream_index in self._lanes:
                self._waiting += self._lanes[packet.stream_index].take(packet)
        waiting, self._waiting = self._waiting, []
        for packet in waiting:
            if packet.dts * packet.time_base < time:
                yield packet
            else:
                self._waiting.append(packet)


def _left_out(stream: Any, path: str, name: Path) -> str:
    alike = [one.index for one in stream.container.streams if one.type == stream.type]
    codec = stream.codec_context.codec.canonical_name if stream.codec_context else "unknown"
    kind = "subtitles" if stream.type == "subtitle" else "sound stream"
    return (
        f"{path}: {kind} {alike.index(stream.index) + 1} ({codec}) left out: no {name.suffix} file "
        "holds such"
    )
