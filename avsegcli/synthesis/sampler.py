"""Who is seen and who is heard in a composed clip."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.random import Generator

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
class Cast:
    """The files a clip is made of; classes by index."""

    photo: Path = Path()  # a scene, or the background of pasted objects
    focus: int = 0  # class of the scene that the camera keeps in view; 0: no scene
    scene_classes: tuple[int, ...] = ()
    objects: list[tuple[int, Path]] = field(default_factory=list)  # pasted; 0: a silent thing
    held: set[int] = field(default_factory=set)  # places in `objects`, each by the object before it
    sounding: set[int] = field(default_factory=set)  # seen and heard
    sounds: dict[int, Path] = field(default_factory=dict)  # of each class heard, seen or not
    noise: Path | None = None

    def seen(self) -> list[int]:
        """Give the classes in the picture."""
        return sorted({*self.scene_classes, *(index for index, _ in self.objects if index)})


class Casting:
    """Draws casts out of parts.

    Args:
        parts: one split of a parts folder.
        task: what the clips are for, see `Composer`.
        settings: how clips are drawn.

    Raises:
        DataError: if the parts do not hold what the task needs.
    """

    def __init__(self, parts: Parts, task: Task, settings: CompositionSettings) -> None:
        self.parts, self.task, self.settings = parts, task, settings
        self._pasted = sorted(parts.objects)
        self._pasted_sounding = sorted(set(parts.objects) & set(parts.sounds))
        self._scenes_sounding = sorted(set(parts.scenes) & set(parts.sounds))
        if task == "multi" and len(self._pasted_sounding) < 2:
            raise DataError(
                f"{parts.root}: task multi needs two classes with cutouts and sounds "
                f"in split '{parts.split}'",
                "add some to objects/<class>/ and sounds/<class>/",
            )

    def draw(self, rng: Generator) -> Cast:
        """Draw who is seen and who is heard in one clip."""
        settings, parts, cast = self.settings, self.parts, Cast()
        num_sounding, num_off_screen = self._draw_counts(rng)
        num_silent = _draw_count(rng, settings.num_silent)

        pasteable = self._pasted_sounding if num_sounding else parts.objects
        must_be_scene = not parts.backgrounds or not pasteable
        scenes = self._scenes_sounding if num_sounding else sorted(parts.scenes)
        if scenes and (must_be_scene or rng.random() < settings.scene):
            self._cast_scene(rng, cast, scenes, sounding=num_sounding > 0)
            if self.task != "multi":  # whose other classes are pasted in front, however many
                num_sounding = 0
                num_silent = int(rng.random() < settings.pasted_on_scene)
        else:
            cast.photo = _pick(rng, parts.backgrounds)
        self._cast_sounding(rng, cast, num_sounding - len(cast.sounding))
        nothing = not cast.objects and not cast.scene_classes
        if nothing and num_silent == 0:
            num_silent = int(rng.random() >= settings.empty)
        room = settings.max_objects - len(cast.objects) - bool(cast.scene_classes)
        for _ in range(min(num_silent, room)):
            self._cast_silent(rng, cast)
        rng.shuffle(cast.objects)
        self._cast_player(rng, cast)
        heard = cast.sounding | self._draw_off_screen(rng, cast, num_off_screen)
        cast.sounds = {index: _pick(rng, parts.sounds[index]) for index in sorted(heard)}
        self._cast_noise(rng, cast)
        return cast

    def _draw_counts(self, rng: Generator) -> tuple[int, int]:
        """How many classes are seen and heard, and how many are heard only."""
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

    def _cast_scene(
        self, rng: Generator, cast: Cast, classes: Sequence[int], *, sounding: bool
    ) -> None:
        """Choose a class, frequent ones less often than by their share, and a photo of it."""
        scenes = self.parts.scenes
        weights = np.sqrt([len(scenes[index]) for index in classes])
        cast.focus = int(rng.choice(classes, p=weights / weights.sum()))
        cast.photo = _pick(rng, scenes[cast.focus])
        cast.scene_classes = self.parts.scene_classes[cast.photo]
        if not sounding:
            return
        cast.sounding.add(cast.focus)
        for other in cast.scene_classes:
            joins = rng.random() < self.settings.scene_class_sounds
            if joins and self.task == "semantic" and other in self.parts.sounds:
                cast.sounding.add(other)

    def _cast_sounding(self, rng: Generator, cast: Cast, wanted: int) -> None:
        """Add objects of classes that sound."""
        free = [index for index in self._pasted_sounding if index not in cast.scene_classes]
        number = min(max(wanted, 0), len(free))
        chosen = [int(index) for index in rng.choice(free, number, replace=False)] if free else []
        cast.sounding |= set(chosen)
        if chosen and rng.random() < self.settings.twin:
            chosen.append(chosen[0])
        cast.objects += [(index, _pick(rng, self.parts.objects[index])) for index in chosen]

    def _cast_silent(self, rng: Generator, cast: Cast) -> None:
        """Add an object that makes no sound: a thing, or one of a class that does not sound."""
        parts = self.parts
        avoid = things_to_avoid(parts.names(cast.sounding))
        things = [name for name in parts.things if name not in avoid]
        known = [index for index in self._pasted if index not in cast.sounding]
        if things and (not known or rng.random() < self.settings.silent_thing):
            cast.objects.append((0, _pick(rng, parts.things[str(rng.choice(things))])))
        elif known:
            index = int(rng.choice(known))
            cast.objects.append((index, _pick(rng, parts.objects[index])))

    def _cast_player(self, rng: Generator, cast: Cast) -> None:
        """Put a silent person behind an instrument that sounds."""
        if not self.settings.player or PLAYER not in self.parts.classes:
            return
        person = self.parts.classes.index(PLAYER)
        names = self.parts.classes
        instruments = [
            place
            for place, (index, _) in enumerate(cast.objects)
            if index in cast.sounding and names[index] in INSTRUMENTS
        ]
        possible = instruments and person in self.parts.objects and person not in cast.sounding
        if possible and rng.random() < self.settings.player:
            place = int(rng.choice(instruments))
            cast.objects.insert(place, (person, _pick(rng, self.parts.objects[person])))
            cast.held.add(place + 1)

    def _draw_off_screen(self, rng: Generator, cast: Cast, wanted: int) -> set[int]:
        """Draw a class that nothing in the picture could be taken for."""
        seen = self.parts.names(cast.seen())
        things = {path.parent.name for index, path in cast.objects if index == 0}
        free = [
            index
            for index in self.parts.sounds
            if may_sound_off_screen(self.parts.classes[index], seen)
            and things.isdisjoint(things_to_avoid(self.parts.names([index])))
        ]
        return {int(rng.choice(free))} if wanted and free else set()

    def _cast_noise(self, rng: Generator, cast: Cast) -> None:
        seen, noises = self.parts.names(cast.seen()), self.parts.noises
        kinds = [kind for kind in noises if noise_may_go_with(kind, seen)]
        if kinds and rng.random() < self.settings.background_noise:
            cast.noise = _pick(rng, noises[str(rng.choice(kinds))])


def _pick(rng: Generator, files: Sequence[Path]) -> Path:
    return files[int(rng.integers(len(files)))]


def _draw_count(rng: Generator, shares: Sequence[float]) -> int:
    return int(rng.choice(len(shares), p=np.asarray(shares) / np.sum(shares)))
