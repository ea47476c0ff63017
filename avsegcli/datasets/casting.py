"""Who is seen and who is heard in a composed clip."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from avsegcli.datasets.composition import (
    CompositionSettings,
    may_sound_off_screen,
    noise_may_go_with,
    things_to_avoid,
)
from avsegcli.datasets.parts import Parts
from avsegcli.errors import DataError

Task = Literal["single", "multi", "semantic"]


@dataclass
class Cast:
    """The files a clip is made of; classes by index."""

    photo: Path | None = None  # a scene, or the background of pasted objects
    focus: int = 0  # class of the scene that the camera keeps in view; 0: no scene
    scene_classes: tuple[int, ...] = ()
    objects: list[tuple[int, Path]] = field(default_factory=list)  # pasted; 0: a silent thing
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
        pasted = set(parts.objects) if parts.backgrounds else set()
        self._pasted = sorted(pasted)
        self._pasted_sounding = sorted(pasted & set(parts.sounds))
        self._scenes_sounding = sorted(set(parts.scenes) & set(parts.sounds))
        if task == "multi" and len(self._pasted_sounding) < 2:
            raise DataError(
                f"{parts.root}: task multi needs two classes with cutouts and sounds "
                f"in split '{parts.split}'",
                "add cutouts, sounds and backgrounds",
            )

    def _draw_cast(self, rng: Generator) -> _Cast:
        settings, cast = self.settings, _Cast()
        num_sounding, num_off_screen = self._draw_counts(rng)
        num_silent = int(rng.choice(len(settings.num_silent), p=_shares(settings.num_silent)))

        scene_wanted = rng.random() < settings.scene or not self._pasted
        if scene_wanted and (self._scenes_sounding if num_sounding else self.parts.scenes):
            self._cast_scene(rng, cast, num_sounding)
            more = not self._pasted or rng.random() >= settings.pasted_on_scene
            if self.task != "multi":
                num_sounding = num_sounding and len(cast.sounding)
                num_silent = 0 if more else 1
        free = [i for i in self._pasted_sounding if i not in self._scene_classes(cast)]
        missing = min(max(num_sounding - len(cast.sounding), 0), len(free))
        chosen = rng.choice(free, missing, replace=False).tolist() if missing else []
        cast.sounding |= set(chosen)
        for index in chosen:
            cast.objects.append((index, self._pick(rng, self.parts.objects[index])))
        if chosen and rng.random() < settings.twin:
            cast.objects.append((chosen[0], self._pick(rng, self.parts.objects[chosen[0]])))
        nothing = not cast.objects and cast.scene is None
        if nothing and num_silent == 0 and rng.random() >= settings.empty:
            num_silent = 1
        room = settings.max_objects - len(cast.objects) - (cast.scene is not None)
        for _ in range(min(num_silent, room)):
            self._cast_silent(rng, cast)
        self._cast_off_screen(rng, cast, num_off_screen)
        rng.shuffle(cast.objects)
        return cast

    def _draw_counts(self, rng: Generator) -> tuple[int, int]:
        """How many classes are seen and heard, and how many are heard only."""
        settings = self.settings
        if self.task == "single":
            return 1, 0
        if self.task == "multi":
            shares = _shares(settings.num_sounding_multi)
            return 2 + int(rng.choice(len(shares), p=shares)), 0
        situation = rng.random()
        if situation < settings.silent_clip:
            return 0, 0
        if situation < settings.silent_clip + settings.off_screen_clip:
            return 0, 1
        shares = _shares(settings.num_sounding)
        extra = rng.random() < settings.off_screen_extra
        return 1 + int(rng.choice(len(shares), p=shares)), int(extra)

    def _scene_classes(self, cast: _Cast) -> tuple[int, ...]:
        return self.parts.scene_classes[cast.scene] if cast.scene else ()

    def _cast_scene(self, rng: Generator, cast: _Cast, num_sounding: int) -> None:
        """Choose a class, the rarer the likelier than by its share, then a photo that shows it."""
        scenes = self.parts.scenes
        candidates = self._scenes_sounding if num_sounding else sorted(scenes)
        shares = _shares([len(scenes[i]) ** 0.5 for i in candidates])
        cast.focus = int(rng.choice(candidates, p=shares))
        cast.scene = self._pick(rng, scenes[cast.focus])
        if not num_sounding:
            return
        cast.sounding.add(cast.focus)
        for other in self._scene_classes(cast):
            if self.task == "semantic" and other != cast.focus and other in self.parts.sounds:
                if rng.random() < self.settings.scene_class_sounds:
                    cast.sounding.add(other)

    def _cast_silent(self, rng: Generator, cast: _Cast) -> None:
        """Add an object that makes no sound: a thing, or one of a class that does not sound."""
        avoid = things_to_avoid(self._names(sorted(cast.sounding)))
        things = [name for name in self.parts.things if name not in avoid]
        known = [i for i in self._pasted if i not in cast.sounding]
        if things and (not known or rng.random() < self.settings.silent_thing):
            cast.objects.append((0, self._pick(rng, self.parts.things[str(rng.choice(things))])))
        elif known:
            index = int(rng.choice(known))
            cast.objects.append((index, self._pick(rng, self.parts.objects[index])))

    def _cast_off_screen(self, rng: Generator, cast: _Cast, wanted: int) -> None:
        seen = {*self._scene_classes(cast), *(index for index, _ in cast.objects)}
        names = self._names(sorted(seen))
        things = {path.parent.name for index, path in cast.objects if index == 0}
        candidates = [
            i
            for i in self.parts.sounds
            if may_sound_off_screen(self.classes[i], names)
            and not things & things_to_avoid([self.classes[i]])
        ]
        if wanted and candidates:
            cast.off_screen.add(int(rng.choice(candidates)))

    @staticmethod
    def _pick(rng: Generator, files: Sequence[Path]) -> Path:
        return files[int(rng.integers(len(files)))]

