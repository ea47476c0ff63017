"""AVSBench as it is handed out: S4, MS3 and AVSBench-semantic, read by one class.

    Single-source/s4_meta_data.csv      name, start, category, split
    Single-source/s4_data/
      visual_frames/<split>/<category>/<name>/<name>_{1..5}.png
      gt_masks/<split>/<category>/<name>/<name>_{1..5}.png        train has only _1
      audio_wav/<split>/<category>/<name>.wav
    Multi-sources/ms3_meta_data.csv     the name first, and a column split
    Multi-sources/ms3_data/
      visual_frames/<name>/<name>.mp4_{1..5}.png
      gt_masks/<split>/<name>/<name>_{1..5}.png                   palette, 0 = background
      audio_wav/<split>/<name>.wav
    AVSS/metadata.csv                   uid, split, label = v1s | v1m | v2
    AVSS/label2idx.json                 class to index, counted from 1, background first
    AVSS/<label>/<uid>/
      frames/{0..}.jpg   audio.wav
      labels_rgb/{0..}.png                                        v1s train has only 0
      ignore/{0..}.png          not of AVSBench, may be missing: 255 = not scored
      visible/{0..}.png         likewise: class of every visible object, sounding or not
      composition.json          likewise: what is heard

The last is also what `avseg compose` writes.
"""

import csv
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from avsegcli.audio.log_mel import SAMPLE_RATE
from avsegcli.datasets.clip import IGNORE, Clip
from avsegcli.datasets.files import read_indices, read_picture, read_waveform
from avsegcli.datasets.palette import colours_to_labels
from avsegcli.errors import DataError

Subset = Literal["s4", "ms3", "avss"]
Row = dict[str, str]  # of a subset's table, by column

BACKGROUND = "background"
BINARY = (BACKGROUND, "object")
BINARY_FRAMES = range(1, 6)  # as the files of S4 and MS3 are numbered


class ClipFiles(NamedTuple):
    """Where the parts of one clip are."""

    name: str
    frames: list[Path]
    masks: list[Path | None]  # one for each frame; None: it has no label
    extras: Path | None  # folder of what `avseg compose` adds; None: this subset never has any


class AvsBench:
    """The clips of one split, read when they are asked for.

    Args:
        root: the folder with the subset's table, or AVSBench's root, which holds that folder.
        split: "train", "val" or "test", as the table has it.
        subset: "s4" and "ms3" have the classes background and object, "avss" those of its
            label2idx.json.

    Attributes:
        classes: names by index, background first.
        notes: what a user should know about these data, one sentence each.

    Raises:
        DataError: if the root, its table or a column is missing, or the split has no clip.
    """

    def __init__(self, root: Path, split: str = "test", *, subset: Subset = "avss") -> None:
        self._layout = LAYOUTS[subset]
        self.root = self._layout.find(root)
        table = self.root / self._layout.table
        rows = _read_table(table, self._layout.columns)
        self._rows = [row for row in rows if row["split"] == split]
        if not self._rows:
            splits = ", ".join(sorted({row["split"] for row in rows})) or "none"
            raise DataError(f"{table} has no clip of split '{split}'", f"Splits it has: {splits}.")
        self._coloured = subset == "avss"
        self.classes = _read_classes(self.root / "label2idx.json") if self._coloured else BINARY
        self.notes = self._note_missing_sounds()

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
        return Clip(files.name, frames, waveform, labels, annotated, visible, heard)

    def _read_mask(self, path: Path) -> NDArray[np.uint8]:
        if not self._coloured:
            return (read_indices(path) > 0).astype(np.uint8)
        try:
            return colours_to_labels(read_picture(path), len(self.classes) - 1)
        except ValueError as error:
            raise DataError(f"{path}: {error}") from error

    def _read_heard(self, path: Path, num_frames: int) -> NDArray[np.bool_] | None:
        """Read the classes heard in each second, ``(T, L + 1)``."""
        if not path.exists():
            return None
        heard = np.zeros((num_frames, len(self.classes)), bool)
        try:
            for t, names in enumerate(json.loads(path.read_text())["heard"]):
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


# --- the three layouts --------------------------------------------------------------------------


class Layout(NamedTuple):
    """What makes a subset differ from the others."""

    folder: str  # in AVSBench's root
    table: str
    columns: tuple[str, ...]  # that the table must have
    locate: Callable[[Path, Row], ClipFiles]
    locate_sound: Callable[[Path, Row], Path]

    def find(self, root: Path) -> Path:
        """Find the folder with the table: the root itself, or the one that it should hold.

        Raises:
            DataError: if it is neither.
        """
        for folder in (root, root / self.folder):
            if (folder / self.table).is_file():
                return folder
        raise DataError(
            f"{root} has no {self.table}, neither itself nor in {self.folder}",
            "AVSBench is handed out on request: http://www.avlbench.opennlplab.cn/download",
        )


