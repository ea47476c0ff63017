"""Audio-dependence tests: a model can score well by painting salient objects, without the sound.

mute  sound replaced by silence: predicted area, as a share of the area with sound; 0 is best
swap  sound of a clip of which no class is in the picture: likewise
solo  two objects in the picture, one of them sounds: J of that one minus J of the silent one

Areas are shares of the picture, summed over all frames of all clips before they are divided.
"""

import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from avsegcli.datasets.clip import IGNORE, Clip, ClipDataset
from avsegcli.datasets.transforms import Convention, clip_log_mel
from avsegcli.distributed import SINGLE_PROCESS, Processes
from avsegcli.evaluation.class_mapping import fold_people
from avsegcli.evaluation.metrics.avsbench import iou, mean
from avsegcli.evaluation.prediction import ClipPredictor, predict_clip
from avsegcli.inference.postprocess import above_threshold
from avsegcli.inference.preprocess import resize_labels


@dataclass(frozen=True)
class AudioDependenceScores:
    """The three numbers, None where there is nothing to divide by, and what they rest on."""

    mute: float | None
    mute_clips: int
    swap: float | None
    swap_clips: int  # clips for which there is a sound of something else
    solo: float | None  # mean over clips of the mean over their frames
    solo_clips: int  # clips with such a frame


class _Profile(NamedTuple):
    """Summary of a clip for the tests."""

    place: int  # in the data set
    size: tuple[int, int]  # rows and columns that are scored
    visible: frozenset[str] | None  # classes in the picture; None: unknown
    heard: frozenset[str]
    area: float  # painted with its own sound, summed over frames
    muted_area: float


class AudioDependence:
    """Asks the predictor about the same pictures with other sounds.

    Args:
        predictor: the model to evaluate.
        dataset: where the sounds of other clips come from.
        convention: how examples are cut from a waveform.
        seed: decides which other clip's sound is taken.
    """

    def __init__(
        self,
        predictor: ClipPredictor,
        dataset: ClipDataset,
        *,
        convention: Convention = "aligned",
        seed: int = 0,
    ) -> None:
        self._predictor, self._dataset = predictor, dataset
        self._convention, self._seed = convention, seed
        self._kinds = fold_people(dataset.classes)
        self._clips: dict[str, _Profile] = {}
        self._solos: dict[str, float] = {}

    def update(self, index: int, clip: Clip, probs: NDArray[np.float32]) -> None:
        """Take in one clip of the data set.

        Args:
            index: its place there.
            clip: what stands at that place.
            probs: what is predicted for it with its own sound, ``(T, H, W)`` at scored size.
        """
        rows, columns = probs.shape[1:]
        self._clips[clip.name] = _Profile(
            place=index,
            size=(rows, columns),
            visible=self._visible(clip),
            heard=self._heard(clip),
            area=_area(probs),
            muted_area=self._area_with(np.zeros_like(clip.waveform), clip, (rows, columns)),
        )
        gains = list(_solo_gains(clip, probs))
        if gains:
            self._solos[clip.name] = mean(gains)

    def merge(self, other: "AudioDependence") -> None:
        """Take in the clips that another process has seen."""
        self._clips |= other._clips
        self._solos |= other._solos

    def __getstate__(self) -> dict[str, Any]:
        """Send the results to another process, not the model and the data."""
        return {"_clips": self._clips, "_solos": self._solos}

    def compute(self, processes: Processes = SINGLE_PROCESS) -> AudioDependenceScores:
        """Swap the sounds and reduce; reads each clip that gets or gives a sound once more.

        Args:
            processes: among which the swaps are divided; each must have all clips.
        """
        clips = [profile for _, profile in sorted(self._clips.items())]
        pairs = [(name, self._donor(name)) for name in sorted(self._clips)]
        swaps = [(self._clips[name], donor) for name, donor in pairs if donor is not None]
        swapped = processes.divide(len(swaps), lambda number: self._area_swapped(*swaps[number]))
        return AudioDependenceScores(
            mute=_ratio([clip.muted_area for clip in clips], [clip.area for clip in clips]),
            mute_clips=len(clips),
            swap=_ratio(swapped, [taker.area for taker, _ in swaps]),
            swap_clips=len(swaps),
            solo=mean([self._solos[name] for name in sorted(self._solos)]) if self._solos else None,
            solo_clips=len(self._solos),
        )

    def _area_swapped(self, taker: _Profile, donor: _Profile) -> float:
        waveform = self._dataset[donor.place].waveform
        return self._area_with(waveform, self._dataset[taker.place], taker.size)

    def _area_with(self, waveform: NDArray[np.float32], clip: Clip, size: tuple[int, int]) -> float:
        log_mel = clip_log_mel(waveform, len(clip.frames), self._convention)
        return _area(predict_clip(self._predictor, clip.frames, log_mel, size=size).probs)

    def _donor(self, name: str) -> _Profile | None:
        """Choose a clip that is heard and of which no class is visible in the named one."""
        visible = self._clips[name].visible
        if visible is None:
            return None
        fitting = [
            other
            for other in sorted(self._clips)
            if other != name and self._clips[other].heard and not self._clips[other].heard & visible
        ]
        if not fitting:
            return None
        # Of the name, not the place: the choice must not change with the order of the clips.
        random = np.random.default_rng([self._seed, zlib.crc32(name.encode())])
        return self._clips[fitting[random.integers(len(fitting))]]

    def _visible(self, clip: Clip) -> frozenset[str] | None:
        """Classes in the picture; of a clip with labels only, those that sound, if any do."""
        if clip.visible is not None:
            return self._names(np.unique(clip.visible))
        return self._names(np.unique(clip.labels[clip.annotated])) or None

    def _heard(self, clip: Clip) -> frozenset[str]:
        if clip.heard is not None:
            return self._names(np.flatnonzero(clip.heard.any(axis=0)))
        return self._names(np.unique(clip.labels[clip.annotated]))

    def _names(self, indices: NDArray[np.integer]) -> frozenset[str]:
        return frozenset(self._kinds[index] for index in indices if index not in (0, IGNORE))


def _solo_gains(clip: Clip, probs: NDArray[np.float32]) -> Iterator[float]:
    """J of the sounding minus J of the silent object, of each frame that has one of both."""
    if clip.visible is None:
        return
    size = probs.shape[1], probs.shape[2]
    for t in np.flatnonzero(clip.annotated):
        labels = resize_labels(clip.labels[t], size)
        visible = resize_labels(clip.visible[t], size)
        valid = (labels != IGNORE) & (visible != IGNORE)
        sounding = (labels > 0) & valid
        silent = (visible > 0) & (labels == 0) & valid
        if len(np.unique(labels[sounding])) == len(np.unique(visible[silent])) == 1:
            painted = above_threshold(probs[t]) & valid
            yield iou(painted, sounding) - iou(painted, silent)


def _area(probs: NDArray[np.float32]) -> float:
    """Painted shares of the frames, ``(T, H, W)``, summed."""
    return math.fsum(above_threshold(probs).mean(axis=(1, 2)))


def _ratio(part: list[float], whole: list[float]) -> float | None:
    total = math.fsum(whole)
    return math.fsum(part) / total if total else None
