"""A folder that appears under its name when all of it is written, or not at all."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from avsegcli.errors import DataError


@contextmanager
def new_folder(out: Path, marker: str, *, force: bool = False) -> Iterator[Path]:
    """Give a temporary folder beside `out`, which takes its place when the block is left.

    Args:
        out: the folder to be.
        marker: a file that shows an older folder at `out` to be a data set: nothing else is
            ever replaced.
        force: replace such an older data set.

    Raises:
        DataError: if something at `out` is in the way, or it cannot be made.
    """
    out = out.resolve()
    _refuse_if_in_the_way(out, marker, force)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    except OSError as error:
        raise DataError(f"cannot make the folder {out}: {error.strerror}") from error
    try:
        yield partial
        partial.chmod(0o755)
        if out.exists():
            shutil.rmtree(out)
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


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
