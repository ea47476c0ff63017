"""A small AVSBench to try every command on: shapes that beep, in exactly its layout.

The shapes of `toy` stand for classes of AVSBench, so that a model of its 71 classes can be
trained and scored. Nothing that is learned of them is of any use.
"""

import csv
import io
import json
import pickle
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from avsegcli.datasets.avsbench_classes import CLASSES
from avsegcli.datasets.avsbench_files import LAYOUTS, Row, Subset, avss_files
from avsegcli.datasets.clip import IGNORE, Clip
from avsegcli.datasets.io import read_waveform, write_file, write_picture, write_waveform
from avsegcli.datasets.label_colors import labels_to_colours
from avsegcli.datasets.transforms import clip_log_mel
from avsegcli.files.atomic import temporary_folder
from avsegcli.files.indexed_png import encode_indexed_png
from avsegcli.files.new_folder import atomic_dataset_folder
from avsegcli.synthesis.composer import Composer, clip_name
from avsegcli.synthesis.parts import SPLITS, Parts
from avsegcli.synthesis.sampler import Task
from avsegcli.synthesis.toy import write_toy_parts

STANDS_FOR = {"disc": "dog", "square": "drum", "star": "bird", "triangle": "violin"}
TASKS: dict[Subset, Task] = {"s4": "single", "ms3": "multi", "avss": "semantic"}
AVSS_FRAMES = {"v1s": 5, "v1m": 5, "v2": 10}  # a clip of each label in turn
SIZES: dict[Subset, int] = {"s4": 224, "ms3": 224, "avss": 320}  # longest side; avss: mixed shapes
COLUMNS: dict[Subset, tuple[str, ...]] = {
    "s4": ("name", "start", "category", "split"),
    "ms3": ("name", "split"),
    "avss": ("vid", "uid", "s_min", "s_sec", "a_obj", "split", "label"),
}


def write_fake(
    root: Path,
    subset: Subset,
    *,
    clips: int = 8,
    splits: Sequence[str] = SPLITS,
    seed: int = 0,
    force: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> int:
    """Write a fake subset of AVSBench; the same seed makes the same pictures and sounds.

    Args:
        root: AVSBench's root, in which the subset's folder appears when it is whole.
        subset: "s4", "ms3" or "avss".
        clips: number of clips of each split.
        splits: which splits.
        seed: of the shapes and of all clips.
        force: replace an older folder of this subset.
        on_progress: called with the number of clips that are done, and of all.

    Returns:
        The number of clips.

    Raises:
        DataError: if something is in the way, or a file cannot be written.
    """
    layout = LAYOUTS[subset]
    rows: list[Row] = []
    with (
        atomic_dataset_folder(root / layout.folder, layout.table, force=force) as folder,
        temporary_folder() as parts_folder,
    ):
        write_toy_parts(parts_folder, seed)
        for row, clip in _draw(subset, parts_folder, splits, clips, seed):
            _write_clip(subset, folder, row, clip)
            rows.append(row)
            if on_progress:
                on_progress(len(rows), clips * len(splits))
        text = io.StringIO()
        table = csv.DictWriter(text, COLUMNS[subset], lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
        write_file(folder / layout.table, text.getvalue().encode())
        if subset == "avss":
            indices = {name: index for index, name in enumerate(CLASSES, start=1)}
            write_file(folder / "label2idx.json", (json.dumps(indices, indent=1) + "\n").encode())
    return len(rows)


def _draw(
    subset: Subset, parts_folder: Path, splits: Sequence[str], clips: int, seed: int
) -> Iterator[tuple[Row, Clip]]:
    """Draw the clips with their rows of the table; labels are AVSBench's class indices."""
    for split in splits:
        parts = Parts(parts_folder, split)
        to_avsbench = np.zeros(256, np.uint8)  # IGNORE too becomes background, as AVSBench has it
        for index, name in enumerate(parts.classes[1:], start=1):
            to_avsbench[index] = CLASSES.index(STANDS_FOR[name])
        for index in range(clips):
            label = list(AVSS_FRAMES)[index % len(AVSS_FRAMES)] if subset == "avss" else ""
            composer = Composer(
                parts,
                task=TASKS[subset],
                num_frames=AVSS_FRAMES.get(label, 5),
                size=SIZES[subset],
                aspect="mixed" if subset == "avss" else "square",
            )
            clip = composer.compose(seed, index).clip
            clip = clip._replace(labels=to_avsbench[clip.labels])
            sounding = [CLASSES[c] for c in np.unique(clip.labels) if c not in (0, IGNORE)]
            name = clip_name(split, seed, index)
            row = {
                "vid": name,
                "name": name,
                "uid": name,
                "start": "0",
                "s_min": "0",
                "s_sec": "0",
                "category": sounding[0] if sounding else CLASSES[1],
                "a_obj": "_".join(sounding),
                "split": split,
                "label": label,
            }
            yield {column: row[column] for column in COLUMNS[subset]}, clip


def _write_clip(subset: Subset, folder: Path, row: Row, clip: Clip) -> None:
    layout = LAYOUTS[subset]
    coloured = subset == "avss"
    files = avss_files(folder, row, len(clip.frames)) if coloured else layout.locate(folder, row)
    for path, frame in zip(files.frames, clip.frames, strict=True):
        write_picture(path, frame)
    for mask, labels in zip(files.masks, clip.labels, strict=True):
        if mask is not None:
            _write_mask(subset, mask, labels)
    sound = layout.locate_sound(folder, row)
    write_waveform(sound, clip.waveform, "PCM_16")
    log_mel = layout.locate_log_mel(folder, row)
    if log_mel is not None:
        import torch

        examples = clip_log_mel(read_waveform(sound), len(clip.frames), "avsbench")
        write_file(log_mel, pickle.dumps(torch.from_numpy(examples)[:, None]))


def _write_mask(subset: Subset, path: Path, labels: NDArray[np.uint8]) -> None:
    binary = (labels > 0).astype(np.uint8) * np.uint8(255)  # as AVSBench; its loader divides by 255
    if subset == "avss":
        write_picture(path, labels_to_colours(labels))
    elif subset == "s4":
        write_picture(path, binary, [cv2.IMWRITE_PNG_BILEVEL, 1])
    else:
        palette = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
        write_file(path, encode_indexed_png(binary, palette))
