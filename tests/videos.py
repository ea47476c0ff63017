"""Small videos for tests, and a predictor that finds what is red while the sound is loud."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

NTSC = Fraction(30000, 1001)
GREY, RED = (90, 110, 130), (230, 30, 30)


def square_at(time: float, width: int, height: int) -> tuple[int, int, int]:
    """Left, top and side of the red square, which moves to the right."""
    side = height // 3
    return int(width * 0.2 + 0.1 * width * time), height // 3, side


def picture(time: float, width: int, height: int) -> NDArray[np.uint8]:
    frame = np.empty((height, width, 3), np.uint8)
    frame[:] = GREY
    left, top, side = square_at(time, width, height)
    frame[top : top + side, left : left + side] = RED
    return frame


def tone(seconds: float, rate: int, channels: int, on: Iterable[tuple[float, float]]):
    """``(channels, S)``: 440 Hz in the stretches `on`, else silence."""
    time = np.arange(round(seconds * rate)) / rate
    loud = np.zeros(len(time), bool)
    for start, end in on:
        loud |= (time >= start) & (time < end)
    wave = (0.5 * np.sin(2 * np.pi * 440 * time) * loud).astype(np.float32)
    return np.tile(wave, (channels, 1))


def write_video(
    path: Path,
    *,
    width: int = 160,
    height: int = 96,
    rate: Fraction = NTSC,
    seconds: float = 2.0,
    times: Sequence[Fraction] | None = None,
    time_base: Fraction | None = None,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    pix_fmt: str = "yuv420p",
    rotation: int = 0,
    sound: str | None = "aac",
    sound_rate: int = 44100,
    channels: int = 2,
    on: Iterable[tuple[float, float]] = ((0.0, 100.0),),
    sound_start: float = 0.0,
    sound_seconds: float | None = None,
    start: float = 0.0,
    container_options: dict[str, str] | None = None,
) -> Path:
    """Write a red square that moves over grey, with a tone.

    `times` are those of the frames (else `rate` for `seconds`); `start` shifts everything,
    `sound_start` the sound.
    """
    time_base = time_base or 1 / rate
    if times is None:
        times = [i / rate for i in range(round(seconds * rate))]
    with av.open(str(path), "w", container_options=container_options or {}) as output:
        video = output.add_stream(codec, rate=rate, options=options or {"preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = width, height, pix_fmt
        video.codec_context.time_base = video.time_base = time_base
        if rotation:
            video.set_display_rotation(rotation)
        audio = None
        if sound is not None:
            layout = "mono" if channels == 1 else "stereo"
            audio = output.add_stream(sound, rate=sound_rate, layout=layout)
            if sound.startswith("wma"):
                audio.codec_context.bit_rate = 128_000  # it has no default
            samples = tone(sound_seconds or seconds, sound_rate, channels, on)
            done = 0
        for time in times:
            if audio is not None:
                upto = round(max(0.0, float(time) + 0.5 - sound_start) * sound_rate)
                output.mux(_encoded(audio, samples, done, upto, sound_start + start))
                done = max(done, upto)
            frame = av.VideoFrame.from_ndarray(picture(float(time), width, height), "rgb24")
            frame.pts, frame.time_base = round((time + Fraction(start)) / time_base), time_base
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
        if audio is not None:
            output.mux(_encoded(audio, samples, done, samples.shape[1], sound_start + start))
            output.mux(audio.encode(None))
    return path


def _encoded(audio, samples: NDArray[np.float32], first: int, last: int, start: float):
    piece = np.ascontiguousarray(samples[:, first:last])
    if not piece.shape[1]:
        return []
    layout = "mono" if len(piece) == 1 else "stereo"
    frame = av.AudioFrame.from_ndarray(piece, "fltp", layout)
    frame.rate = audio.codec_context.sample_rate
    frame.pts = round(start * frame.rate) + first
    frame.time_base = Fraction(1, frame.rate)
    return audio.encode(frame)


class RedWhenLoud:
    """Finds what is red ("beeper") while the sound is loud; counts what it is asked."""

    classes = ("background", "hummer", "beeper")
    model_name = "red-when-loud"
    device_name = "cpu"
    threshold = 0.5
    size = 224

    def __init__(self, num_frames: int = 5) -> None:
        self.num_frames = num_frames
        self.asked: list[int] = []
        self.sizes: set[tuple[int, int]] = set()

    def predict(self, frames: Sequence[NDArray[np.uint8]], log_mel: NDArray[np.float32]):
        self.asked.append(len(frames))
        answers = []
        for frame, example in zip(frames, log_mel, strict=True):
            self.sizes.add(frame.shape[:2])
            height, width = -(-frame.shape[0] // 4), -(-frame.shape[1] // 4)
            red = (frame[..., 0].astype(int) - frame[..., 1] > 100).astype(np.float32)
            red = np.pad(red, ((0, height * 4 - len(red)), (0, width * 4 - red.shape[1])))
            probs = np.zeros((3, height, width), np.float32)
            middle = example[24:72]  # half a second
            if middle.max(axis=1).mean() > 0:
                probs[2] = red.reshape(height, 4, width, 4).mean(axis=(1, 3))
            probs[0] = 1 - probs[2]
            answers.append(probs)
        return np.stack(answers)


class Read:
    """All of a written file."""

    def __init__(self, path: Path) -> None:
        with av.open(str(path)) as container:
            video = container.streams.video[0]
            self.rate, self.codec, self.pix_fmt = (
                video.average_rate,
                video.codec_context.name,
                video.codec_context.pix_fmt,
            )
            self.frames = [
                (float(f.pts * f.time_base), f.to_ndarray(format="rgb24"))
                for f in container.decode(video)
            ]
        self.times = [time for time, _ in self.frames]
        self.size = self.frames[0][1].shape[1::-1]
        self.sound_codec, self.sound = read_sound(path)

    def near(self, time: float) -> NDArray[np.uint8]:
        return min(self.frames, key=lambda frame: abs(frame[0] - time))[1]


def read_sound(path: Path) -> tuple[str, list[tuple[float, bytes]]]:
    """Codec and packets of the sound with their times."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        packets = [
            (float(p.pts * p.time_base), bytes(p)) for p in container.demux(stream) if p.size
        ]
        return stream.codec_context.codec.canonical_name, packets
