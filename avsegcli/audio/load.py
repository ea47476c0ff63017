"""The sound of a file, decoded as it goes: mono at 16 kHz, cut into log-mel examples."""

import math
from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import soxr
from numpy.typing import NDArray

from avsegcli.audio.log_mel import EXAMPLE_SAMPLES, SAMPLE_RATE, log_mel_example
from avsegcli.video.damage import SoundGaps
from avsegcli.video.reader import SOUND_JUMP_S, SoundTrack, StreamDecoder, open_media

PLANES_READABLE = 7  # of a frame of sound; PyAV reads beyond the memory of more


class SoundReader:
    """The sound of a file, as it is and as log-mel examples, at times that rise.

    Holds no more waveform than what was asked for last. What the sound track does not cover, before
    its first sample, after its last, or in a gap, is silence.

    Args:
        track: a file that FFmpeg can read, or one sound stream of it. Times count from the start of
            its span; what sounds just before that is heard, too.

    Raises:
        MediaError: if it cannot be read or has no sound track.
    """

    kind = "sound"

    def __init__(self, track: Path | SoundTrack) -> None:
        if isinstance(track, Path):
            track = SoundTrack(track)
        self.path = track.path
        self._container = open_media(track.path)
        self._stream = track.stream_in(self._container)
        self._decoder = StreamDecoder(self._container, self._stream)
        self._span = track.span
        self._start = Fraction(self._container.start_time or 0, av.time_base) + self._span.start
        self._decoder.go_to(self._start if self._span.start else Fraction(0))
        self.gaps = SoundGaps()
        self._blocks = self._resampled()
        self._held: deque[tuple[int, NDArray[np.float32]]] = deque()  # (first sample, waveform)
        self._end = -math.inf  # sample after the last one held
        self._exhausted = False

    def example(self, time: float) -> NDArray[np.float32]:
        """Compute the log-mel example of the 0.96 s centred on a time.

        Args:
            time: seconds from the start of the span; not before that of the last call.

        Returns:
            ``(96, 64)``.
        """
        start = round(time * SAMPLE_RATE) - EXAMPLE_SAMPLES // 2
        return log_mel_example(self.waveform(start, EXAMPLE_SAMPLES), 0)

    def is_over(self, time: float) -> bool:
        """Tell whether an example at a time, in seconds, is known to come after all sound."""
        return self._exhausted and time * SAMPLE_RATE > self._end + EXAMPLE_SAMPLES // 2

    def waveform(self, start: int, num_samples: int) -> NDArray[np.float32]:
        """Read a piece of sound, mono at 16 kHz, ``(num_samples,)``.

        Args:
            start: its first sample from the start of the file; not before that of the last call.
            num_samples: its length.
        """
        stop = start + num_samples
        while self._held and self._held[0][0] + len(self._held[0][1]) <= start:
            self._held.popleft()
        while self._end < stop and not self._exhausted:
            block = next(self._blocks, None)
            if block is None:
                self._exhausted = True
            else:
                self._end = block[0] + len(block[1])
                if self._end > start:
                    self._held.append(block)
        piece = np.zeros(num_samples, np.float32)
        for first, waveform in self._held:
            low, high = max(start, first), min(stop, first + len(waveform))
            if low < high:
                piece[low - start : high - start] = waveform[low - first : high - first]
        return piece

    def _resampled(self) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Yield (first sample, mono waveform at 16 kHz) in the order of time."""
        resampler: soxr.ResampleStream | None = None
        rate = 0
        time = 0.0  # seconds; where the next decoded sample belongs if nothing is missing
        position = 0  # the next sample at 16 kHz
        for frame in self._decoder:
            stamp = (
                time
                if frame.pts is None
                else float(frame.pts * self._stream.time_base - self._start)
            )
            if resampler is None or frame.rate != rate or abs(stamp - time) > SOUND_JUMP_S:
                if resampler is not None:
                    yield position, resampler.resample_chunk(np.zeros(0, np.float32), last=True)
                    if stamp - time > SOUND_JUMP_S and stamp > 0:
                        self._add_gap(time, stamp)
                rate, time = frame.rate, stamp
                resampler = soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32")
                position = round(stamp * SAMPLE_RATE)
            time += frame.samples / rate
            waveform = resampler.resample_chunk(mono(frame))
            if len(waveform):
                yield position, waveform
                position += len(waveform)
        if resampler is not None:
            yield position, resampler.resample_chunk(np.zeros(0, np.float32), last=True)

    def _add_gap(self, time: float, following: float) -> None:
        raw = float(self._start)
        if not self._decoder.joints.lie_within(raw + time, raw + following):
            offset = float(self._span.start)
            self.gaps.add(time + offset, following + offset)

    @property
    def damaged(self) -> int:
        """How many packets could not be read or decoded so far."""
        return self._decoder.damaged

    @property
    def is_damaged(self) -> bool:
        """Whether gaps come of damage."""
        return self._decoder.is_damaged

    def problems(self) -> list[str]:
        """Describe other problems of the sound: none."""
        return []

    def close(self) -> None:
        """Close the file."""
        self._container.close()


def mono(frame: Any) -> NDArray[np.float32]:
    """Average the channels of a decoded sound frame of any sample format, ``(S,)`` in [-1, 1]."""
    if frame.format.is_planar and len(frame.layout.channels) > PLANES_READABLE:
        frame = av.AudioResampler(format=frame.format.packed.name).resample(frame)[0]
    samples = frame.to_ndarray()  # (channels, S) if planar, (1, S * channels) if packed
    if not frame.format.is_planar:
        samples = samples.reshape(-1, len(frame.layout.channels)).T
    average = np.asarray(samples.mean(axis=0), np.float32)
    if samples.dtype == np.uint8:
        average = average / np.float32(128) - np.float32(1)
    elif np.issubdtype(samples.dtype, np.integer):
        average = average / np.float32(-float(np.iinfo(samples.dtype).min))
    return average
