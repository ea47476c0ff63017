"""Read COCO results, masks of frames in JSON.

A list of {"image_id": "<clip>/<t>", "category_id": index or class name, "segmentation": RLE or
polygons, "score": 1.0}, or a whole COCO dictionary, whose "images" give file names to the ids and
whose "categories" give names. Frames are named as mask files are (see `mask_files`), counted from 0
or from 1. A frame or a clip without a result has no object.
"""

import difflib
import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from avsegcli.datasets.clip import Clip, ClipDataset, clip_names
from avsegcli.datasets.coco import decode_segmentation
from avsegcli.datasets.io import BACKGROUND
from avsegcli.errors import DataError
from avsegcli.evaluation.mask_files import parse_name
from avsegcli.evaluation.mask_pictures import Frame
from avsegcli.files.text import as_utf8
from avsegcli.inference.preprocess import resize_labels

FORM = '[{"image_id": "<clip>/<t>", "category_id": 1, "segmentation": ..., "score": 1.0}, ...]'
MASKS_ONLY = "Masks are scored: give polygons or run lengths as 'segmentation'."
OUR_JSON = {"frames", "events", "classes"}  # keys of what `avseg segment --json` writes


class _Result(NamedTuple):
    """One mask of one class in one frame."""

    label: int
    score: float
    segmentation: Any
    size: tuple[int, int] | None  # height and width of its picture, if they are known


