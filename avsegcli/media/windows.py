"""Cut a stream of frames into windows for the network; put its answers back on every frame."""

import math
from collections.abc import Generator, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from avsegcli.media.decode import SoundReader, VideoReader

FRAME_MEMORY = 400_000_000  # bytes of full-size frames that may wait for their masks
WINDOWS_ALIVE = 3  # one being decoded, one in the network, one being painted
TIME_TOLERANCE = 1e-3  # of an analysis interval: time stamps are rounded


class Window(NamedTuple):
    """Consecutive frames of a video, some of which the network looks at."""

    frames: list[Any]  # yuv420p, full size; the first one is analysed
    analysed: list[int]  # T positions in `frames`, rising, starting with 0
    pictures: list[NDArray[np.uint8]]  # T small RGB pictures of the analysed frames, (h, w, 3)
    log_mel: NDArray[np.float32]  # (T, 96, 64), centred on the times of the analysed frames


class MaskedFrame(NamedTuple):
    """A frame and what sounds where in it."""

    frame: Any  # yuv420p, full size; may belong to the decoder
    analysed: bool  # the network has seen this very frame
    probs: NDArray[np.float32]  # (L + 1, h, w) class probabilities


def cut_windows(
    video: VideoReader, sound: SoundReader, *, num_frames: int, fps: float, size: int
) -> Generator[Window, None, None]:
    """Cut a video into windows of at most `num_frames` analysed frames.

    Memory is bounded whatever the length and size of the video: the frames of the windows that
    are alive at a time (one being decoded, one in the network, one being painted) take at most
    `FRAME_MEMORY`. At 1080p30 and 4 analysed frames a second, 5 of them fit in a window; at
    2160p30 it is one, and of larger or faster videos more frames are analysed than asked for.

    Args:
        video: the pictures.
        sound: the sound that goes with them, on the same clock.
        num_frames: analysed frames in a window, T.
        fps: analysed frames a second; of a video with fewer, all are.
        size: longer side of the small pictures, in pixels.
    """
    limit = max(1, FRAME_MEMORY // (WINDOWS_ALIVE * video.width * video.height * 3 // 2))
    frames: list[Any] = []
    analysed: list[int] = []
    pictures: list[NDArray[np.uint8]] = []
    examples: list[NDArray[np.float32]] = []
    start: float | None = None
    due = -math.inf  # number of the next analysis time
    for frame in video:
        time = frame.time
        start = time if start is None else start
        number = (time - start) * fps + TIME_TOLERANCE
        if number >= due or len(frames) >= limit:
            due = math.floor(number) + 1
            # An interval more would not fit, judged by the one before.
            crowded = bool(analysed) and 2 * len(frames) - analysed[-1] > limit
            if len(analysed) == num_frames or crowded:
                yield Window(frames, analysed, pictures, np.stack(examples))
                frames, analysed, pictures, examples = [], [], [], []
            analysed.append(len(frames))
            pictures.append(video.small_rgb(frame, size))
            examples.append(sound.example(time))
        frames.append(frame)
    if frames:
        yield Window(frames, analysed, pictures, np.stack(examples))


def spread_masks(
    answers: Iterator[tuple[Window, NDArray[np.float32]]],
) -> Iterator[MaskedFrame]:
    """Give every frame its probabilities, between analysed frames linear in time.

    Frames after the last analysed one of a window wait for the first of the next window; those
    at the end of the video keep the last probabilities.

    Args:
        answers: windows in order, each with the probabilities of its T analysed frames,
            ``(T, L + 1, h, w)``.
    """
    waiting: list[Any] = []  # from an analysed frame up to the next one
    before: NDArray[np.float32] | None = None  # probabilities of the first frame that waits
    for window, probs in answers:
        ends = [*window.analysed[1:], len(window.frames)]
        for begin, end, after in zip(window.analysed, ends, probs, strict=True):
            if before is not None:
                yield from _between(waiting, before, window.frames[begin].time, after)
            waiting = window.frames[begin:end]
            window.frames[begin:end] = [None] * (end - begin)  # free each as soon as it is done
            before = after
    if before is not None:
        for position, frame in enumerate(waiting):
            yield MaskedFrame(frame, position == 0, before)


def _between(
    frames: list[Any],
    before: NDArray[np.float32],
    end: float,
    after: NDArray[np.float32],
) -> Iterator[MaskedFrame]:
    start = frames[0].time
    for position, frame in enumerate(frames):
        weight = np.float32((frame.time - start) / (end - start))
        probs = before if position == 0 else before + weight * (after - before)
        frames[position] = None
        yield MaskedFrame(frame, position == 0, probs)
