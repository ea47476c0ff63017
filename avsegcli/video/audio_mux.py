"""The sound of a file on its way into a video file: copied where that goes, else encoded again."""

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av

from avsegcli.video.containers import Container
from avsegcli.video.reader import SOUND_JUMP_S, SoundTrack, StreamDecoder, open_media, start_in

# Of sound that is encoded again, by its number of channels; else stereo. FFmpeg's libopus takes
# the channels of 5.0 for one another.
LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "quad", 5: "5.1", 6: "5.1", 7: "7.1", 8: "7.1"}
AAC_RATES = frozenset({8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 88200, 96000})
OPUS_RATE = 48000  # Hz; also of sound whose rate AAC does not have


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
        if source.language:
            self._stream.metadata["language"] = source.language
        samples_a_tick = context.sample_rate * source.time_base
        self._packets = _rising(packets, rounded=0 < context.frame_size < samples_a_tick)
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
        lead_in: Any | None = None  # the last packet before time 0, which decoders start from
        for packet in self._decoder.packets():
            if packet.dts is None:
                continue  # the empty packet at the end
            packet.dts -= self._start
            if packet.pts is not None:
                packet.pts -= self._start
            packet.stream = self._stream
            if packet.dts + (packet.duration or 1) <= 0:
                lead_in = packet
                continue  # else what an edit list cuts away is heard where there is none
            if lead_in is not None:
                yield lead_in
                lead_in = None
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


def _rising(packets: Iterator[Any], *, rounded: bool) -> Iterator[Any]:
    """Leave out packets that do not come after the one before: damaged, or doubled at a joint.

    Two in one tick are both kept if time stamps are `rounded` to more than a packet lasts, as those
    of TrueHD in Matroska are.
    """
    last = -math.inf
    for packet in packets:
        if packet.dts > last or (rounded and packet.dts == last):
            last = packet.dts
            yield packet
