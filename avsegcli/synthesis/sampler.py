"""Sample the visible and the sounding classes of a composed clip."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.random import Generator

from avsegcli.audio.audioset import TAGS
from avsegcli.errors import DataError
from avsegcli.synthesis.parts import Parts
from avsegcli.synthesis.ranges import (
    INSTRUMENTS,
    PLAYER,
    CompositionSettings,
    may_sound_off_screen,
    noise_may_go_with,
    things_to_avoid,
)

Task = Literal["single", "multi", "semantic"]


@dataclass
class SampledScene:
    """The files a clip is made of; classes by index."""

    photo: Path = Path()  # a scene, or the background of pasted objects
    focus: int = 0  # class of the scene that the camera keeps in view; 0: no scene
    scene_classes: tuple[int, ...] = ()
    objects: list[tuple[int, Path]] = field(default_factory=list)  # pasted; 0: a silent thing
    held: set[int] = field(default_factory=set)  # places in `objects`, each by the object before it
    sounding: set[int] = field(default_factory=set)  # seen and heard
    sounds: dict[int, Path] = field(default_factory=dict)  # of each class heard, seen or not
    imagined: set[int] = field(default_factory=set)  # heard, but without a recording
    noise: Path | None = None

    def visible_classes(self) -> list[int]:
        """Give the classes in the picture."""
        return sorted({*self.scene_classes, *(index for index, _ in self.objects if index)})


class SceneSampler:
    """Draws scenes out of parts.

    Args:
        parts: one split of a parts folder.
        task: that the clips are composed for, see `Composer`.
        settings: how clips are drawn.

    Raises:
        DataError: if the parts lack something that the task needs.
    """

    def __init__(self, parts: Parts, task: Task, settings: CompositionSettings) -> None:
        self.parts, self.task, self.settings = parts, task, settings
        self._pasted = sorted(parts.objects)
        self._audible = set(parts.sounds)
        if settings.imagined:
            self._audible |= {index for index in parts.unrecorded if self._has_tags(index)}
        self._pasted_sounding = sorted(set(parts.objects) & self._audible)
        self._scenes_sounding = sorted(set(parts.scenes) & self._audible)
        if task == "multi" and len(self._pasted_sounding) < 2:
            raise DataError(
                f"{parts.root}: task multi needs two classes with cutouts and sounds "
                f"in split '{parts.split}'",
                "add some to objects/<class>/ and sounds/<class>/",
            )

    def draw(self, rng: Generator) -> SampledScene:
        """Draw the visible and the sounding classes of one clip."""
        settings, parts, scene = self.settings, self.parts, SampledScene()
        num_sounding, num_off_screen = self._draw_counts(rng)
        num_silent = _draw_count(rng, settings.num_silent)

        pasteable = self._pasted_sounding if num_sounding else parts.objects
        must_be_scene = not parts.backgrounds or not pasteable
        scenes = self._scenes_sounding if num_sounding else sorted(parts.scenes)
        if scenes and (must_be_scene or rng.random() < settings.scene):
            self._sample_photo(rng, scene, scenes, sounding=num_sounding > 0)
            if self.task != "multi":  # whose other classes are pasted in front, however many
                num_sounding = 0
                num_silent = int(rng.random() < settings.pasted_on_scene)
        else:
            scene.photo = _pick(rng, parts.backgrounds)
        self._sample_sounding(rng, scene, num_sounding - len(scene.sounding))
        nothing = not scene.objects and not scene.scene_classes
        if nothing and num_silent == 0:
            num_silent = int(rng.random() >= settings.empty)
        room = settings.max_objects - len(scene.objects) - bool(scene.scene_classes)
        for _ in range(min(num_silent, room)):
            self._sample_silent(rng, scene)
        rng.shuffle(scene.objects)
        self._sample_player(rng, scene)
        heard = scene.sounding | self._draw_off_screen(rng, scene, num_off_screen)
        scene.imagined = {
            index
            for index in sorted(heard)
            if index not in parts.sounds
            or (settings.imagined and rng.random() < settings.imagined and self._has_tags(index))
        }
        recorded = sorted(heard - scene.imagined)
        scene.sounds = {index: _pick(rng, parts.sounds[index]) for index in recorded}
        self._sample_noise(rng, scene)
        return scene

    def _has_tags(self, index: int) -> bool:
        return bool(TAGS.get(self.parts.classes[index]))

    def _draw_counts(self, rng: Generator) -> tuple[int, int]:
        """Draw the number of classes that are seen and heard, and of those that are heard only."""
        settings = self.settings
        if self.task == "single":
            return 1, 0
        if self.task == "multi":
            return 2 + _draw_count(rng, settings.num_sounding_multi), 0
        situation = rng.random()
        if situation < settings.silent_clip:
            return 0, 0
        if situation < settings.silent_clip + settings.off_screen_clip:
            return 0, 1
        extra = rng.random() < settings.off_screen_extra
        return 1 + _draw_count(rng, settings.num_sounding), int(extra)

    def _sample_photo(
        self, rng: Generator, scene: SampledScene, classes: Sequence[int], *, sounding: bool
    ) -> None:
        """Choose a class, frequent ones less often than by their share, and a photo of it."""
        scenes = self.parts.scenes
        weights = np.sqrt([len(scenes[index]) for index in classes])
        scene.focus = int(rng.choice(classes, p=weights / weights.sum()))
        scene.photo = _pick(rng, scenes[scene.focus])
        scene.scene_classes = self.parts.scene_classes[scene.photo]
        if not sounding:
            return
        scene.sounding.add(scene.focus)
        for other in scene.scene_classes:
            joins = rng.random() < self.settings.scene_class_sounds
            if joins and self.task == "semantic" and other in self._audible:
                scene.sounding.add(other)

    def _sample_sounding(self, rng: Generator, scene: SampledScene, wanted: int) -> None:
        """Add objects of classes that sound."""
        free = [index for index in self._pasted_sounding if index not in scene.scene_classes]
        number = min(max(wanted, 0), len(free))
        chosen = [int(index) for index in rng.choice(free, number, replace=False)] if free else []
        scene.sounding |= set(chosen)
        if chosen and rng.random() < self.settings.twin:
            chosen.append(chosen[0])
        scene.objects += [(index, _pick(rng, self.parts.objects[index])) for index in chosen]

    def _sample_silent(self, rng: Generator, scene: SampledScene) -> None:
        """Add an object that makes no sound: a thing, or one of a class that does not sound."""
        parts = self.parts
        avoid = things_to_avoid(parts.names(scene.sounding))
        things = [name for name in parts.things if name not in avoid]
        known = [index for index in self._pasted if index not in scene.sounding]
        if things and (not known or rng.random() < self.settings.silent_thing):
            scene.objects.append((0, _pick(rng, parts.things[str(rng.choice(things))])))
        elif known:
            index = int(rng.choice(known))
            scene.objects.append((index, _pick(rng, parts.objects[index])))

    def _sample_player(self, rng: Generator, scene: SampledScene) -> None:
        """Put a silent person behind an instrument that sounds."""
        if not self.settings.player or PLAYER not in self.parts.classes:
            return
        person = self.parts.classes.index(PLAYER)
        names = self.parts.classes
        instruments = [
            place
            for place, (index, _) in enumerate(scene.objects)
            if index in scene.sounding and names[index] in INSTRUMENTS
        ]
        possible = instruments and person in self.parts.objects and person not in scene.sounding
        if possible and rng.random() < self.settings.player:
            place = int(rng.choice(instruments))
            scene.objects.insert(place, (person, _pick(rng, self.parts.objects[person])))
            scene.held.add(place + 1)

    def _draw_off_screen(self, rng: Generator, scene: SampledScene, wanted: int) -> set[int]:
        """Draw a class that nothing in the picture could be taken for."""
        visible_classes = self.parts.names(scene.visible_classes())
        things = {path.parent.name for index, path in scene.objects if index == 0}
        free = [
            index
            for index in sorted(self._audible)
            if may_sound_off_screen(self.parts.classes[index], visible_classes)
            and things.isdisjoint(things_to_avoid(self.parts.names([index])))
        ]
        return {int(rng.choice(free))} if wanted and free else set()

    def _sample_noise(self, rng: Generator, scene: SampledScene) -> None:
        visible_classes, noises = self.parts.names(scene.visible_classes()), self.parts.noises
        kinds = [kind for kind in noises if noise_may_go_with(kind, visible_classes)]
        if kinds and rng.random() < self.settings.background_noise:
            scene.noise = _pick(rng, noises[str(rng.choice(kinds))])


def _pick(rng: Generator, files: Sequence[Path]) -> Path:
    return files[int(rng.integers(len(files)))]


def _draw_count(rng: Generator, shares: Sequence[float]) -> int:
    return int(rng.choice(len(shares), p=np.asarray(shares) / np.sum(shares)))
