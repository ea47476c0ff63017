"""Masks of other systems, read from a folder, in place of a predictor.

Pictures, one for each frame, in any folders below the root as long as the last is the clip's:

    <clip>/<t>.png, <clip>/labels_rgb/<t>.png   t counted from 0, as in AVSBench-semantic
    <clip>/<clip>_<n>.png                       n counted from 1, as in S4 and MS3

Coloured pictures hold classes in AVSBench's colours. Pictures of one channel hold class indices;
for data with the classes background and object they, and others that are grey, hold the probability
times 255, or, if no value of any of them is above 1, masks.

Or COCO's results: a list of {"image_id": "<clip>/<t>", "category_id": index or class name,
"segmentation": RLE or polygons, "score": 1.0} in *.json; t counted from 0. A frame or clip of which
they say nothing has no object.
"""

import json
import re
from collections import defaultdict
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from avsegcli.datasets.avsbench_files import BINARY_FRAMES
from avsegcli.datasets.clip import Clip
from avsegcli.datasets.coco import decode_segmentation
from avsegcli.datasets.io import read_indices, read_picture
from avsegcli.datasets.label_colors import colours_to_labels
from avsegcli.errors import DataError
from avsegcli.evaluation.prediction import ClipPrediction
from avsegcli.inference.postprocess import above_threshold
from avsegcli.inference.preprocess import resize_labels

_INNER = {"labels_rgb", "gt_masks", "masks"}  # folders between a clip's and its pictures
_NUMBER = re.compile(r"(?:^|_)(\d+)$")


class _Frame(NamedTuple):
    """Saved prediction of one frame."""

    probs: NDArray[np.float32]  # (H, W)
    labels: NDArray[np.uint8]  # (H, W)
    soft: bool = False  # probs are probabilities, not a mask


