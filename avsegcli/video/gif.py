"""Frames to an animated GIF, each with a palette of its own, so that memory does not grow."""

from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import av
from av.filter import Graph

from avsegcli.files.preflight import wrap_write_errors
from avsegcli.video.reader import VideoReader

LONGEST = 480  # pixels; larger frames are scaled down
FASTEST = Fraction(10)  # frames a second
TICK = Fraction(1, 100)  # seconds; the unit of a GIF
SHORTEST = 2  # ticks; players take less for 0.1 s


class GifWriter:
    """Writes the frames of one video as a GIF, at most 480 pixels and 10 frames a second.

    Its pixels are square, those of the video need not be.

    Args:
        path: file to write.
        video: the video that the frames come from.
        name: of the file in error messages, if `path` is a temporary one.
        wide: the frames are this many times as wide as those of the video.
    """

    def __init__(
        self, path: Path, video: VideoReader, *, name: Path | None = None, wide: int = 1
    ) -> None:
        self._name = name or path
        width, height = wide * video.width, video.height
        shown_width = width * float(video.sample_aspect_ratio)
        scale = min(1.0, LONGEST / max(shown_width, height))
        size = max(1, round(shown_width * scale)), max(1, round(height * scale))
        with wrap_write_errors(self._name):
            self._output = av.open(f"file:{path}", "w", format="gif")
        self._stream: Any = self._output.add_stream("gif", rate=FASTEST)
        self._stream.width, self._stream.height = size
        self._stream.pix_fmt = "pal8"
        self._stream.codec_context.time_base = self._stream.time_base = TICK
        self._due = self._end = 0.0  # seconds
        self._held: Any = None  # packet; how long the last one is shown, the end tells
        graph = self._graph = Graph()
        source = graph.add_buffer(
            width=width, height=height, format=av.VideoFormat("yuv420p"), time_base=video.time_base
        )
        scaled = graph.add("scale", f"{size[0]}:{size[1]}:flags=area")
        split, generate = graph.add("split"), graph.add("palettegen", "stats_mode=single")
        use = graph.add("paletteuse", "new=1:dither=bayer:bayer_scale=5")
        sink = graph.add("buffersink")
        source.link_to(scaled)
        scaled.link_to(split)
        split.link_to(generate, 0, 0)
        split.link_to(use, 1, 0)
        generate.link_to(use, 0, 1)
        use.link_to(sink)
        graph.configure()

    def write(self, frame: Any) -> None:
        """Append one yuv420p frame, unless the last one was just before it."""
        self._end = float((frame.pts + frame.duration) * frame.time_base)
        if frame.time < self._due - 1e-6:
            return
        self._due = max(self._due + float(1 / FASTEST), frame.time)
        self._graph.push(frame)
        self._pull()

    def _pull(self) -> None:
        while True:
            try:
                paletted: Any = self._graph.pull()
            except (av.BlockingIOError, av.EOFError):
                return
            paletted.pts = round(paletted.pts * paletted.time_base / TICK)
            paletted.time_base = TICK
            with wrap_write_errors(self._name):
                for packet in self._stream.encode(paletted):
                    if self._held is not None:
                        self._output.mux(self._held)
                    self._held = packet

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
                self._graph.push(None)
                self._pull()
                if self._held is not None:
                    shown = round(self._end / TICK) - self._held.pts
                    self._held.duration = max(SHORTEST, shown)
                    with wrap_write_errors(self._name):
                        self._output.mux(self._held)
        finally:
            with wrap_write_errors(self._name):
                self._output.close()
