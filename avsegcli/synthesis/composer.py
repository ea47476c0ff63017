"""Labelled audio-visual clips, composed in memory from a parts folder.

A scene is sampled first (visible and sounding classes), then its picture and its sound are drawn.
The labels of second t are the objects that are both visible and truly heard in it.
"""

from pathlib import Path
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from avsegcli.audio.log_mel import SAMPLE_RATE
from avsegcli.datasets.clip import IGNORE, Clip
from avsegcli.synthesis.audio_mixer import Soundtrack, Source, draw_soundtrack, draw_spans
from avsegcli.synthesis.camera import draw_camera, film, frame_times
from avsegcli.synthesis.degradation import draw_degradation
from avsegcli.synthesis.geometry import REFERENCE_EDGE
from avsegcli.synthesis.objects import (
    Layer,
    Placement,
    draw_held_placement,
    draw_motion,
    draw_placement,
    make_layer,
    paste,
)
from avsegcli.synthesis.parts import Parts
from avsegcli.synthesis.ranges import CompositionSettings
from avsegcli.synthesis.sampler import SampledScene, SceneSampler, Task

ASPECTS = ((16, 9), (4, 3), (1, 1), (9, 16), (3, 4))  # width to height
ASPECT_SHARES = (0.45, 0.25, 0.10, 0.15, 0.05)


def clip_name(split: str, seed: int, index: int) -> str:
    """Name a composed clip: nothing else is needed to draw it again from the same parts."""
    return f"{split}_{seed}_{index:06d}"


class Composition(NamedTuple):
    """A composed clip and how it came about."""

    clip: Clip
    record: dict[str, Any]  # what, where, when, how loud; can be written as JSON


