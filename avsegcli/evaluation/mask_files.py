"""Find the masks of clips below a folder by the names of files and folders.

<clip>/<t>.png, <clip>/labels_rgb/<t>.png     as AVSBench-semantic, DAVIS, SAM 2, XMem, Cutie
<clip>/<clip>_<n>.png, <clip>_<n>.png         as S4 and MS3, with or without folders
<clip>/<n>_video_mask.png                     as Ref-AVS
<clip>/<frame>.png, classes.json, times.csv   as `avseg segment --masks <clip>`
"""

import csv
import os
import re
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from avsegcli.errors import DataError
from avsegcli.outputs.mask_folder import CLASSES_FILE, TIMES_FILE

JPEG = (".jpg", ".jpeg")
PICTURES = (".png", *JPEG)
_INNER = {"labels_rgb", "gt_masks", "masks"}  # folders between a clip's and its pictures
_STEM = re.compile(r"(?:(?P<clip>.+)_)?(?P<number>\d+)(?:(?:_video)?_mask)?")
MIDDLE_S = 0.5  # from the beginning of second t to the picture that stands for it


def parse_name(path: PurePath, names: Collection[str]) -> tuple[str, int] | None:
    """Read the clip and the number of the frame from the name of a file and its folders.

    Args:
        path: with or without the ending of a picture.
        names: of the clips.

    Returns:
        None if it names no clip or no frame.

    Example:
        >>> parse_name(PurePath("dog/clip_3.png"), {"clip"})
        ('clip', 3)
        >>> parse_name(PurePath("clip/00003.png"), {"clip"})
        ('clip', 3)
    """
    stem = path.stem if path.suffix.lower() in PICTURES else path.name
    match = _STEM.fullmatch(stem)
    if match is None:
        return None
    prefix = (match["clip"] or "").removesuffix(".mp4")  # as MS3 names its frames
    folder = path.parent.parent if path.parent.name in _INNER else path.parent
    clips = (prefix, folder.name, f"{folder.parent.name}_{folder.name}")
    clip = next((clip for clip in clips if clip in names), None)
    return None if clip is None else (clip, int(match["number"]))


@dataclass
class ClipMasks:
    """The mask files of one clip, in one folder."""

    clip: str
    folder: Path
    files: dict[int, Path] = field(default_factory=dict)  # by the number of the frame

    @property
    def first(self) -> int:
        """The number of the first frame: 0 or 1."""
        return 0 if 0 in self.files else 1

    @property
    def times(self) -> list[tuple[float, int]]:
        """The seconds from which frames are shown, with their numbers; empty: one frame a second.

        Raises:
            DataError: if the file that says so is damaged.
        """
        path = self.folder / TIMES_FILE
        if not path.is_file():
            return []
        try:
            with path.open(newline="", encoding="utf-8") as file:
                rows = [(float(row["seconds"]), int(row["frame"])) for row in csv.DictReader(file)]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DataError(f"{path} does not say when each frame is shown") from error
        return [row for row in rows if row[1] in self.files]

    def find_frame(self, t: int, num_frames: int) -> Path:
        """Find the mask of second t of a clip that has so many seconds.

        Raises:
            DataError: if there is none, or one that the clip does not have.
        """
        if times := self.times:
            away_s, number = min((abs(time - t - MIDDLE_S), number) for time, number in times)
            if away_s > MIDDLE_S:
                raise DataError(f"{self.folder} has no mask of second {t} of clip '{self.clip}'")
            return self.files[number]
        last = self.first + num_frames - 1
        beyond = [number for number in self.files if number > last]
        if beyond:
            raise DataError(
                f"{self.folder} has a mask {max(beyond)}, but the frames of clip '{self.clip}' are "
                f"{self.first} to {last}",
                "One mask a second is scored, not one for each frame of a video; of 'avseg segment "
                f"--masks', {TIMES_FILE} says when each is shown.",
            )
        if t + self.first not in self.files:
            raise DataError(f"{self.folder} has no mask {t + self.first} of clip '{self.clip}'")
        return self.files[t + self.first]

    def classes_file(self, root: Path) -> Path | None:
        """Find the file that names the classes of the indices, in this folder or the root."""
        files = (folder / CLASSES_FILE for folder in (self.folder, root))
        return next((file for file in files if file.is_file()), None)


def find_masks(root: Path, names: Collection[str]) -> dict[str, ClipMasks]:
    """Find the masks of all clips below a folder; other pictures are left alone.

    Raises:
        DataError: if a clip has masks in two folders, or a frame has two.
    """
    found: dict[str, ClipMasks] = {}
    here = root.resolve()  # whose own name may be that of a clip
    for inner, path in _pictures_below(root):
        named = parse_name(here / inner, names)
        if named is None:
            continue
        clip, number = named
        masks = found.setdefault(clip, ClipMasks(clip, path.parent))
        if masks.folder != path.parent:
            raise DataError(
                f"clip '{clip}' has masks in {masks.folder} and in {path.parent}",
                "Name the folder of one kind of masks, or remove the others.",
            )
        other = masks.files.setdefault(number, path)
        if other != path and other.suffix.lower() not in JPEG and path.suffix.lower() in JPEG:
            continue  # a picture of the video lies beside its mask
        if other != path:
            raise DataError(f"{other} and {path} are both mask {number} of clip '{clip}'")
    return found


def _pictures_below(root: Path) -> list[tuple[Path, Path]]:
    """List the pictures by their names below the root, a PNG before a JPEG of its name."""
    pictures: dict[Path, list[Path]] = defaultdict(list)
    for name, folders, files in os.walk(root, followlinks=True):
        folders[:] = sorted(folder for folder in folders if not folder.startswith("."))
        for file in files:
            path = Path(name, file)
            if path.suffix.lower() in PICTURES and not file.startswith("."):
                pictures[path.parent].append(path)
    ordered = [
        path
        for paths in pictures.values()
        for path in sorted(paths, key=lambda path: (path.suffix.lower() in JPEG, path.name))
    ]
    return [(path.relative_to(root), path) for path in ordered]
