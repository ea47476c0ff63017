"""Write a file, or a folder, so that it is whole when it appears under its name."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from avsegcli.device import is_memory_short, memory_limit
from avsegcli.errors import AvsegError, OutOfMemoryError

HIDDEN = ".avseg-"  # how the names of files begin that are not whole yet


def resolved_path(path: Path) -> Path:
    """Return where a file lies, however its name is written: `no/../a` is `a`, a link its target.

    Files are compared, and looked for before they are replaced, by their place.
    """
    return Path(os.path.realpath(path))


def printable(text: str) -> str:
    r"""Return a text in which what is not UTF-8 in names of files is `\ufffd`.

    Python keeps such bytes as characters that cannot be encoded.

    Example:
        >>> printable("caf\udce9.mp4") == "caf\ufffd.mp4", printable("\udcc3\udca9") == "\xe9"
        (True, True)
    """
    return text.encode(errors="surrogateescape").decode(errors="replace")


def check_can_write(path: Path) -> None:
    """Find out before the work whether `write_atomically` can write a file.

    Raises:
        AvsegError: if it cannot.
    """
    place = resolved_path(path)
    # Not even the root is there on a drive that Windows does not have.
    there = next((folder for folder in place.parents if folder.exists()), Path(place.anchor))
    if place.is_dir():
        reason = "it is a folder"
    elif not there.is_dir():
        reason = f"{there} is no folder"
    elif not os.access(there, os.W_OK):
        reason = "permission denied"
    else:
        return
    raise AvsegError(f"cannot write {path}: {reason}", "Choose another place.")


def check_can_create(path: Path, *, force: bool) -> None:
    """Find out before the work whether `write_atomically` can write a file, and may.

    Args:
        path: the file that is wanted.
        force: it may replace one that exists.

    Raises:
        AvsegError: if it cannot be written, or exists and may not be replaced.
    """
    check_can_write(path)
    if resolved_path(path).exists() and not force:
        raise AvsegError(f"{path} exists already", "Add --force to replace it.")


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file under a temporary name and rename it; missing folders are made.

    Text becomes UTF-8, `printable` before.

    Raises:
        AvsegError: if it cannot be written.
    """
    with wrap_write_errors(path):
        resolved_path(path).parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as part:
            data = printable(content).encode() if isinstance(content, str) else content
            part.write_bytes(data)


@contextmanager
def atomic_write(path: Path, raised: type[AvsegError] = AvsegError) -> Iterator[Path]:
    """Give a hidden file beside `path` to write to; it becomes `path` if all goes well.

    A file of that name is replaced then. Whatever goes wrong, Ctrl-C included, nothing is left
    behind. Errors of the block stay as they are.

    Args:
        path: the file to be, of which the hidden one has the suffix; its folder exists.
        raised: type of the error.

    Raises:
        AvsegError: if it cannot be written there.
    """
    target = resolved_path(path)  # what a link points to is replaced, not the link
    part = temporary_name(target)
    try:
        with wrap_write_errors(path, raised):
            part.touch(exist_ok=False)
        yield part
        with wrap_write_errors(path, raised):
            part.replace(target)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


@contextmanager
def atomic_folder(folder: Path, last: str, raised: type[AvsegError] = AvsegError) -> Iterator[Path]:
    """Give a hidden folder beside `folder` to fill; it becomes `folder` if all goes well.

    An older folder of that name is gone then. Whatever goes wrong, Ctrl-C included, one of the two
    lies there whole, and nothing else is left behind. Errors of the block stay as they are.

    Args:
        folder: the folder to be; missing ones above it are made.
        last: the file in it that shows that it is whole.
        raised: type of the error.

    Raises:
        AvsegError: if it cannot be written there.
    """
    place = resolved_path(folder)
    hidden = temporary_name(place)
    new, before = hidden / "new", hidden / "before"
    try:
        with wrap_write_errors(folder, raised):
            new.mkdir(parents=True)
        yield new
        with wrap_write_errors(folder, raised):
            if place.is_dir() and not any(place.iterdir()):
                # Another disk may begin here, and the folder cannot be replaced then.
                end = Path(last).parts[0]
                for path in sorted(new.iterdir(), key=lambda path: path.name == end):
                    shutil.move(path, place / path.name)
            else:
                _exchange(new, place, before)
        shutil.rmtree(before, ignore_errors=True)
    finally:
        shutil.rmtree(new, ignore_errors=True)
        if place.exists() or not before.exists():  # else it holds all that is left
            shutil.rmtree(hidden, ignore_errors=True)


def _exchange(new: Path, place: Path, before: Path) -> None:
    """Give one folder the name of another, which is called `before` then; or change nothing."""
    try:
        if place.is_dir():
            place.rename(before)
        new.rename(place)
    except BaseException:
        if before.exists() and not place.exists():
            before.rename(place)
        raise


def temporary_name(path: Path) -> Path:
    """Make up a name that nothing has in the folder of `path`; two processes may write one file."""
    return path.with_name(f"{HIDDEN}{secrets.token_hex(6)}{path.suffix}")


@contextmanager
def wrap_write_errors(
    path: Path | None,
    raised: type[AvsegError] = AvsegError,
    caught: tuple[type[Exception], ...] = (OSError,),
) -> Iterator[None]:
    """Turn errors of the system into one that says that `path` cannot be written.

    Args:
        path: as the user knows it.
        raised: type of the error instead.
        caught: types of the errors that are converted.
    """
    try:
        yield
    except caught as error:
        if is_memory_short():
            raise OutOfMemoryError(memory_limit()) from error
        said = getattr(error, "strerror", None)
        raise raised(f"cannot write {path}: {said.lower() if said else error}") from error


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Give a folder for files that only this block needs.

    Raises:
        AvsegError: if none can be made.
    """
    try:
        folder = TemporaryDirectory(prefix="avseg-")
    except OSError as error:
        message = f"no temporary folder can be made: {str(error.strerror).lower()}"
        raise AvsegError(message, "Set TMPDIR to a folder on a disk with room.") from error
    with folder as name:
        yield Path(name)
