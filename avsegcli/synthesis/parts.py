"""A parts folder: cutouts, backgrounds, photos with masks and sounds that clips are composed of.

    objects/<class>/<split>-<source>-<id>.webp          cutout with alpha
    objects/_silent/<thing>/<split>-<source>-<id>.webp  thing that makes no sound here
    backgrounds/<split>-<source>-<id>.jpg               photo without any object of a class
    sounds/<class>/<split>-<source>-<id>.ogg            recording of one class
    noise/<kind>/<split>-<source>-<id>.ogg              recording of no class
    scenes/<split>-<source>-<id>.{jpg,png}              photo and its mask of class indices
    scenes/classes.json                                 {"background": 0, "<class>": index, ...}

The names of the folders are the classes unless a list says otherwise, the start of a file's name
is its split.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import soxr
from numpy.typing import NDArray

from avsegcli.audio.log_mel import SAMPLE_RATE
from avsegcli.datasets.clip import IGNORE
from avsegcli.datasets.io import decode_picture, read_indices, read_samples
from avsegcli.errors import DataError

SPLITS = ("train", "val", "test")
SILENT = "_silent"
PICTURES = {".webp", ".png", ".jpg", ".jpeg"}
PHOTOS = {".jpg", ".jpeg", ".webp"}
RECORDINGS = {".ogg", ".wav", ".flac", ".mp3"}
LOUDNESS_BLOCK = 320  # samples: 20 ms
FEW = 3  # recordings; with fewer of them a class cannot be learned by its sound


class Scene(NamedTuple):
    """A whole photo and the class of each of its pixels."""

    photo: NDArray[np.uint8]  # (H, W, 3), RGB
    mask: NDArray[np.uint8]  # (H, W), class index, 0 background, 255 ignore


class Recording(NamedTuple):
    """A sound as it was recorded."""

    samples: NDArray[np.int16]  # (S,), mono at 16 kHz
    power: NDArray[np.float32]  # (S // 320,), mean square of each 20 ms, full scale = 1
    loud: float  # power of its loudest twentieth of blocks: what its level is set by


class Parts:
    """The parts of one split, found at once and decoded when first asked for.

    What was decoded stays in memory, so that composing does not wait for files; `preload` decodes
    everything, for worker processes to share.

    Args:
        root: a parts folder.
        split: "train", "val" or "test".
        classes: names without background; empty: the folders of objects. A silent thing
            that is named here is a class; one that is not named is background.

    Attributes:
        classes: "background", then the others in alphabetical order.
        objects: class index to its cutouts; only classes that have some.
        things: name of a silent thing to its cutouts.
        backgrounds: photos to paste on.
        scenes: class index to the photos that show it.
        scene_classes: photo to the class indices that it shows.
        sounds: class index to its recordings.
        unrecorded: classes with pictures but fewer than `FEW` recordings; only with `classes`.
        noises: kind of noise to its recordings.

    Raises:
        DataError: if the folder is none, or no class can be both seen and heard in this split.
    """

    def __init__(self, root: Path, split: str, classes: Sequence[str] = ()) -> None:
        self.root, self.split, self._chosen = Path(root), split, tuple(classes)
        if not self.root.is_dir():
            raise DataError(
                f"{root}: no such parts folder",
                "it must hold objects/<class>/, sounds/<class>/ and backgrounds/",
            )
        seen = [folder.name for folder in _folders(self.root / "objects")]
        names = {name for name in seen if not name.startswith("_")}
        self.classes: tuple[str, ...] = ("background", *sorted(classes or names))
        self._decoded: dict[Path, Any] = {}
        self.objects = self._by_class("objects", PICTURES)
        self.sounds = self._by_class("sounds", RECORDINGS)
        self.things = self._by_folder(self.root / "objects" / SILENT, PICTURES)
        for index, name in enumerate(self.classes):
            if name in self.things:
                self.objects[index] = self.objects.get(index, ()) + self.things.pop(name)
        self.noises = self._by_folder(self.root / "noise", RECORDINGS)
        self.backgrounds = self._files(self.root / "backgrounds", PICTURES)
        self.scene_classes = {path: present for path, present in self._find_scenes() if present}
        by_class = defaultdict(list)
        for path, present in self.scene_classes.items():
            for index in present:
                by_class[index].append(path)
        self.scenes = {index: tuple(by_class[index]) for index in sorted(by_class)}
        visible = set(self.objects) | set(self.scenes)
        self.unrecorded = tuple(
            index for index in sorted(visible) if classes and len(self.sounds.get(index, ())) < FEW
        )
        for index in self.unrecorded:
            self.sounds.pop(index, None)
        self._refuse_if_useless()

    def _refuse_if_useless(self) -> None:
        pasted = set(self.objects) if self.backgrounds else set()
        if not (pasted | set(self.scenes)) & set(self.sounds):
            raise DataError(
                f"{self.root}: no class has both a picture and a sound in split '{self.split}'",
                "files are named <split>-<source>-<id>, split one of train, val, test; "
                "cutouts also need backgrounds",
            )

    def _files(self, folder: Path, suffixes: set[str]) -> tuple[Path, ...]:
        if not folder.is_dir():
            return ()
        return tuple(
            sorted(
                path
                for path in folder.iterdir()
                if path.name.startswith(f"{self.split}-") and path.suffix.lower() in suffixes
            )
        )

    def _by_folder(self, folder: Path, suffixes: set[str]) -> dict[str, tuple[Path, ...]]:
        found = {inner.name: self._files(inner, suffixes) for inner in _folders(folder)}
        return {name: files for name, files in found.items() if files}

    def _by_class(self, kind: str, suffixes: set[str]) -> dict[int, tuple[Path, ...]]:
        found = self._by_folder(self.root / kind, suffixes)
        return {i: found[name] for i, name in enumerate(self.classes) if name in found}

    def _find_scenes(self) -> Iterator[tuple[Path, tuple[int, ...]]]:
        """Yield each photo with the classes that its mask holds."""
        photos = self._files(self.root / "scenes", PHOTOS)
        if not photos:
            return
        own_index = self._scene_index_table()
        for photo in photos:
            mask = own_index[read_indices(photo.with_suffix(".png"))]
            self._decoded[photo.with_suffix(".png")] = mask
            present = np.flatnonzero(np.bincount(mask.ravel(), minlength=256)[:IGNORE])
            yield photo, tuple(int(index) for index in present if index)

    def _scene_index_table(self) -> NDArray[np.uint8]:
        """The class index here of each index in the scenes' masks, ``(256,)``."""
        path = self.root / "scenes" / "classes.json"
        try:
            indices = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(
                f"{path}: cannot be read as JSON",
                'scenes need {"background": 0, "<class>": <index in the masks>, ...}',
            ) from error
        table = np.zeros(256, np.uint8)
        table[IGNORE] = IGNORE
        for own, name in enumerate(self.classes):
            if name in indices:
                table[indices[name]] = own
        return table

    def names(self, indices: Iterable[int]) -> list[str]:
        """Name classes in the order of their indices; background and ignore have no name."""
        return [self.classes[index] for index in sorted(indices) if index not in (0, IGNORE)]

    def cutout(self, path: Path) -> NDArray[np.uint8]:
        """Give a cutout as RGBA, ``(H, W, 4)``, with its colours carried on outside its edge."""
        if path not in self._decoded:
            self._decoded[path] = _carry_on_colours(_read_cutout(path))
        cutout: NDArray[np.uint8] = self._decoded[path]
        return cutout

    def photo(self, path: Path) -> NDArray[np.uint8]:
        """Give a background or scene photo as RGB, ``(H, W, 3)``."""
        if path not in self._decoded:
            bgr = decode_picture(path, cv2.IMREAD_COLOR)
            self._decoded[path] = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
        photo: NDArray[np.uint8] = self._decoded[path]
        return photo

    def scene(self, path: Path) -> Scene:
        """Give a scene by the path of its photo."""
        photo, mask = self.photo(path), self._decoded[path.with_suffix(".png")]
        if photo.shape[:2] != mask.shape:
            raise DataError(
                f"{path}: photo and mask differ in size", "make both the same or remove them"
            )
        return Scene(photo, mask)

    def recording(self, path: Path) -> Recording:
        """Give a sound or noise."""
        if path not in self._decoded:
            samples = _read_recording(path)
            blocks = samples[: len(samples) // LOUDNESS_BLOCK * LOUDNESS_BLOCK]
            scaled = blocks.reshape(-1, LOUDNESS_BLOCK).astype(np.float32) / 32_768
            power = np.square(scaled).mean(axis=1)
            loud = float(np.quantile(power, 0.95)) if len(power) else 0.0
            self._decoded[path] = Recording(samples, power, loud)
        recording: Recording = self._decoded[path]
        return recording

    def preload(self) -> None:
        """Decode everything now."""
        for group in (*self.objects.values(), *self.things.values()):
            for path in group:
                self.cutout(path)
        for path in (*self.backgrounds, *self.scene_classes):
            self.photo(path)
        for group in (*self.sounds.values(), *self.noises.values()):
            for path in group:
                self.recording(path)

    def __reduce__(self) -> tuple[type["Parts"], tuple[Path, str, tuple[str, ...]]]:
        """Send only the place of the folder to another process, not what was decoded."""
        return Parts, (self.root, self.split, self._chosen)


def splits_of(root: Path) -> tuple[str, ...]:
    """Name the splits that have sounds in a parts folder, in the order train, val, test."""
    names = {path.name.partition("-")[0] for path in (Path(root) / "sounds").glob("*/*")}
    return tuple(split for split in SPLITS if split in names)


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []


def _read_cutout(path: Path) -> NDArray[np.uint8]:
    bgra = decode_picture(path, cv2.IMREAD_UNCHANGED)
    if bgra.ndim != 3 or bgra.shape[2] != 4:
        raise DataError(f"{path}: a cutout needs an alpha channel", "save it as RGBA")
    if bgra.dtype == np.uint16:
        bgra = (bgra >> 8).astype(np.uint8)
    return np.asarray(cv2.cvtColor(bgra, cv2.COLOR_BGRA2RGBA), np.uint8)


def _read_recording(path: Path) -> NDArray[np.int16]:
    samples, rate = read_samples(path, "int16")
    mono: NDArray[np.int16] = samples.mean(axis=1).astype(np.int16)
    if rate != SAMPLE_RATE:
        mono = soxr.resample(mono, rate, SAMPLE_RATE)
    if len(mono) < LOUDNESS_BLOCK:
        raise DataError(f"{path}: shorter than 20 ms", "replace or remove the file")
    return mono


def _carry_on_colours(rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Give all that is not solid the colour of the nearest solid pixel.

    What resampling and blurring bring in from outside is then never black or a remnant of the
    object's own photo.
    """
    solid = rgba[..., 3] > 230
    if not solid.any():
        return rgba
    _, numbers = cv2.distanceTransformWithLabels(
        (~solid).astype(np.uint8), cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL
    )
    nearest = np.asarray(numbers, np.intp) - 1  # solid pixel, counted in reading order
    whole_pixels = rgba.view(np.uint32)[..., 0]  # four bytes at once: ten times faster to gather
    result = whole_pixels[solid].take(nearest)[..., None].view(np.uint8)
    result[..., 3] = rgba[..., 3]
    return result
