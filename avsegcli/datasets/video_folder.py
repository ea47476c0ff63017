"""A folder of videos with hand-made masks of the sounding objects, for evaluation.

<name>.mp4               any number of videos
masks/<name>/<k>.png     for k = 0, 1, ...: class indices of what sounds in second [k, k + 1),
                         on the frame on display at k + 0.5 s; 0 = nothing, 255 = not scored
classes.json             {"background": 0, "<class>": index, ...}
"""

from contextlib import closing
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from avsegcli.audio.load import SoundReader
from avsegcli.audio.log_mel import SAMPLE_RATE
from avsegcli.datasets.clip import Clip
from avsegcli.datasets.io import read_classes, read_indices
from avsegcli.errors import DataError
from avsegcli.video.reader import VideoReader

HALF_S = Fraction(1, 2)


class VideoFolder:
    """Videos with masks, in alphabetical order; videos without masks are left out.

    Args:
        root: the folder.

    Attributes:
        classes: names by index, background first.
        names: of the clips.
        notes: remarks on these data for the user, one sentence each.

    Raises:
        DataError: if the folder, classes.json or every mask is missing.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.classes = read_classes(root / "classes.json", 0)
        videos = sorted(root.glob("*.mp4"))
        self._videos = [video for video in videos if self._num_masks(video)]
        if not self._videos:
            raise DataError(f"{root} has no video <name>.mp4 with masks in masks/<name>/")
        self.names = [video.stem for video in self._videos]
        self.notes: list[str] = []
        without = [video.name for video in videos if video not in self._videos]
        if without:
            self.notes.append(f"left out, without masks: {', '.join(without)}")

    def __len__(self) -> int:
        return len(self._videos)

    def __getitem__(self, index: int) -> Clip:
        """Read one video as far as it has masks.

        Raises:
            MediaError: if the video cannot be decoded.
            DataError: if it ends too early, or if a mask is missing, is not of the size at which
                the video is shown or has an index that is no class.
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


def _decode(video: Path, num_frames: int) -> tuple[list[NDArray[np.uint8]], NDArray[np.float32]]:
    """Decode the frames on display at 0.5, 1.5, ... s and the sound of those seconds."""
    with closing(VideoReader(video)) as pictures:
        frames, first_s = _on_display(pictures, num_frames)
        has_sound = pictures.has_sound
    if len(frames) < num_frames:
        raise DataError(f"{video} ends before {len(frames) + 0.5} s but has {num_frames} masks")
    if not has_sound:
        return frames, np.zeros(num_frames * SAMPLE_RATE, np.float32)
    with closing(SoundReader(video)) as sound:
        return frames, sound.waveform(round(first_s * SAMPLE_RATE), num_frames * SAMPLE_RATE)


def _on_display(pictures: VideoReader, num_frames: int) -> tuple[list[NDArray[np.uint8]], Fraction]:
    """Read RGB frames, and when, in seconds, the video's first begins."""
    frames: list[NDArray[np.uint8]] = []
    first_s: Fraction | None = None
    for frame in pictures:
        begin_s, duration_s = frame.pts * frame.time_base, frame.duration * frame.time_base
        first_s = begin_s if first_s is None else first_s
        while len(frames) < num_frames and begin_s + duration_s > first_s + len(frames) + HALF_S:
            frames.append(np.asarray(frame.to_ndarray(format="rgb24"), np.uint8))
        if len(frames) == num_frames:
            break
    return frames, first_s or Fraction(0)


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]} x {shape[0]}"
