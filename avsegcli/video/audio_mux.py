"""Sound on its way into a video file: copied where that goes, else encoded again."""

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av

from avsegcli.video.containers import Container
from avsegcli.video.reader import SOUND_JUMP_S, StreamDecoder

# Of sound that is encoded again, by its number of channels; else stereo. FFmpeg's libopus takes
# the channels of 5.0 for one another.
LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "quad", 5: "5.1", 6: "5.1", 7: "7.1", 8: "7.1"}
AAC_RATES = frozenset({8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 88200, 96000})
OPUS_RATE = 48000  # Hz; also of sound whose rate AAC does not have


class CopiedSound:
    """Sound whose packets are written as they are.

    Args:
        source: the stream that they come from.
        output: an open output container, which takes its codec.
        start: seconds in the file of the source that become 0.
    """

    copied = True

    def __init__(self, source: Any, output: Any, start: Fraction) -> None:
        self.stream = output.add_stream_from_template(source)
        self._start = round(start / source.time_base)
        self._lead_in: Any | None = None  # the last packet before time 0; decoders start from it
        samples_a_tick = source.codec_context.sample_rate * source.time_base
        # Those of TrueHD in Matroska are rounded to more than a packet lasts.
        self._rounded = 0 < source.codec_context.frame_size < samples_a_tick
        self._last = -math.inf

    def take(self, packet: Any) -> Iterator[Any]:
        """Turn a packet of the source, an empty one at its end, into those to write."""
        if packet.dts is None:
            return
        packet.dts -= self._start
        if packet.pts is not None:
            packet.pts -= self._start
        packet.stream = self.stream
        if packet.dts + (packet.duration or 1) <= 0:
            self._lead_in = packet
            return  # else what an edit list cuts away is heard where there is none
        waiting = [packet] if self._lead_in is None else [self._lead_in, packet]
        self._lead_in = None
        for one in waiting:
            # Damaged packets, and those doubled at a joint, do not come after the one before.
            if one.dts > self._last or (self._rounded and one.dts == self._last):
                self._last = one.dts
                yield one


class EncodedSound:
    """Sound that is decoded and encoded again.

    Args:
        source: the stream that it comes from.
        output: an open output container.
        start: seconds in the file of the source that become 0.
        container: of the output, which decides the encoder.
        decoder: reads the file of the source.
    """

    copied = False

    def __init__(
        self,
        source: Any,
        output: Any,
        start: Fraction,
        container: Container,
        decoder: StreamDecoder,
    ) -> None:
        self._source, self._start, self._decoder = source, start, decoder
        rate = source.codec_context.sample_rate
        if container.sound != "aac" or rate not in AAC_RATES:
            rate = OPUS_RATE
        layout = LAYOUTS.get(len(source.codec_context.layout.channels), "stereo")
        self.stream = output.add_stream(container.sound, rate=rate, layout=layout)
        self._resampler: av.AudioResampler | None = None
        self._taken: tuple[Any, ...] = ()  # what the resampler takes
        self._time = Fraction(0)  # seconds; where the next frame belongs if nothing is missing
        self._last = -math.inf

    def take(self, packet: Any) -> Iterator[Any]:
        """Turn a packet of the source, an empty one at its end, into those to write."""
        ends = packet.dts is None and not packet.size
        packets = [
            encoded
            for frame in self._decoder.decode(packet, self._source)
            for encoded in self._add(frame)
        ]
        if ends:
            packets += [*self._flush(), *self.stream.encode(None)]
        for encoded in packets:
            if encoded.dts > self._last:
                self._last = encoded.dts
                yield encoded

    def _add(self, frame: Any) -> Iterator[Any]:
        rate = frame.sample_rate
        if frame.pts is not None:
            stamp = frame.pts * self._source.time_base - self._start
            if self._resampler is None or abs(stamp - self._time) > SOUND_JUMP_S:
                self._time = stamp
        begin = self._time
        self._time += Fraction(frame.samples, rate)
        if self._time <= 0:
            return
        if begin < 0:
            frame, begin = _without_first(frame, math.ceil(-begin * rate)), Fraction(0)
        # Some containers round time stamps, and some decoders give the last frame none.
        frame.pts, frame.time_base = round(begin * rate), Fraction(1, rate)
        form = frame.format.name, frame.layout.name, rate
        if self._resampler is None or form != self._taken:  # a broadcast may become mono
            yield from self._flush()
            self._taken, context = form, self.stream.codec_context
            self._resampler = av.AudioResampler(context.format, context.layout, context.sample_rate)
        for resampled in self._resampler.resample(frame):
            yield from self.stream.encode(resampled)

    def _flush(self) -> Iterator[Any]:
        for frame in self._resampler.resample(None) if self._resampler is not None else ():
            yield from self.stream.encode(frame)


def _without_first(frame: Any, samples: int) -> Any:
    fifo = av.AudioFifo()
    frame.pts = None
    fifo.write(frame)
    fifo.read(min(samples, frame.samples - 1))
    return fifo.read()
