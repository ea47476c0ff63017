"""A folder that appears under its name when all of it is written, or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from avsegcli.errors import DataError
from avsegcli.files.atomic import atomic_folder


@contextmanager
def atomic_dataset_folder(out: Path, marker: str, *, force: bool = False) -> Iterator[Path]:
    """Give a hidden folder beside `out`, which takes its place if all goes well.

    Args:
        out: the folder to be.
        marker: a file that shows an older folder at `out` to be a data set: nothing else is
            ever replaced.
        force: replace such an older data set.

    Raises:
        DataError: if something at `out` is in the way, or it cannot be written.
    """
    _refuse_if_in_the_way(out, marker, force)
    with atomic_folder(out, marker, DataError) as partial:
        yield partial


def _refuse_if_in_the_way(out: Path, marker: str, force: bool) -> None:
    if not out.exists():
        return
    if not out.is_dir():
        raise DataError(f"{out} is a file", "name a folder that does not exist yet")
    if not any(out.iterdir()):
        return
    if not (out / marker).exists():
        raise DataError(f"{out} holds other files", "name a folder that does not exist yet")
    if not force:
        raise DataError(f"{out} holds a data set already", "--force replaces it")
