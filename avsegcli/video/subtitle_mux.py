"""Subtitles on their way into a video file: copied where that goes, else text is encoded again."""

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av

TEXT = frozenset({"ass", "mov_text", "ssa", "subrip", "text", "webvtt"})  # FFmpeg turns it into any


class CopiedSubtitles:
    """Subtitles whose packets are written as they are.

    Args:
        source: the stream that they come from.
        output: an open output container, which takes its codec.
        start: seconds in the file of the source that become 0.
    """

    copied = True

    def __init__(self, source: Any, output: Any, start: Fraction) -> None:
        self.stream = output.add_stream_from_template(source)
        self._start = round(start / source.time_base)

    def take(self, packet: Any) -> Iterator[Any]:
        """Turn a packet of the source, an empty one at its end, into those to write."""
        if packet.pts is None:
            return
        begin, end = packet.pts - self._start, packet.pts - self._start + (packet.duration or 0)
        if end < 0:
            return
        packet.pts = packet.dts = max(0, begin)
        packet.duration = end - packet.pts
        packet.stream = self.stream
        yield packet


class EncodedSubtitles(CopiedSubtitles):
    """Text that is decoded and encoded again as another kind.

    Args:
        source: the stream that it comes from.
        output: an open output container.
        start: seconds in the file of the source that become 0.
        codec: FFmpeg's name of the encoder.
    """

    copied = False

    def __init__(self, source: Any, output: Any, start: Fraction, codec: str) -> None:
        self._decoder = source.codec_context
        self._decoder.open(strict=False)
        self.stream = output.add_stream(codec)
        self.stream.codec_context.subtitle_header = self._decoder.subtitle_header
        unit = source.time_base
        self.stream.time_base = self.stream.codec_context.time_base = unit
        self._start = round(start / unit)

    def take(self, packet: Any) -> Iterator[Any]:
        """Turn a packet of the source, an empty one at its end, into those to write."""
        for one in super().take(packet):
            try:
                text = self._decoder.decode2(one)
                if text is None:
                    continue
                encoded = self.stream.codec_context.encode_subtitle(text)
            except MemoryError:
                raise
            except av.FFmpegError:  # damaged
                continue
            encoded.pts = encoded.dts = one.pts
            encoded.duration, encoded.time_base = one.duration, one.time_base
            encoded.stream = self.stream
            yield encoded