class Composer:
    """Draws clips out of parts.

    Args:
        parts: one split of a parts folder.
        task: "semantic": none, one or more classes sound; "single": one visible class does;
            "multi": two to four visible classes do.
        num_frames: T, one frame a second.
        size: edge of the square frame, or (height, width).
        aspect: "mixed" draws a common ratio of width to height for each clip; its longest side is
            then `size`.
        settings: how clips are drawn.

    Raises:
        DataError: if the parts lack something that the task needs.

    Attributes:
        classes: those of the parts, "background" first.
    """

    def __init__(
        self,
        parts: Parts,
        *,
        task: Task = "semantic",
        num_frames: int = 5,
        size: int | tuple[int, int] = 224,
        aspect: Literal["square", "mixed"] = "square",
        settings: CompositionSettings | None = None,
    ) -> None:
        self.parts, self.task, self.num_frames = parts, task, num_frames
        self.size, self.aspect = size, aspect
        self.settings = settings or CompositionSettings()
        self.train = parts.split == "train"
        self.classes = parts.classes
        self._sampler = SceneSampler(parts, task, self.settings)

    # ------------------------------------------------------------------------------ the whole

    def compose(self, seed: int, index: int) -> Composition:
        """Compose one clip; the same seed and index give the same bytes.

        Args:
            seed: of the data set.
            index: of the clip in it.
        """
        streams = np.random.SeedSequence([seed, index]).spawn(3)
        scene_rng, picture_rng, sound_rng = (np.random.default_rng(stream) for stream in streams)
        scene = self._sampler.draw(scene_rng)
        frames, visible, picture_record = self._draw_picture(picture_rng, scene)
        sound = self._draw_sound(sound_rng, scene)
        imagined = self._imagine(sound_rng, scene) if scene.imagined else None
        if imagined is not None:
            sound = sound._replace(heard=sound.heard | imagined)

        labels = np.empty_like(visible)
        for t, heard in enumerate(sound.heard):
            shown = np.zeros(256, np.uint8)
            shown[: len(heard)] = np.where(heard, np.arange(len(heard)), 0)
            shown[IGNORE] = IGNORE
            labels[t] = shown[visible[t]]
        name = clip_name(self.parts.split, seed, index)
        annotated = np.ones(self.num_frames, bool)
        clip = Clip(
            name,
            frames,
            sound.waveform,
            labels,
            annotated,
            visible,
            sound.heard,
            imagined=imagined,
        )
        record = {
            "name": name,
            "seed": seed,
            "index": index,
            "split": self.parts.split,
            "task": self.task,
            "size": list(frames.shape[1:3]),
            "picture": picture_record,
            "sound": self._sound_record(sound),
            "visible": self.parts.names(np.unique(visible)),
            "heard": [self.parts.names(np.flatnonzero(heard)) for heard in sound.heard],
        }
        return Composition(clip, record)

    # ---------------------------------------------------------------------------- the picture

    def _draw_size(self, rng: Generator) -> tuple[int, int]:
        if isinstance(self.size, tuple):
            return self.size
        if self.aspect == "square":
            return self.size, self.size
        wide, high = ASPECTS[int(rng.choice(len(ASPECTS), p=ASPECT_SHARES))]
        unit = self.size / max(wide, high)
        return 2 * round(high * unit / 2), 2 * round(wide * unit / 2)

    def _draw_picture(
        self, rng: Generator, scene: SampledScene
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8], dict[str, Any]]:
        settings, parts = self.settings, self.parts
        size, times = self._draw_size(rng), frame_times(self.num_frames)
        if scene.focus:
            photo, mask = parts.scene(scene.photo)
            focus = _box_of(mask == scene.focus)
            camera = draw_camera(rng, photo.shape[:2], size, times, settings, focus)
            frames, visible = film(photo, mask, camera, size)
        else:
            photo = parts.photo(scene.photo)
            camera = draw_camera(rng, photo.shape[:2], size, times, settings)
            blurred = rng.random() < settings.background_blur
            sigma = rng.uniform(0.5, 2.5) * min(size) / REFERENCE_EDGE if blurred else 0.0
            frames, visible = film(photo, None, camera, size, sigma)

        strength = settings.strength_train if self.train else settings.strength_held_out
        middle = frames[self.num_frames // 2].copy()
        places: list[Placement] = []
        object_records = []
        for number, (class_index, path) in enumerate(scene.objects):
            cutout = parts.cutout(path)
            if number in scene.held:
                place = draw_held_placement(rng, cutout, places[-1])
            else:
                place = draw_placement(rng, cutout, size, places, settings)
            rgba = make_layer(rng, cutout, place, middle, strength, settings)
            matrices = draw_motion(rng, place, rgba.shape[:2], camera, size, times, settings)
            shadow = rng.uniform(0.1, 0.5) if rng.random() < settings.shadow else 0.0
            layer = Layer(rgba, matrices, class_index, float(shadow))
            for t in range(self.num_frames):
                paste(frames[t], visible[t], layer, matrices[t])
            places.append(place)
            object_records.append(self._object_record(class_index, path, layer, place, scene))
        degradation = draw_degradation(rng, size, self.train, settings)
        for t in range(self.num_frames):
            frames[t] = degradation(frames[t], t)
        record = {
            "kind": "scene" if scene.focus else "pasted",
            "file": self._relative(scene.photo),
            "camera": camera[:, :2].round(3).tolist(),
            "scene_classes": self.parts.names(scene.scene_classes),
            "sounding": self.parts.names(scene.sounding),
            "objects": object_records,
        }
        return frames, visible, record

    def _object_record(
        self, class_index: int, path: Path, layer: Layer, place: Placement, scene: SampledScene
    ) -> dict[str, Any]:
        return {
            "class": self.classes[class_index] if class_index else None,
            "thing": None if class_index else path.parent.name,
            "file": self._relative(path),
            "sounding": class_index in scene.sounding,
            "box": place.box().round(1).tolist(),
            "scale": round(place.scale, 4),
            "matrices": layer.matrices[:, :2].round(3).tolist(),
        }

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.parts.root).as_posix()

    # ------------------------------------------------------------------------------ the sound

    def _draw_sound(self, rng: Generator, scene: SampledScene) -> Soundtrack:
        sources = [
            Source(index, path, self.parts.recording(path), index in scene.sounding)
            for index, path in scene.sounds.items()
        ]
        noise = (scene.noise, self.parts.recording(scene.noise)) if scene.noise else None
        return draw_soundtrack(
            rng, sources, noise, self.num_frames, len(self.classes), self.train, self.settings
        )

    def _imagine(self, rng: Generator, scene: SampledScene) -> NDArray[np.bool_]:
        """Draw the seconds in which each imagined class sounds, ``(T, L + 1)``."""
        imagined = np.zeros((self.num_frames, len(self.classes)), bool)
        for index in sorted(scene.imagined):
            for start, end in draw_spans(rng, self.num_frames, self.settings):
                first, last = round(start / SAMPLE_RATE), round(end / SAMPLE_RATE)
                imagined[first : max(last, first + 1), index] = True
        return imagined

    def _sound_record(self, sound: Soundtrack) -> dict[str, Any]:
        record = dict(sound.record)
        record["sources"] = [
            {
                "class": self.classes[source["class_index"]],
                "file": self._relative(source["file"]),
                **{k: v for k, v in source.items() if k not in ("class_index", "file")},
            }
            for source in record["sources"]
        ]
        if record["noise"] is not None:
            record["noise"] = {**record["noise"], "file": self._relative(record["noise"]["file"])}
        return record


class ComposedDataset:
    """The first clips of a composer and a seed, as a data set; made anew at each access.

    Args:
        composer: draws the clips.
        seed: of the data set.
        num_clips: its length.
    """

    def __init__(self, composer: Composer, seed: int, num_clips: int) -> None:
        self.composer, self.seed, self.num_clips = composer, seed, num_clips
        self.classes = composer.classes

    def __len__(self) -> int:
        return self.num_clips

    def __getitem__(self, index: int) -> Clip:
        if not 0 <= index < self.num_clips:
            raise IndexError(index)
        return self.composer.compose(self.seed, index).clip


def _box_of(mask: NDArray[np.bool_]) -> tuple[float, float, float, float]:
    """Left, top, right, bottom of what is True."""
    left, top, width, height = cv2.boundingRect(mask.astype(np.uint8))
    return left, top, left + width, top + height
