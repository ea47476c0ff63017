"""File layout of S4, MS3 and AVSBench-semantic, exactly as published.

    Single-source/s4_meta_data.csv      name, start, category, split
    Single-source/s4_data/
      visual_frames/<split>/<category>/<name>/<name>_{1..5}.png
      gt_masks/<split>/<category>/<name>/<name>_{1..5}.png        train has only _1
      audio_wav/<split>/<category>/<name>.wav
      audio_log_mel/<split>/<category>/<name>.pkl                 may be missing
    Multi-sources/ms3_meta_data.csv     the name first, and a column split
    Multi-sources/ms3_data/
      visual_frames/<name>/<name>.mp4_{1..5}.png
      gt_masks/<split>/<name>/<name>_{1..5}.png                   palette, 0 = background
      audio_wav/<split>/<name>.wav   audio_log_mel/<split>/<name>.pkl
    AVSS/metadata.csv                   uid, split, label = v1s | v1m | v2
    AVSS/label2idx.json                 class to index, counted from 1, background first
    AVSS/<label>/<uid>/
      frames/{0..}.jpg   audio.wav                                or audio.ogg, not of AVSBench
      labels_rgb/{0..}.png                                        v1s train has only 0
      ignore/{0..}.png          not of AVSBench, may be missing: 255 = not scored
      visible/{0..}.png         likewise: class of every visible object, sounding or not
      composition.json          likewise: what is heard

The last is also what `avseg compose` writes.
"""

import csv
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal, NamedTuple

from avsegcli.errors import DataError

Subset = Literal["s4", "ms3", "avss"]
Row = dict[str, str]  # of a subset's table, by column

BINARY_FRAMES = range(1, 6)  # as the files of S4 and MS3 are numbered
PUBLISHED: dict[Subset, dict[str, int]] = {  # clips of each split; "": of all
    "s4": {"train": 3452, "val": 740, "test": 740},
    "ms3": {"train": 296, "val": 64, "test": 64},
    "avss": {"": 12_356},
}
HANDED_OUT = (
    "AVSBench is handed out on request: http://www.avlbench.opennlplab.cn/download; "
    "'avseg data fake' writes a small set in its layout to try without."
)


class ClipFiles(NamedTuple):
    """Paths of the files of one clip."""

    frames: list[Path]
    masks: list[Path | None]  # one for each frame; None: it has no label
    extras: Path | None  # folder of what `avseg compose` adds; None: this subset never has any


class Layout(NamedTuple):
    """File layout of one subset."""

    folder: str  # in AVSBench's root
    table: str
    columns: tuple[str, ...]  # that the table must have
    locate: Callable[[Path, Row], ClipFiles]
    locate_sound: Callable[[Path, Row], Path]

    def locate_log_mel(self, root: Path, row: Row) -> Path | None:
        """Name the file of log-mel examples; None: the subset has none."""
        data, kind, *place = self.locate_sound(root, row).relative_to(root).parts
        if kind != "audio_wav":
            return None
        return root.joinpath(data, "audio_log_mel", *place).with_suffix(".pkl")

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
            HANDED_OUT,
        )


def _locate_s4(root: Path, row: Row) -> ClipFiles:
    name = row["name"]
    place = Path(row["split"]) / row["category"] / name
    data = root / "s4_data"
    annotated = BINARY_FRAMES[:1] if row["split"] == "train" else BINARY_FRAMES
    return ClipFiles(
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
        [data / "visual_frames" / name / f"{name}.mp4_{n}.png" for n in BINARY_FRAMES],
        [masks / f"{name}_{n}.png" for n in BINARY_FRAMES],
        extras=None,
    )


def _locate_ms3_sound(root: Path, row: Row) -> Path:
    return root / "ms3_data" / "audio_wav" / row["split"] / f"{row['name']}.wav"


def _locate_avss(root: Path, row: Row) -> ClipFiles:
    folder = root / row["label"] / row["uid"]
    # A file that is missing at the end shows by its counterpart, one in between by its number.
    num_frames = max(_count(folder / "frames", ".jpg"), _count(folder / "labels_rgb", ".png"))
    if num_frames == 0:
        raise DataError(f"{folder / 'frames'} has no frames")
    return avss_files(root, row, num_frames)


def avss_files(root: Path, row: Row, num_frames: int) -> ClipFiles:
    """Name the files of a clip of AVSBench-semantic that has so many frames."""
    folder = root / row["label"] / row["uid"]
    frames, masks = folder / "frames", folder / "labels_rgb"
    annotated = 1 if (row["label"], row["split"]) == ("v1s", "train") else num_frames
    return ClipFiles(
        [frames / f"{t}.jpg" for t in range(num_frames)],
        [masks / f"{t}.png" if t < annotated else None for t in range(num_frames)],
        extras=folder,
    )


def _locate_avss_sound(root: Path, row: Row) -> Path:
    folder = root / row["label"] / row["uid"]
    packed = folder / "audio.ogg"
    return packed if packed.exists() else folder / "audio.wav"


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


def find_subset(dataset: str) -> Subset | None:
    """Find the subset of AVSBench that a word names; None: it must be a folder."""
    return next((subset for subset in LAYOUTS if subset == dataset), None)


def find_subsets(dataset: str) -> tuple[Subset, ...]:
    """Find the subsets of AVSBench that words joined by + name; none: it must be a folder.

    Example:
        >>> find_subsets("s4+ms3"), find_subsets("my/clips")
        (('s4', 'ms3'), ())
    """
    found = [find_subset(word) for word in dataset.split("+")]
    subsets = [subset for subset in found if subset is not None]
    return tuple(subsets) if len(subsets) == len(found) == len({*found}) else ()


def recognize_subset(dataset: str) -> str | None:
    """Find the subset of AVSBench that a word names, or that the folder is which it names.

    Subsets joined by + are found by their names. None: it is none of these. What `avseg compose`
    wrote is none: it says what is heard.
    """
    root = Path(dataset)
    if find_subsets(dataset):
        return dataset
    tables = ((subset, root / layout.table) for subset, layout in LAYOUTS.items())
    found = next((subset for subset, table in tables if table.is_file()), None)
    return None if found is None or any(root.glob("*/*/composition.json")) else found


def read_table(path: Path, columns: Iterable[str]) -> list[Row]:
    """Read a table; its first column is called "name" where a column "name" is asked for.

    Raises:
        DataError: if it cannot be read, a column is missing, or a row is too short.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            header = [name.strip() for name in next(reader, [])]
            rows = [line for line in reader if line]
    except OSError as error:
        raise DataError(f"{path} is missing or cannot be read") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is no CSV table in UTF-8") from error
    if "name" in columns and "name" not in header:
        header[:1] = ["name"]
    missing = [column for column in columns if column not in header]
    if missing:
        raise DataError(f"{path} has no column '{missing[0]}'", f"It has: {', '.join(header)}.")
    for number, line in enumerate(rows, start=2):
        if len(line) < len(header):
            raise DataError(f"{path}, row {number}, has {len(line)} of {len(header)} columns")
    return [dict(zip(header, line, strict=False)) for line in rows]
