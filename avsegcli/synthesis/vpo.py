"""Make a parts folder of COCO's objects and a folder of sounds, for VPO-style sets.

Visual Post-production (VPO, Chen et al., CVPR 2024) pairs the objects of COCO with sounds of
VGGSound of the same class. From the parts that this module writes, `compose` makes such clips.

    ANN.json                  COCO's instances: images, annotations, categories
    IMAGES/<file_name>        the photos
    SOUNDS/<class name>/*.wav  VGGSound's classes as folders: "dog barking", "playing violin"
"""

import json
import re
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from avsegcli.audio.log_mel import SAMPLE_RATE
from avsegcli.datasets.clip import IGNORE
from avsegcli.datasets.coco import decode_segmentation
from avsegcli.datasets.io import (
    read_picture,
    read_waveform,
    write_file,
    write_picture,
    write_waveform,
)
from avsegcli.errors import DataError
from avsegcli.files.new_folder import atomic_dataset_folder
from avsegcli.synthesis.parts import RECORDINGS

MARKER = "scenes/classes.json"  # shows a folder to be parts that this module wrote
HELD_OUT = {"val": 10, "test": 10}  # per cent of photos and of recordings; the rest is train
SMALLEST = 32  # pixels: a cutout's shorter side
LONGEST_S = 10.0  # of a recording that is kept
MARGIN = 2  # pixels around a cutout
# VGGSound has no class called as these categories of COCO, or several.
SPEAKERS = {"man", "woman", "male", "female", "child", "children", "baby", "people", "person"}
ALSO = {
    "airplane": {"aircraft"},
    "boat": {"motorboat", "rowboat", "sailing"},
    "bus": {"buses"},
    "cow": {"cattle"},
    "hair drier": {"dryer"},
    "motorcycle": {"motorbike"},
    "person": SPEAKERS,
    "skateboard": {"skateboarding"},
}
ONLY = {"mouse": {"clicking"}}  # COCO's is no animal: one of these words must stand beside it


class VpoParts(NamedTuple):
    """Counts of the files written."""

    classes: tuple[str, ...]
    objects: int
    backgrounds: int
    sounds: int


class _Annotation(NamedTuple):
    """One object of a photo."""

    number: int
    category: str
    segmentation: Any
    crowd: bool


class _Photo(NamedTuple):
    path: Path
    size: tuple[int, int]  # height, width
    objects: list[_Annotation]


def write_vpo_parts(
    annotations: Path,
    images: Path,
    sounds: Path,
    out: Path,
    *,
    pairs: Mapping[str, str] | None = None,
    force: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> VpoParts:
    """Write parts: cutouts, photos with masks, backgrounds and sounds, by split.

    A class is a category of COCO for which there are sounds: folders in whose name a word is the
    category's, or which `pairs` names. Photos without any such category are backgrounds. A photo
    and a recording belong to one split, whichever else is in the folders.

    Args:
        annotations: COCO's instances.
        images: folder of the photos; those that are missing in it are left out.
        sounds: folder of folders of recordings.
        out: the parts folder.
        pairs: category of each folder of sounds that its name does not tell.
        force: replace parts that this function wrote.
        on_progress: called with the number of photos and recordings that are done, and of all.

    Raises:
        DataError: if a file is damaged or cannot be written, no category has both photos and
            sounds, or `pairs` names what is not there.
    """
    photos, categories = _read_coco(annotations, images)
    recordings = _find_recordings(sounds, categories, pairs or {})
    seen = {item.category for photo in photos for item in photo.objects}
    classes = tuple(sorted(seen & recordings.keys()))
    if not classes:
        raise DataError(
            f"no category of {annotations} has both photos in {images} and sounds in {sounds}",
            'Folders are called like "dog barking"; --pair "FOLDER=CATEGORY" names others.',
        )
    total = len(photos) + sum(len(recordings[name]) for name in classes)
    done = num_objects = num_backgrounds = num_sounds = 0
    with atomic_dataset_folder(out, MARKER, force=force) as folder:
        for photo in photos:
            objects = [item for item in photo.objects if item.category in classes]
            num_objects += _write_photo(photo._replace(objects=objects), classes, folder)
            num_backgrounds += not objects
            done += 1
            if on_progress:
                on_progress(done, total)
        for name in classes:
            for path in recordings[name]:
                _write_sound(path, name, folder)
                num_sounds, done = num_sounds + 1, done + 1
                if on_progress:
                    on_progress(done, total)
        indices = {"background": 0, **{c: i for i, c in enumerate(classes, 1)}, "ignore": IGNORE}
        write_file(folder / MARKER, (json.dumps(indices, indent=1) + "\n").encode())
    return VpoParts(classes, num_objects, num_backgrounds, num_sounds)


# --- reading ------------------------------------------------------------------------------------


def _read_coco(annotations: Path, images: Path) -> tuple[list[_Photo], tuple[str, ...]]:
    """Read the photos that are there, with all of their objects, and the categories."""
    try:
        coco = json.loads(annotations.read_text(encoding="utf-8"))
        names = {item["id"]: str(item["name"]) for item in coco["categories"]}
        objects = defaultdict(list)
        for item in coco["annotations"]:
            objects[item["image_id"]].append(
                _Annotation(
                    int(item["id"]),
                    names[item["category_id"]],
                    item["segmentation"],
                    bool(item.get("iscrowd", 0)),
                )
            )
        photos = [
            _Photo(
                images / item["file_name"],
                (int(item["height"]), int(item["width"])),
                objects[item["id"]],
            )
            for item in coco["images"]
        ]
    except OSError as error:
        raise DataError(f"{annotations} is missing or cannot be read") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{annotations} is no file of COCO's instances: {type(error).__name__} {error}"
        ) from error
    there = [photo for photo in photos if photo.path.is_file()]
    if not there:
        raise DataError(f"{images} holds none of the photos that {annotations} names")
    return there, tuple(names.values())


