"""A folder of videos with hand-made masks of what sounds, to measure on.

<name>.mp4               any number of videos
masks/<name>/<k>.png     for k = 0, 1, ...: class indices of what sounds in second [k, k + 1),
                         on the frame on display at k + 0.5 s; 0 = nothing, 255 = not scored
classes.json             {"background": 0, "<class>": index, ...}
"""

import json
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from numpy.typing import NDArray

from avsegcli.audio.log_mel import SAMPLE_RATE
from avsegcli.datasets.avsbench import BACKGROUND
from avsegcli.datasets.clip import Clip
from avsegcli.datasets.files import read_indices, to_model_rate
from avsegcli.errors import DataError

HALF_SECOND = Fraction(1, 2)
LAST_FRAME_S = 1  # for so long a video's last frame is taken to be on display
IGNORE_NAME = "ignore"  # may stand in classes.json for index 255; no class


class VideoFolder:
    """Videos with masks, in alphabetical order; videos without masks are left out.

    Args:
        root: the folder.

    Attributes:
        classes: names by index, background first.
        notes: what a user should know about these data, one sentence each.

    Raises:
        DataError: if the folder, classes.json or every mask is missing.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.classes = _read_classes(root / "classes.json")
        videos = sorted(root.glob("*.mp4"))
        self._videos = [video for video in videos if self._num_masks(video)]
        if not self._videos:
            raise DataError(f"{root} has no video <name>.mp4 with masks in masks/<name>/")
        self.notes: list[str] = []
        without = [video.name for video in videos if video not in self._videos]
        if without:
            self.notes.append(f"left out, without masks: {', '.join(without)}")

    def __len__(self) -> int:
        return len(self._videos)

    def __getitem__(self, index: int) -> Clip:
        """Read one video as far as it has masks.

        Raises:
            DataError: if the video cannot be decoded or ends too early, or if a mask is missing,
                is not of the video's size or has an index that is no class.
        """
        video = self._videos[index]
        num_frames = self._num_masks(video)
        frames, waveform = _decode(video, num_frames)
        labels = np.stack([self._read_mask(video, k, frames[0].shape) for k in range(num_frames)])
        annotated = np.ones(num_frames, bool)
        return Clip(video.stem, np.stack(frames), waveform, labels, annotated, None, None)

    def _num_masks(self, video: Path) -> int:
        return len(list((self.root / "masks" / video.stem).glob("*.png")))

    def _read_mask(self, video: Path, k: int, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        path = self.root / "masks" / video.stem / f"{k}.png"
        mask = read_indices(path)
        if mask.shape != shape[:2]:
            raise DataError(f"{path} is {_size(mask.shape)}, its video {_size(shape)}")
        unknown = set(np.unique(mask).tolist()) - {*range(len(self.classes)), 255}
        if unknown:
            raise DataError(f"{path} has index {min(unknown)}, which classes.json does not name")
        return mask


def _read_classes(path: Path) -> tuple[str, ...]:
    try:
        indices = json.loads(path.read_text())
        indices.pop(IGNORE_NAME, None)
        classes = tuple(sorted(indices, key=indices.__getitem__))
        counted = [indices[name] for name in classes] == list(range(len(classes)))
    except OSError as error:
        raise DataError(f"{path} is missing or cannot be read") from error
    except (ValueError, AttributeError, TypeError) as error:
        raise DataError(f"{path} is no JSON object of class names and indices") from error
    if not counted or classes[:1] != (BACKGROUND,):
        raise DataError(f"{path} does not count its classes 0, 1, ... with '{BACKGROUND}' first")
    return classes


def _decode(video: Path, num_frames: int) -> tuple[list[NDArray[np.uint8]], NDArray[np.float32]]:
    """Decode the frames on display at 0.5, 1.5, ... s and the sound of those seconds."""
    try:
        with av.open(str(video), "r") as container:
            frames, first_s = _decode_frames(container, num_frames)
        with av.open(str(video), "r") as container:
            waveform = _decode_sound(container, first_s, num_frames)
    except (av.FFmpegError, IndexError) as error:
        raise DataError(f"{video} cannot be decoded: {error}") from error
    if len(frames) < num_frames:
        raise DataError(f"{video} ends before {len(frames) + 0.5} s but has {num_frames} masks")
    return frames, waveform


def _decode_frames(
    container: InputContainer, num_frames: int
) -> tuple[list[NDArray[np.uint8]], Fraction]:
    """Decode RGB frames, and the time stamp in seconds of the video's first."""
    frames: list[NDArray[np.uint8]] = []
    first_s: Fraction | None = None
    for shown, begin_s, end_s in _on_display(container):
        first_s = begin_s if first_s is None else first_s
        while len(frames) < num_frames and end_s - first_s > len(frames) + HALF_SECOND:
            frames.append(np.asarray(shown.to_ndarray(format="rgb24"), np.uint8))
        if len(frames) == num_frames:
            break
    return frames, first_s or Fraction(0)


def _on_display(
    container: InputContainer,
) -> Iterator[tuple[av.VideoFrame, Fraction, Fraction]]:
    """Decode the frames with the times, in seconds, at which each begins and is replaced."""
    shown: tuple[av.VideoFrame, Fraction] | None = None
    for frame in container.decode(container.streams.video[0]):
        if shown is not None:
            yield *shown, _time(frame)
        shown = frame, _time(frame)
    if shown is not None:
        yield *shown, shown[1] + LAST_FRAME_S


def _decode_sound(
    container: InputContainer, first_s: Fraction, num_seconds: int
) -> NDArray[np.float32]:
    """Decode `num_seconds` of sound from the video's first frame on, silence where it has none."""
    waveform = np.zeros(num_seconds * SAMPLE_RATE, np.float32)
    if not container.streams.audio:
        return waveform
    stream = container.streams.audio[0]
    to_float = av.AudioResampler(format="fltp")
    begin_s: Fraction | None = None
    pieces: list[NDArray[np.float32]] = []
    for frame in container.decode(stream):
        begin_s = _time(frame) if begin_s is None else begin_s
        if _time(frame) - first_s > num_seconds + 1:
            break
        pieces += [piece.to_ndarray().mean(axis=0) for piece in to_float.resample(frame)]
    if begin_s is None:
        return waveform
    sound = to_model_rate(np.concatenate(pieces), stream.rate)
    start = round((begin_s - first_s) * SAMPLE_RATE)  # where in the waveform the sound sets in
    sound, start = sound[max(-start, 0) :], max(start, 0)
    sound = sound[: max(len(waveform) - start, 0)]
    waveform[start : start + len(sound)] = sound
    return waveform


def _time(frame: av.VideoFrame | av.AudioFrame) -> Fraction:
    """Time stamp in seconds; 0 of a frame that has none."""
    return Fraction(frame.pts or 0) * Fraction(frame.time_base or 0)


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]} x {shape[0]}"
