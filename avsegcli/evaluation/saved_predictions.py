"""Masks of other systems, read from files, in place of a predictor.

Either pictures, found as `mask_files` says and read as `mask_pictures` says, or `coco_results`.
Nothing is guessed: what the files do not tell is refused, and `how` says how they were read.
"""

from pathlib import Path

import cv2
import numpy as np

from avsegcli.datasets.clip import Clip, ClipDataset, clip_names
from avsegcli.datasets.io import read_classes
from avsegcli.errors import DataError
from avsegcli.evaluation.coco_results import CocoResults, holds_results, is_segment_json, read_json
from avsegcli.evaluation.mask_files import ClipMasks, find_masks
from avsegcli.evaluation.mask_pictures import Frame, MaskPictures
from avsegcli.evaluation.prediction import ClipPrediction
from avsegcli.inference.postprocess import above_threshold
from avsegcli.inference.preprocess import resize_labels

FORMS = (
    "<clip>/<t>.png, <clip>/<clip>_<n>.png, <clip>_<n>.png, <clip>/<n>_video_mask.png, a folder "
    "<clip>/ of 'avseg segment --masks', or COCO *.json"
)


class SavedPredictions:
    """Predictions that lie in files.

    Args:
        root: a folder, or a JSON file.
        clips: what they are for.
        nearest_colour: a colour of no class is read as the class with the nearest colour.

    Attributes:
        classes: what their indices mean, background first: those of the clips, unless a
            classes.json beside the masks says otherwise.
        how: how they are read, for the user.
        warnings: what a user should know, one sentence each.

    Raises:
        DataError: if there are no masks, a clip has none, or it is not clear what they mean.
    """

    def __init__(self, root: Path, clips: ClipDataset, *, nearest_colour: bool = False) -> None:
        self.root, self.classes = root, clips.classes
        self._masks: dict[str, ClipMasks] = {}
        self._results: CocoResults | None = None
        self._pictures: MaskPictures | None = None
        results, names = self._find_results(), clip_names(clips)
        if root.is_dir():
            self._masks = find_masks(root, names)
        if results and self._masks:
            raise DataError(
                f"{root} holds both masks and COCO results", f"Name one: {next(iter(results))}"
            )
        if results:
            self._results = CocoResults(results, clips)
            self.how, self.warnings = self._results.how, self._results.warnings
            return
        self._check_masks(names)
        self._read_own_classes()
        paths = [path for masks in self._masks.values() for path in masks.files.values()]
        self._pictures = MaskPictures(paths, self.classes, nearest_colour=nearest_colour)
        self.how = f"{self._pictures.how}; {self._say_frames()}"
        if self.classes != clips.classes:
            self.how += "; classes of their own classes.json"
        self.warnings = self._pictures.warnings

    @property
    def changed_pixels(self) -> str:
        """How many pixels were read by the nearest colour so far, for the user."""
        pictures = self._pictures
        changed, read = (pictures.changed_pixels, pictures.read_pixels) if pictures else (0, 0)
        share = f" ({changed / read:.2%})" if read else ""
        return f"{changed} of {read} pixels{share} had a colour of no class"

    def predict(self, clip: Clip, size: tuple[int, int]) -> ClipPrediction:
        """Read what is stored for a clip and bring it to the size at which it is scored.

        Args:
            clip: the clip.
            size: rows and columns; masks and classes are resized by the nearest pixel,
                probabilities bilinearly.

        Raises:
            DataError: if one of the clip's annotated frames is not there.
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

    def _read_frame(self, clip: Clip, t: int) -> Frame:
        if self._results is not None:
            return self._results.draw(clip, t)
        assert self._pictures is not None
        return self._pictures.read(self._masks[clip.name].find_frame(t, len(clip.frames)))

    def _find_results(self) -> dict[Path, object]:
        if not self.root.exists():
            raise DataError(f"{self.root} does not exist", f"Name a folder of masks: {FORMS}")
        given = not self.root.is_dir()
        contents = {
            path: read_json(path)
            for path in ([self.root] if given else sorted(self.root.glob("*.json")))
        }
        results = {path: found for path, found in contents.items() if holds_results(found)}
        ours = next((path for path, found in contents.items() if is_segment_json(found)), None)
        if not results and ours is not None:
            raise DataError(
                f"{ours} is of 'avseg segment --json', which is not scored",
                "Score a folder of 'avseg segment --masks' instead.",
            )
        if not results and given:
            raise DataError(f"{self.root} does not hold COCO results", f"Name a folder: {FORMS}")
        return results

    def _check_masks(self, names: list[str]) -> None:
        missing = [name for name in names if name not in self._masks]
        if len(missing) == len(names):
            endings = {p.suffix for p in self.root.rglob("*") if p.is_file() and p.suffix}
            found = f", but {', '.join(sorted(endings))} files" if endings else ""
            raise DataError(f"{self.root} holds no masks of clip '{missing[0]}'{found}", FORMS)
        if missing:
            raise DataError(
                f"{self.root} has no masks of {len(missing)} of {len(names)} clips, as "
                f"'{missing[0]}'"
            )

    def _read_own_classes(self) -> None:
        files = {masks.classes_file(self.root) for masks in self._masks.values()}
        classes = {read_classes(file, 0) if file else self.classes for file in files}
        if len(classes) > 1:
            raise DataError(f"{self.root} has several lists of classes", "Score one at a time.")
        self.classes = classes.pop()

    def _say_frames(self) -> str:
        if all(masks.times for masks in self._masks.values()):
            return "of each second the frame in its middle, by times.csv"
        firsts = {masks.first for masks in self._masks.values() if not masks.times}
        return f"frames counted from {' and from '.join(map(str, sorted(firsts)))}"
