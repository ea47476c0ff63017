"""Masks as palette PNG files: each pixel's value is the index of its class."""

import json
import secrets
import shutil
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from avsegcli.errors import MediaError
from avsegcli.media.encode import told_as_cannot_write
from avsegcli.media.masks import Masks
from avsegcli.media.palette import Colour

CLASSES_FILE = "classes.json"
COMPRESSION = 3  # of zlib; masks are flat, more gains little


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
        png = indexed_png(masks.labels(), self._colours)
        (self._folder / f"{index:06d}.png").write_bytes(png)


def indexed_png(labels: NDArray[np.uint8], palette: NDArray[np.uint8]) -> bytes:
    """Encode a picture of indices, ``(H, W)``, with their RGB colours, ``(at most 256, 3)``."""
    height, width = labels.shape
    rows = np.zeros((height, width + 1), np.uint8)  # each row begins with its filter: none
    rows[:, 1:] = labels
    parts = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
        (b"PLTE", palette.tobytes()),
        (b"IDAT", zlib.compress(rows.tobytes(), COMPRESSION)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )


@contextmanager
def folder_written_whole(folder: Path) -> Iterator[Path]:
    """Give a hidden folder beside `folder` to fill; it takes its place if all goes well.

    Raises:
        MediaError: if it cannot be written there.
    """
    folder = folder.resolve()
    temporary = folder.with_name(f".avseg-{secrets.token_hex(6)}")
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