class SavedPredictions:
    """Predictions that lie in a folder.

    Args:
        root: the folder.
        classes: of the data that they are for, background first; their indices mean these.

    Attributes:
        classes: as given.
        unnamed: the clips asked for of which COCO results say nothing.

    Raises:
        DataError: if there is no picture and no JSON file in the folder, or it cannot be read.
    """

    def __init__(self, root: Path, classes: tuple[str, ...]) -> None:
        self.root, self.classes = root, classes
        self._pictures: dict[str, dict[int, Path]] = defaultdict(dict)
        self._results: dict[str, dict[int, list[dict[str, Any]]]] = {}
        self.unnamed: set[str] = set()
        if not root.is_dir():
            raise DataError(f"{root} is no folder of masks")
        for path in sorted(root.rglob("*.png")):
            number = _NUMBER.search(path.stem)
            if number is not None:
                folder = path.parent.parent if path.parent.name in _INNER else path.parent
                self._pictures[folder.name][int(number[1])] = path
        for path in sorted(root.glob("*.json")):
            self._read_results(path)
        if not self._pictures and not self._results:
            raise DataError(
                f"{root} holds no masks", "<clip>/<t>.png, <clip>/<clip>_<n>.png or COCO *.json"
            )

    def predict(self, clip: Clip, size: tuple[int, int]) -> ClipPrediction:
        """Read the saved prediction of a clip, resized to the size of evaluation.

        Args:
            clip: the clip.
            size: rows and columns; masks and classes are resized by the nearest pixel,
                probabilities bilinearly.

        Raises:
            DataError: if the clip or one of its annotated frames is not there.
        """
        probs = np.zeros((len(clip.frames), *size), np.float32)
        labels = np.zeros((len(clip.frames), *size), np.uint8)
        for t in np.flatnonzero(clip.annotated).tolist():
            frame = self._read_frame(clip, t)
            interpolation = cv2.INTER_LINEAR if frame.soft else cv2.INTER_NEAREST_EXACT
            probs[t] = cv2.resize(frame.probs, size[::-1], interpolation=interpolation)
            labels[t] = resize_labels(frame.labels, size)
            if len(self.classes) == 2:
                labels[t] = above_threshold(probs[t])
        return ClipPrediction(probs, labels)

    def _read_frame(self, clip: Clip, t: int) -> _Frame:
        numbers = self._pictures.get(clip.name)
        if clip.name in self._results:
            return self._draw_results(clip, t)
        if numbers is None and self._results:
            self.unnamed.add(clip.name)
            return self._draw_results(clip, t)
        if numbers is None:
            raise DataError(f"{self.root} has no masks of clip '{clip.name}'")
        first = 0 if 0 in numbers else BINARY_FRAMES[0]
        if t + first not in numbers:
            raise DataError(f"{self.root} has no mask {t + first} of clip '{clip.name}'")
        return self._read_picture(numbers[t + first])

    def _read_picture(self, path: Path) -> _Frame:
        try:
            values = read_indices(path, grey_is_colour=len(self.classes) > 2)
        except DataError:  # it has colours, or is no picture: what follows tells which
            try:
                labels = colours_to_labels(read_picture(path), len(self.classes) - 1)
            except ValueError as error:
                raise DataError(f"{path}: {error}") from error
            return _Frame((labels > 0).astype(np.float32), labels)
        if len(self.classes) == 2:
            probs = values.astype(np.float32) / self._highest
            soft = bool(((values > 0) & (values < values.max())).any())
            return _Frame(probs, above_threshold(probs).astype(np.uint8), soft)
        if values.max() >= len(self.classes):
            raise DataError(f"{path} has index {values.max()} of {len(self.classes)} classes")
        return _Frame((values > 0).astype(np.float32), values)

    @cached_property
    def _highest(self) -> np.float32:
        """The value of a pixel that is surely an object."""
        paths = (path for pictures in self._pictures.values() for path in pictures.values())
        return np.float32(255 if any(_highest_in(path) > 1 for path in paths) else 1)

    def _read_results(self, path: Path) -> None:
        try:
            results = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(results, list):
                return  # as classes.json: about the masks, no masks
            for result in results:
                clip, _, t = str(result["image_id"]).rpartition("/")
                by_frame = self._results.setdefault(clip, defaultdict(list))
                score = float(result.get("score", 1.0))
                if not 0 <= score <= 1:
                    raise ValueError(f"score {score} is not between 0 and 1")
                found = {"category_id": self._find_class(result), "score": score}
                by_frame[int(t)].append(result | found)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{path} is no list of COCO results: {error}",
                '[{"image_id": "<clip>/<t>", "category_id": ..., "segmentation": ...}, ...]',
            ) from error

    def _find_class(self, result: dict[str, Any]) -> int:
        category = result["category_id"]
        index = self.classes.index(category) if isinstance(category, str) else int(category)
        if not 0 < index < len(self.classes):
            raise ValueError(f"category {category} of {len(self.classes) - 1}")
        return index

    def _draw_results(self, clip: Clip, t: int) -> _Frame:
        """Paint the masks of a frame; where they overlap the surest wins."""
        height, width = clip.labels.shape[1:]
        probs = np.zeros((height, width), np.float32)
        labels = np.zeros((height, width), np.uint8)
        for result in self._results.get(clip.name, {}).get(t, []):
            try:
                mask = decode_segmentation(result["segmentation"], (height, width))
            except (ValueError, KeyError, TypeError) as error:
                raise DataError(f"mask {t} of clip '{clip.name}' is damaged: {error}") from error
            score = np.float32(result["score"])
            better = resize_labels(mask.astype(np.uint8), (height, width)).astype(bool)
            better &= score > probs
            probs[better], labels[better] = score, result["category_id"]
        return _Frame(probs, labels)


def _highest_in(path: Path) -> int:
    try:
        return int(read_indices(path).max())
    except DataError:  # it has colours, or is no picture
        return 0
