"""Masks as palette PNG files: each pixel's value is the index of its class."""

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from avsegcli.errors import MediaError
from avsegcli.indexed_png import encode_indexed_png
from avsegcli.media.masks import Masks
from avsegcli.media.palette import Colour
from avsegcli.media.writable import told_as_cannot_write
from avsegcli.whole_file import hidden_beside, place_of

CLASSES_FILE = "classes.json"


class MaskFolder:
    """Writes `000000.png` and so on, by the number of the frame, and `classes.json`.

    Args:
        folder: exists and is empty.
        classes: names; index 0 is the background.
        colours: RGB of the classes from index 1 on; the background is black.
    """

    def __init__(self, folder: Path, classes: Sequence[str], colours: Sequence[Colour]) -> None:
        self._folder = folder
        self._colours = np.array([(0, 0, 0), *colours], np.uint8)
        indices = {name: index for index, name in enumerate(classes)}
        (folder / CLASSES_FILE).write_text(json.dumps(indices, indent=1) + "\n")

    def add(self, index: int, masks: Masks) -> None:
        """Write the masks of one frame."""
        png = encode_indexed_png(masks.labels(), self._colours)
        (self._folder / f"{index:06d}.png").write_bytes(png)


@contextmanager
def folder_written_whole(folder: Path) -> Iterator[Path]:
    """Give a hidden folder beside `folder` to fill; it takes its place if all goes well.

    Raises:
        MediaError: if it cannot be written there.
    """
    folder = place_of(folder)
    temporary = hidden_beside(folder)
    try:
        with told_as_cannot_write(folder):
            temporary.mkdir()
        yield temporary
        with told_as_cannot_write(folder):
            if not folder.is_dir():
                temporary.rename(folder)
            elif holds_masks_only(folder):
                before = folder.rename(temporary.with_name(f"{temporary.name}-before"))
                temporary.rename(folder)
                shutil.rmtree(before)
            elif any(folder.iterdir()):
                raise MediaError(f"{folder} holds other files than masks", "Name a new folder.")
            else:  # it may be where another disk begins, and cannot be replaced then
                for path in sorted(temporary.iterdir()):  # classes.json, which says whole, last
                    shutil.move(path, folder / path.name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def holds_masks_only(folder: Path) -> bool:
    """Tell whether a folder holds what `MaskFolder` writes, and nothing else."""
    names = {path.name for path in folder.iterdir()}
    return CLASSES_FILE in names and all(
        name == CLASSES_FILE or name.endswith(".png") for name in names
    )
