"""A still picture as a video that lasts as long as its sound."""

from collections.abc import Iterator
from contextlib import closing
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

from av.stream import Disposition

from avsegcli.errors import MediaError
from avsegcli.video.exif import exif_orientation
from avsegcli.video.reader import (
    SoundTrack,
    StreamDecoder,
    VideoReader,
    best_stream,
    copy_of,
    open_media,
)

STILL_RATE = Fraction(25)  # frames a second
STILL_LONGEST = 1920  # pixels; a larger picture is scaled down


def open_pictures(path: Path, track: SoundTrack, *, deinterlace: bool = True) -> VideoReader:
    """Open a video, or a single picture, which is shown as long as another file's sound lasts.

    Args:
        path: the video or picture.
        track: the sound that goes with it; its span is that of the video.
        deinterlace: as of `VideoReader`.

    Raises:
        MediaError: if it cannot be read.
    """
    if track.path != path and _is_picture(path):
        seconds = sound_seconds(track)
        if track.span.clip(seconds) <= 0:
            raise MediaError(f"{track.path} ends after {seconds:.1f} s", "Give an earlier --start.")
        return StillReader(path, track.span.clip(seconds))
    return VideoReader(path, span=track.span, deinterlace=deinterlace)


def _is_picture(path: Path) -> bool:
    """Tell whether a file holds one picture only, whatever kind of file it is."""
    with closing(open_media(path)) as container:
        if any(one.disposition & Disposition.dependent for one in container.streams.video):
            raise MediaError(
                f"{path} is a picture in tiles, which are not put together",
                "Make a JPEG of it first.",
            )
        kind = container.format.name
        if kind == "image2" or kind.endswith("_pipe"):
            return True
        stream = best_stream(container, "video")
        packets = StreamDecoder(container, stream).packets() if stream is not None else iter(())
        return len(list(islice((packet for packet in packets if packet.size), 2))) == 1


def sound_seconds(track: SoundTrack) -> float:
    """Return when the last packet of a sound ends, in seconds from the start of its file."""
    with closing(open_media(track.path)) as container:
        stream = track.stream_in(container)
        end = 0
        for packet in StreamDecoder(container, stream).packets():
            if packet.pts is not None:
                end = max(end, packet.pts + (packet.duration or 0))
        return max(0.0, float(end * stream.time_base) - (container.start_time or 0) / 1e6)


class StillReader(VideoReader):
    """A picture, shown `seconds` long.

    Raises:
        MediaError: if it cannot be read.
    """

    def __init__(self, path: Path, seconds: float) -> None:
        super().__init__(path)
        self._orientation = exif_orientation(path) or self._orientation
        width, height = self._stored_size
        scale = STILL_LONGEST / max(width, height)
        if scale < 1:  # to even sides, which every player takes
            width, height = (max(2, 2 * round(side * scale / 2)) for side in (width, height))
        self._stored_size = width, height
        self.width, self.height = self._stored_size
        if self._orientation.transposed:
            self.width, self.height = self.height, self.width
        self.rate, self.time_base, self.duration = STILL_RATE, 1 / STILL_RATE, seconds

    def _fitted(self, frame: Any) -> Any:
        return frame.reformat(*self._stored_size)

    def __iter__(self) -> Iterator[Any]:
        """Yield the picture at every frame time, each time as a frame of its own."""
        picture = self._upright(next(self._pending))
        for number in range(max(1, round((self.duration or 0) * STILL_RATE))):
            frame = copy_of(picture)
            frame.pts, frame.time_base, frame.duration = number, self.time_base, 1
            self._end = float((number + 1) * self.time_base)
            yield frame
