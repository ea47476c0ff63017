"""Masks as palette PNG files: each pixel's value is the index of its class."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from avsegcli.errors import MediaError
from avsegcli.files.atomic import atomic_folder
from avsegcli.files.indexed_png import encode_indexed_png
from avsegcli.inference.masks import Masks
from avsegcli.render.colors import Colour

CLASSES_FILE = "classes.json"
TIMES_FILE = "times.csv"


class MaskFolder:
    """Writes `000000.png` and so on, by the number of the frame, `classes.json` and `times.csv`.

    Args:
        folder: exists and is empty.
        classes: names; index 0 is the background.
        colours: RGB of the classes from index 1 on; the background is black.
    """

    def __init__(self, folder: Path, classes: Sequence[str], colours: Sequence[Colour]) -> None:
        self._folder = folder
        self._colours = np.array([(0, 0, 0), *colours], np.uint8)
        indices = {name: index for index, name in enumerate(classes)}
        (folder / CLASSES_FILE).write_text(json.dumps(indices, indent=1) + "\n", encoding="utf-8")
        (folder / TIMES_FILE).write_text("frame,seconds\n", encoding="utf-8")

    def add(self, index: int, time: float, masks: Masks) -> None:
        """Write the masks of one frame.

        Args:
            index: number of the frame in the video, from 0 on.
            time: seconds from the start of the file.
            masks: what sounds where in it.
        """
        png = encode_indexed_png(masks.labels(), self._colours)
        (self._folder / f"{index:06d}.png").write_bytes(png)
        with (self._folder / TIMES_FILE).open("a", encoding="utf-8") as file:
            file.write(f"{index},{time:.6f}\n")


@contextmanager
def atomic_mask_folder(folder: Path) -> Iterator[Path]:
    """Give a hidden folder beside `folder` to fill; it takes its place if all goes well.

    Raises:
        MediaError: if it cannot be written there, or other files than masks are.
    """
    with atomic_folder(folder, CLASSES_FILE, MediaError) as hidden:
        yield hidden
        if folder.is_dir() and any(folder.iterdir()) and not holds_masks_only(folder):
            raise MediaError(f"{folder} holds other files than masks", "Name a new folder.")


def holds_masks_only(folder: Path) -> bool:
    """Tell whether a folder holds what `MaskFolder` writes, and nothing else."""
    names = {path.name for path in folder.iterdir()}
    return CLASSES_FILE in names and all(
        name in (CLASSES_FILE, TIMES_FILE) or name.endswith(".png") for name in names
    )