def _locate_s4(root: Path, row: Row) -> ClipFiles:
    name = row["name"]
    place = Path(row["split"]) / row["category"] / name
    data = root / "s4_data"
    annotated = BINARY_FRAMES[:1] if row["split"] == "train" else BINARY_FRAMES
    return ClipFiles(
        name,
        [data / "visual_frames" / place / f"{name}_{n}.png" for n in BINARY_FRAMES],
        [
            data / "gt_masks" / place / f"{name}_{n}.png" if n in annotated else None
            for n in BINARY_FRAMES
        ],
        extras=None,
    )


def _locate_s4_sound(root: Path, row: Row) -> Path:
    folder = root / "s4_data" / "audio_wav" / row["split"] / row["category"]
    return folder / f"{row['name']}.wav"


def _locate_ms3(root: Path, row: Row) -> ClipFiles:
    name, data = row["name"], root / "ms3_data"
    masks = data / "gt_masks" / row["split"] / name
    return ClipFiles(
        name,
        [data / "visual_frames" / name / f"{name}.mp4_{n}.png" for n in BINARY_FRAMES],
        [masks / f"{name}_{n}.png" for n in BINARY_FRAMES],
        extras=None,
    )


def _locate_ms3_sound(root: Path, row: Row) -> Path:
    return root / "ms3_data" / "audio_wav" / row["split"] / f"{row['name']}.wav"


def _locate_avss(root: Path, row: Row) -> ClipFiles:
    folder = root / row["label"] / row["uid"]
    frames, masks = folder / "frames", folder / "labels_rgb"
    # A file that is missing at the end shows by its counterpart, one in between by its number.
    num_frames = max(_count(frames, ".jpg"), _count(masks, ".png"))
    if num_frames == 0:
        raise DataError(f"{frames} has no frames")
    annotated = 1 if (row["label"], row["split"]) == ("v1s", "train") else num_frames
    return ClipFiles(
        row["uid"],
        [frames / f"{t}.jpg" for t in range(num_frames)],
        [masks / f"{t}.png" if t < annotated else None for t in range(num_frames)],
        extras=folder,
    )


def _locate_avss_sound(root: Path, row: Row) -> Path:
    return root / row["label"] / row["uid"] / "audio.wav"


def _count(folder: Path, ending: str) -> int:
    """One more than the highest number among the files ``{0..}<ending>``; 0 if there is none."""
    numbers = (path.stem for path in folder.glob(f"*{ending}"))
    return max((int(number) + 1 for number in numbers if number.isdecimal()), default=0)


LAYOUTS: dict[Subset, Layout] = {
    "s4": Layout(
        "Single-source",
        "s4_meta_data.csv",
        ("name", "category", "split"),
        _locate_s4,
        _locate_s4_sound,
    ),
    "ms3": Layout(
        "Multi-sources", "ms3_meta_data.csv", ("name", "split"), _locate_ms3, _locate_ms3_sound
    ),
    "avss": Layout(
        "AVSS", "metadata.csv", ("uid", "split", "label"), _locate_avss, _locate_avss_sound
    ),
}


# --- reading ------------------------------------------------------------------------------------


def _read_table(path: Path, columns: Iterable[str]) -> list[Row]:
    """Read a table; its first column is called "name" where a column "name" is asked for.

    Raises:
        DataError: if a column is missing, or a row is too short.
    """
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file)
        header = [name.strip() for name in next(reader, [])]
        rows = [line for line in reader if line]
    if "name" in columns and "name" not in header:
        header[:1] = ["name"]
    missing = [column for column in columns if column not in header]
    if missing:
        raise DataError(f"{path} has no column '{missing[0]}'", f"It has: {', '.join(header)}.")
    for number, line in enumerate(rows, start=2):
        if len(line) < len(header):
            raise DataError(f"{path}, row {number}, has {len(line)} of {len(header)} columns")
    return [dict(zip(header, line, strict=False)) for line in rows]


def _read_classes(path: Path) -> tuple[str, ...]:
    """Read label2idx.json: names by index, counted from 1, background first."""
    try:
        indices = json.loads(path.read_text())
        classes = tuple(sorted(indices, key=indices.__getitem__))
        counted = sorted(indices.values()) == list(range(1, len(classes) + 1))
    except OSError as error:
        raise DataError(f"{path} is missing or cannot be read") from error
    except (ValueError, AttributeError, TypeError) as error:
        raise DataError(f"{path} is no JSON object of class names and indices") from error
    if not counted or classes[0] != BACKGROUND:
        raise DataError(f"{path} does not count its classes 1, 2, ... with '{BACKGROUND}' first")
    return classes


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