def _find_recordings(
    sounds: Path, categories: Iterable[str], pairs: Mapping[str, str]
) -> dict[str, list[Path]]:
    """Find the recordings of each category by the words of their folder's name."""
    if not sounds.is_dir():
        raise DataError(f"{sounds} is no folder")
    categories = tuple(categories)
    unknown = set(pairs.values()) - set(categories)
    if unknown:
        raise DataError(f"'{min(unknown)}' is no category of these annotations")
    folders = sorted(path for path in sounds.iterdir() if path.is_dir())
    unknown = set(pairs) - {folder.name for folder in folders}
    if unknown:
        raise DataError(f"{sounds} has no folder '{min(unknown)}'", "Change its --pair.")
    found: dict[str, list[Path]] = defaultdict(list)
    for folder in folders:
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in RECORDINGS)
        category = pairs.get(folder.name) or _match(folder.name, categories)
        if category is not None:
            found[category] += paths
    return {category: paths for category, paths in found.items() if paths}


def _match(folder: str, categories: Iterable[str]) -> str | None:
    """Find the one category that a folder of sounds is of.

    Example:
        >>> _match("dog barking", ["dog", "hot dog", "cat"]), _match("cat meowing", ["dog"])
        ('dog', None)
        >>> _match("mouse clicking", ["mouse"]), _match("mouse squeaking", ["mouse"])
        ('mouse', None)
    """
    words = set(re.findall(r"[a-z]+", folder.lower()))
    matches = [
        category
        for category in categories
        if (set(category.split()) <= words or ALSO.get(category, set()) & words)
        and words & ONLY.get(category, words)
    ]
    return matches[0] if len(matches) == 1 else None


# --- writing ------------------------------------------------------------------------------------


def _split(name: str) -> str:
    """Give a photo or recording its split, always the same one."""
    place = zlib.crc32(name.encode()) % 100
    for split, percent in HELD_OUT.items():
        if place < percent:
            return split
        place -= percent
    return "train"


def _write_photo(photo: _Photo, classes: tuple[str, ...], folder: Path) -> int:
    """Write a photo as cutouts and scene or as background; returns the number of cutouts."""
    rgb = read_picture(photo.path)
    if rgb.shape[:2] != photo.size:
        raise DataError(f"{photo.path} has another size than its annotation says")
    stem = f"{_split(photo.path.name)}-coco-{photo.path.stem}"
    if not photo.objects:
        write_picture(folder / "backgrounds" / f"{stem}.jpg", rgb)
        return 0
    scene = np.zeros(photo.size, np.uint8)
    count = 0
    for item in photo.objects:
        try:
            mask = decode_segmentation(item.segmentation, photo.size)
            scene[mask] = IGNORE if item.crowd else classes.index(item.category) + 1
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise DataError(f"annotation {item.number} is damaged: {error}") from error
        if not item.crowd and _write_cutout(
            rgb, mask, folder / "objects" / item.category / f"{stem}-{item.number}.webp"
        ):
            count += 1
    if scene.any():
        write_picture(folder / "scenes" / f"{stem}.jpg", rgb)
        write_picture(folder / "scenes" / f"{stem}.png", scene)
    return count


def _write_cutout(rgb: NDArray[np.uint8], mask: NDArray[np.bool_], path: Path) -> bool:
    """Write an object with its mask as alpha; not if it is tiny or cut by the photo's edge."""
    left, top, width, height = cv2.boundingRect(mask.astype(np.uint8))
    inside = left > 0 and top > 0
    inside &= left + width < mask.shape[1] and top + height < mask.shape[0]
    if min(width, height) < SMALLEST or not inside:
        return False
    rows = slice(max(top - MARGIN, 0), top + height + MARGIN)
    columns = slice(max(left - MARGIN, 0), left + width + MARGIN)
    alpha = cv2.GaussianBlur(mask.astype(np.uint8) * 255, (0, 0), 0.7)[rows, columns]
    write_picture(path, np.dstack([rgb[rows, columns], alpha]))
    return True


def _write_sound(path: Path, category: str, folder: Path) -> None:
    waveform = read_waveform(path)[: int(LONGEST_S * SAMPLE_RATE)]
    target = folder / "sounds" / category / f"{_split(path.name)}-vggsound-{path.stem}.ogg"
    write_waveform(target, waveform)
