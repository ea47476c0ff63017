"""Cut a stream of frames into windows for the network; put its answers back on every frame."""

import math
from collections.abc import Generator, Iterable, Iterator
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from avsegcli.audio.load import SoundReader
from avsegcli.inference.preprocess import resize_for_network
from avsegcli.segment.optical_flow import KeyFrame, OpticalFlow, downscaled_luma
from avsegcli.video.reader import VideoReader, copy_of
from avsegcli.video.still import STILL_RATE

FRAME_MEMORY = 540_000_000  # bytes of full-size frames that may wait for their masks
WINDOWS_ALIVE = 4  # being decoded, in the network, waiting for what comes next, being painted
TIME_TOLERANCE = 1e-3  # of an analysis interval: time stamps are rounded
HELD = 1.5  # analysis intervals; a picture that is shown for longer is asked about again
HELD_S = 0.75  # seconds; but not one that is shown for less: the sound around it is heard


class Window(NamedTuple):
    """Consecutive frames of a video, some of which the network looks at."""

    frames: list[Any]  # yuv420p, full size; the first one is analysed
    analysed: list[int]  # T positions in `frames`, rising, starting with 0
    pictures: list[NDArray[np.uint8]]  # T small RGB pictures of the analysed frames, (h, w, 3)
    log_mel: NDArray[np.float32]  # (T, 96, 64), centred on the times of the analysed frames


class Segment(NamedTuple):
    """An analysed frame and those up to the next one."""

    frames: list[Any]  # yuv420p, full size; the first one is analysed
    seen: KeyFrame  # the first one and its probabilities


class MaskedFrame(NamedTuple):
    """A frame and its class probabilities."""

    frame: Any  # yuv420p, full size; may belong to the decoder
    analysed: bool  # the network has seen this very frame
    probs: NDArray[np.float32]  # (L + 1, h, w) class probabilities


def repeat_held(video: Iterable[Any], sound: SoundReader, fps: float) -> Iterator[Any]:
    """Show a picture that stands still once more at each analysis time, as a frame of its own.

    Its sound goes on, and would not be listened to otherwise. When the sound is over, it is shown
    to its end.

    Args:
        video: yuv420p frames, with rising time stamps and their durations.
        sound: read as far as the last frame that was taken.
        fps: analysed frames a second, counted from the first frame.
    """
    start: Fraction | None = None
    interval = max(1 / Fraction(float(fps)), 1 / STILL_RATE)
    for frame in video:
        tick, begin, end = frame.time_base, frame.pts, frame.pts + frame.duration
        start = begin * tick if start is None else start
        if frame.duration * tick > max(HELD * interval, HELD_S):
            # The first cut lies a quarter of an interval from the frame or more, as does the last.
            number = math.floor((begin * tick - start) / interval + Fraction(5, 4))
            last = math.ceil((end * tick - start) / interval - Fraction(1, 4))
            for cut in (math.ceil((start + n * interval) / tick) for n in range(number, last)):
                if sound.is_over(float(begin * tick)):
                    break
                if begin < cut < end:
                    frame.pts, frame.duration = begin, cut - begin
                    again = copy_of(frame)
                    yield frame
                    frame, begin = again, cut
        frame.pts, frame.duration = begin, end - begin
        yield frame


def cut_windows(
    video: VideoReader, sound: SoundReader, *, num_frames: int, fps: float, size: int
) -> Generator[Window, None, None]:
    """Cut a video into windows of at most `num_frames` analysed frames.

    Memory is bounded whatever the length and size of the video: the frames of the windows that
    are alive at a time take at most `FRAME_MEMORY`. At 1080p30 and 4 analysed frames a second, 5
    of them fit in a window; at 2160p30 it is one, and of larger or faster videos more frames are
    analysed than asked for.

    Args:
        video: the pictures.
        sound: the sound that goes with them, on the same clock.
        num_frames: analysed frames in a window, T.
        fps: analysed frames a second; of a video with fewer, all are, and those that stand still
            more often.
        size: longer side of the small pictures, in pixels.
    """
    limit = max(1, FRAME_MEMORY // (WINDOWS_ALIVE * video.width * video.height * 3 // 2))
    frames: list[Any] = []
    analysed: list[int] = []
    pictures: list[NDArray[np.uint8]] = []
    examples: list[NDArray[np.float32]] = []
    start: float | None = None
    due = -math.inf  # number of the next analysis time
    for frame in repeat_held(video, sound, fps):
        time = frame.time
        start = time if start is None else start
        number = (time - start) * fps + TIME_TOLERANCE
        if number >= due or len(frames) >= limit:
            due = np.floor(number) + 1  # of any size, unlike what math.floor can give
            # An interval more would not fit, judged by the one before.
            crowded = bool(analysed) and 2 * len(frames) - analysed[-1] > limit
            if len(analysed) == num_frames or crowded:
                yield Window(frames, analysed, pictures, np.stack(examples))
                frames, analysed, pictures, examples = [], [], [], []
            analysed.append(len(frames))
            pictures.append(resize_for_network(video.rgb(frame), size))
            examples.append(sound.example(time))
        frames.append(frame)
    if frames:
        yield Window(frames, analysed, pictures, np.stack(examples))


def interpolate_masks(
    answers: Iterator[tuple[Window, NDArray[np.float32]]],
) -> Iterator[MaskedFrame]:
    """Give every frame its probabilities; they are steady in time and follow what moves.

    Frames after the last analysed one of a window wait for the first two of the next window;
    those at the end of the video keep the last probabilities.

    Args:
        answers: windows in order, each with the probabilities of its T analysed frames,
            ``(T, L + 1, h, w)``.
    """
    motion = OpticalFlow()
    before: Segment | None = None
    for after in _temporal_median(_segments(answers), motion):
        if before is not None:
            yield from _interpolate(before, after.seen, motion)
        before = after
    if before is not None:
        for position, frame in enumerate(before.frames):
            yield MaskedFrame(frame, position == 0, before.seen.probs)


def _segments(answers: Iterator[tuple[Window, NDArray[np.float32]]]) -> Iterator[Segment]:
    for window, probs in answers:
        ends = [*window.analysed[1:], len(window.frames)]
        for begin, end, answer in zip(window.analysed, ends, probs, strict=True):
            frames = window.frames[begin:end]
            window.frames[begin:end] = [None] * (end - begin)  # free each as soon as it is done
            yield Segment(frames, KeyFrame(frames[0].time, downscaled_luma(frames[0]), answer))


def _temporal_median(segments: Iterator[Segment], motion: OpticalFlow) -> Iterator[Segment]:
    """Compare each answer with its neighbours, as the network gave them."""
    before: KeyFrame | None = None
    here: Segment | None = None
    for after in segments:
        if here is not None:
            seen = here.seen
            if before is not None:
                here = here._replace(seen=motion.temporal_median(before, seen, after.seen))
            yield here
            before = seen
        here = after
    if here is not None:
        yield here


def _interpolate(segment: Segment, after: KeyFrame, motion: OpticalFlow) -> Iterator[MaskedFrame]:
    frames, before = segment
    for position, frame in enumerate(frames):
        frames[position] = None
        probs = before.probs
        if position > 0:
            weight = (frame.time - before.time) / (after.time - before.time)
            probs = motion.interpolate(before, after, frame, weight)
        yield MaskedFrame(frame, position == 0, probs)