class CocoResults:
    """The results of all clips.

    Args:
        files: of which at least one holds results.
        clips: what the results are for.

    Attributes:
        how: how they are read, for the user.
        unnamed: the clips without a result.

    Raises:
        DataError: if a result cannot be understood.
    """

    def __init__(self, files: Mapping[Path, Any], clips: ClipDataset) -> None:
        self._clips, self._names = clips, clip_names(clips)
        self._results: dict[str, dict[int, list[_Result]]] = defaultdict(lambda: defaultdict(list))
        self._numbers: dict[str, set[int]] = defaultdict(set)  # of frames, with or without objects
        self._counts_from_1_by_name = False  # named <clip>_<n>, as in S4 and MS3
        self._others: list[str] = []  # images of clips that are not scored
        self._categories: set[Any] = set()
        for path, content in files.items():
            self._read(path, content)
        self._first = self._find_first()
        self.unnamed = sorted({*self._names} - {*self._results})
        merged = self._binary and len(self._categories) > 1
        self.how = f"COCO results, frames counted from {self._first}" + (
            f", {len(self._categories)} categories as objects" if merged else ""
        )
        if len(self.unnamed) == len(self._names):
            known = f"'{self._names[0]}/0'"
            given = f", but '{self._others[0]}'" if self._others else ""
            first = f"'{self.unnamed[0]}'"
            raise DataError(
                f"{', '.join(map(str, files))} names no object in {len(self._names)} of "
                f"{len(self._names)} clips, as {first}",
                f'"image_id" is to be as {known}{given}',
            )

    @property
    def warnings(self) -> list[str]:
        """What a user should know, one sentence each."""
        said = []
        if self.unnamed:
            of = f"{len(self.unnamed)} of {len(self._names)} clips, as '{self.unnamed[0]}'"
            said.append(f"the results name no object in {of}")
        if self._others:
            said.append(
                f"{len(self._others)} results are left out, of frames such as '{self._others[0]}': "
                "no clip is called so"
            )
        return said

    def draw(self, clip: Clip, t: int) -> Frame:
        """Paint the masks of second t of a clip; where they overlap the one with most score wins.

        Raises:
            DataError: if one is damaged, or of a frame that the clip does not have.
        """
        last = self._first + len(clip.frames) - 1
        beyond = [n for n in self._numbers.get(clip.name, ()) if not self._first <= n <= last]
        if beyond:
            raise DataError(
                f"a result is of frame {max(beyond)} of clip '{clip.name}', whose frames are "
                f"{self._first} to {last}"
            )
        size = clip.labels.shape[1], clip.labels.shape[2]
        probs, labels = np.zeros(size, np.float32), np.zeros(size, np.uint8)
        for result in self._results.get(clip.name, {}).get(t + self._first, []):
            try:
                mask = decode_segmentation(result.segmentation, result.size or size)
            except (ValueError, KeyError, TypeError) as error:
                raise DataError(f"mask {t} of clip '{clip.name}' is damaged: {error}") from error
            better = resize_labels(mask.astype(np.uint8), size).astype(bool)
            better &= result.score > probs
            probs[better], labels[better] = result.score, result.label
        return Frame(probs, labels)

    @property
    def _binary(self) -> bool:
        return len(self._clips.classes) == 2

    def _read(self, path: Path, content: Any) -> None:
        images: dict[Any, Any] = {}
        names: dict[Any, str] = {}
        results, key = content, "result"
        try:
            if isinstance(content, dict):
                images = {image["id"]: image for image in content["images"]}
                names = {one["id"]: one["name"] for one in content.get("categories", [])}
                results, key = content["annotations"], "annotation"
            if not any(isinstance(one, dict) and one.get("image_id") in images for one in results):
                images = {}  # as in a list of results, ids are names
            for image in images.values():
                self._locate(str(image["file_name"]))
        except (KeyError, TypeError) as error:
            raise DataError(f"{path} is not a COCO dictionary: it has no {error}", FORM) from error
        for number, result in enumerate(results):
            try:
                self._add(result, images, names)
            except KeyError as error:
                raise DataError(f"{path}: {key} {number} has no {error}", FORM) from error
            except _NoMaskError as error:
                raise DataError(f"{path}: {key} {number} {error}", MASKS_ONLY) from error
            except (ValueError, TypeError) as error:
                raise DataError(f"{path}: {key} {number}: {error}", FORM) from error

    def _add(self, result: Any, images: Mapping[Any, Any], names: Mapping[Any, str]) -> None:
        if not isinstance(result, dict):
            raise ValueError(f"{result!r} is not an object")
        if images and result["image_id"] not in images:
            raise ValueError(f"image_id {result['image_id']} is not one of 'images'")
        image = images.get(result["image_id"], {})
        name = str(image.get("file_name", result["image_id"]))
        if name.isdecimal() and not image:
            raise ValueError(
                f"image_id {name} is a number, and no 'images' say which frame it stands for"
            )
        label = self._find_class(result["category_id"], names)
        score = float(result.get("score", 1.0))
        if not 0 <= score <= 1:
            raise ValueError(f"score {score} is not between 0 and 1")
        if result.get("segmentation") is None:
            boxed = "has a box, but no mask" if "bbox" in result else "has no mask"
            raise _NoMaskError(f"{boxed}: 'segmentation' is missing or null")
        size = (int(image["height"]), int(image["width"])) if "height" in image else None
        located = self._locate(name)
        if located is None:
            self._others.append(name)
            return
        clip, number = located
        found = _Result(label, score, result["segmentation"], size)
        self._results[clip][number].append(found)

    def _locate(self, name: str) -> tuple[str, int] | None:
        path = PurePosixPath(name)
        located = parse_name(path, self._names)
        if located is not None:
            clip, number = located
            self._numbers[clip].add(number)
            self._counts_from_1_by_name |= path.name.startswith(f"{clip}_")
        return located

    def _find_class(self, category: Any, names: Mapping[Any, str]) -> int:
        named = names.get(category, category)
        self._categories.add(named)
        classes = self._clips.classes
        if named in (0, BACKGROUND):
            raise ValueError(f"category {named} is the background")
        if self._binary:
            return 1
        if isinstance(named, str):
            if named not in classes:
                near = difflib.get_close_matches(named, classes, 1)
                meant = f"; did you mean '{near[0]}'?" if near else ""
                raise ValueError(f"category '{named}' is not one of the classes{meant}")
            return classes.index(named)
        index = int(named)
        if not 0 < index < len(classes):
            raise ValueError(f"category {category} of {len(classes) - 1} classes")
        return index

    def _find_first(self) -> int:
        """Find out whether frames are counted from 0 or from 1."""
        if any(0 in numbers for numbers in self._numbers.values()):
            return 0
        for clip, numbers in self._numbers.items():
            read = self._clips[self._names.index(clip)]
            if max(numbers) == len(read.frames):  # counted from 0 there is no such frame
                return 1
        return 1 if self._counts_from_1_by_name else 0


class _NoMaskError(ValueError):
    """A result has no mask."""


def read_json(path: Path) -> Any:
    """Read a JSON file in UTF-8, with or without a byte order mark.

    Raises:
        DataError: if it cannot be read.
    """
    try:
        return json.loads(as_utf8(path.read_bytes()))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as JSON: {error}") from error


def holds_results(content: Any) -> bool:
    """Whether the content of a JSON file is meant to be results, and not something about them."""
    return isinstance(content, list) or (isinstance(content, dict) and "annotations" in content)


def is_segment_json(content: Any) -> bool:
    """Whether the content of a JSON file is what `avseg segment --json` writes."""
    return isinstance(content, dict) and content.keys() >= OUR_JSON
