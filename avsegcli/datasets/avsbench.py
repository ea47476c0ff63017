"""AVSBench as it is handed out: S4, MS3 and AVSBench-semantic, read by one class.

Its files are named in `avsbench_files`.
"""

import json
from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from avsegcli.audio.log_mel import SAMPLE_RATE
from avsegcli.datasets.avsbench_files import LAYOUTS, Row, Subset, read_table
from avsegcli.datasets.clip import IGNORE, Clip
from avsegcli.datasets.io import (
    BACKGROUND,
    read_classes,
    read_indices,
    read_picture,
    read_waveform,
)
from avsegcli.datasets.label_colors import colours_to_labels
from avsegcli.errors import DataError

BINARY = (BACKGROUND, "object")


class UnknownColourError(DataError):
    """A label picture has a colour that is of no class."""


class AvsBench:
    """The clips of one split, read when they are asked for.

    Args:
        root: the folder with the subset's table, or AVSBench's root, which holds that folder.
        split: "train", "val" or "test", as the table has it.
        subset: "s4" and "ms3" have the classes background and object, "avss" those of its
            label2idx.json.

    Attributes:
        classes: names by index, background first.
        names: of the clips, each once.
        notes: remarks on these data for the user, one sentence each.

    Raises:
        DataError: if the root, its table or a column is missing, or the split has no clip.
    """

    def __init__(self, root: Path, split: str = "test", *, subset: Subset = "avss") -> None:
        self._layout = LAYOUTS[subset]
        self.root = self._layout.find(root)
        table = self.root / self._layout.table
        rows = read_table(table, self._layout.columns)
        of_split = [row for row in rows if row["split"] == split]
        if not of_split:
            splits = ", ".join(sorted({row["split"] for row in rows})) or "none"
            raise DataError(f"{table} has no clip of split '{split}'", f"Splits it has: {splits}.")
        places = {self._place(row): row for row in of_split}
        counts = Counter(name for *_, name in places)
        self.names = ["_".join(place) if counts[place[-1]] > 1 else place[-1] for place in places]
        self._rows = list(places.values())
        self._coloured = subset == "avss"
        self.classes = read_classes(self.root / "label2idx.json", 1) if self._coloured else BINARY
        self.notes = self._note_missing_sounds()
        if len(of_split) > len(places):
            twice = len(of_split) - len(places)
            self.notes.append(
                f"{table} names {twice} clips of split '{split}' again: they count once"
            )

    def _place(self, row: Row) -> tuple[str, ...]:
        """Return what tells a clip from the others: its group, if there are any, and its name."""
        column, *others = self._layout.columns
        return tuple(row[key] for key in [*others, column] if key != "split")

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Clip:
        """Read one clip.

        Raises:
            DataError: if a frame or mask is missing or damaged, a colour is of no class, or the
                pictures of the clip differ in size.
        """
        files = self._layout.locate(self.root, self._rows[index])
        pictures = [read_picture(path) for path in files.frames]
        height, width = pictures[0].shape[:2]
        frames = np.stack(
            [_sized(*item, height, width) for item in zip(files.frames, pictures, strict=True)]
        )
        labels = np.full(frames.shape[:3], IGNORE, np.uint8)
        for t, path in enumerate(files.masks):
            if path is not None:
                labels[t] = _sized(path, self._read_mask(path), height, width)
        visible, heard = None, None
        if files.extras is not None:
            visible = _read_maps(files.extras / "visible", frames.shape[:3])
            ignore = _read_maps(files.extras / "ignore", frames.shape[:3])
            heard = self._read_heard(files.extras / "composition.json", len(frames))
            if ignore is not None:
                labels[ignore == IGNORE] = IGNORE
        sound = self._layout.locate_sound(self.root, self._rows[index])
        if sound.exists():
            waveform = read_waveform(sound)
        else:
            waveform = np.zeros(len(frames) * SAMPLE_RATE, np.float32)
        annotated = np.array([path is not None for path in files.masks])
        log_mel = self._layout.locate_log_mel(self.root, self._rows[index])
        if log_mel is not None and not log_mel.exists():
            log_mel = None
        return Clip(self.names[index], frames, waveform, labels, annotated, visible, heard, log_mel)

    def has_sound(self, index: int) -> bool:
        """Whether a clip has a sound file."""
        return self._layout.locate_sound(self.root, self._rows[index]).exists()

    def category(self, index: int) -> str | None:
        """Name the class of a clip of S4, whose masks do not tell it."""
        return self._rows[index].get("category")

    def _read_mask(self, path: Path) -> NDArray[np.uint8]:
        if not self._coloured:
            return (read_indices(path) > 0).astype(np.uint8)
        try:
            return colours_to_labels(read_picture(path), len(self.classes) - 1)
        except ValueError as error:
            raise UnknownColourError(f"{path}: {error}") from error

    def _read_heard(self, path: Path, num_frames: int) -> NDArray[np.bool_] | None:
        """Read the classes heard in each second, ``(T, L + 1)``."""
        if not path.exists():
            return None
        heard = np.zeros((num_frames, len(self.classes)), bool)
        try:
            for t, names in enumerate(json.loads(path.read_text(encoding="utf-8"))["heard"]):
                heard[t, [self.classes.index(name) for name in names]] = True
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise DataError(f"{path} does not say what is heard: {error}") from error
        return heard

    def _note_missing_sounds(self) -> list[str]:
        sounds = [self._layout.locate_sound(self.root, row) for row in self._rows]
        missing = [path for path in sounds if not path.exists()]
        if not missing:
            return []
        return [
            f"{len(missing)} of {len(sounds)} clips have no sound file and are taken as silent; "
            f"the first is {missing[0]}"
        ]


# --- reading ------------------------------------------------------------------------------------


def _read_maps(folder: Path, shape: tuple[int, int, int]) -> NDArray[np.uint8] | None:
    """Read one map of indices for each frame, ``(T, H, W)``; None if there is no such folder."""
    if not folder.is_dir():
        return None
    num_frames, height, width = shape
    paths = [folder / f"{t}.png" for t in range(num_frames)]
    return np.stack([_sized(path, read_indices(path), height, width) for path in paths])


def _sized(path: Path, picture: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    if picture.shape[:2] != (height, width):
        found = f"{picture.shape[1]} x {picture.shape[0]}"
        raise DataError(f"{path} is {found}, the clip's first frame {width} x {height}")
    return picture
