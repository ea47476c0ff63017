"""FFmpeg's filters for frames of one size and pixel format."""

from typing import Any

import av
from av.filter import Graph


class FilterChain:
    """Sends frames through FFmpeg's filters, one after the other.

    Args:
        first: a frame; all that follow have its size, pixel format and time base.
        filters: name and options of each filter, as FFmpeg's command line takes them.
    """

    def __init__(self, first: Any, *filters: tuple[str, str]) -> None:
        self._form = _form(first)
        self._graph = Graph()
        source = self._graph.add_buffer(
            width=first.width, height=first.height, format=first.format, time_base=first.time_base
        )
        nodes = [self._graph.add(name, options or None) for name, options in filters]
        self._graph.link_nodes(source, *nodes, self._graph.add("buffersink")).configure()

    def fits(self, frame: Any) -> bool:
        """Tell whether a frame has the size and pixel format of the first one."""
        return _form(frame) == self._form

    def push(self, frame: Any | None) -> list[Any]:
        """Send one frame, or None after the last one; return those that come out."""
        self._graph.push(frame)
        frames = []
        while True:
            try:
                frames.append(self._graph.pull())
            except (av.BlockingIOError, av.EOFError):
                return frames


def _form(frame: Any) -> tuple[int, int, str]:
    return frame.width, frame.height, frame.format.name
