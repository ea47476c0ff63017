"""Video of high dynamic range, as phones film it, as ordinary screens show it."""

from fractions import Fraction
from typing import Any

from av.filter import Graph
from av.video.reformatter import ColorTrc, VideoReformatter

CURVES = frozenset({ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67})  # PQ, HLG
PLAIN = "out_transfer=bt709:out_primaries=bt709:out_color_matrix=bt709:out_range=tv"


class ToneMapper:
    """Turns the frames of a video of high dynamic range into plain ones.

    What a network has learned from, what a GIF or a JPEG can hold and what the colours of masks
    are meant for is ITU-R BT.709. FFmpeg's scaler maps light and colours into that.

    Args:
        first: a decoded frame; others are brought to its size and format.
    """

    def __init__(self, first: Any) -> None:
        self._form = first.width, first.height, first.format.name
        self._alike = VideoReformatter()
        self._graph = Graph()
        source = self._graph.add_buffer(
            width=first.width, height=first.height, format=first.format, time_base=Fraction(1, 1000)
        )
        scaled, plain = self._graph.add("scale", PLAIN), self._graph.add("format", "yuv420p")
        sink = self._graph.add("buffersink")
        source.link_to(scaled)
        scaled.link_to(plain)
        plain.link_to(sink)
        self._graph.configure()

    def __call__(self, frame: Any) -> Any:
        """Turn one frame into yuv420p, BT.709, limited range."""
        self._graph.push(self._alike.reformat(frame, *self._form))
        return self._graph.pull()
