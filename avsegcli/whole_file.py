"""Write a file so that it is whole when it appears under its name."""

import os
from contextlib import suppress
from pathlib import Path

from avsegcli.errors import AvsegError


def check_place(path: Path) -> None:
    """Find out before the work whether `write_whole` can write a file.

    Raises:
        AvsegError: if it cannot.
    """
    there = next(folder for folder in path.absolute().parents if folder.exists())
    if path.is_dir():
        reason = "it is a folder"
    elif not there.is_dir():
        reason = f"{there} is no folder"
    elif not os.access(there, os.W_OK):
        reason = "permission denied"
    else:
        return
    raise AvsegError(f"cannot write {path}: {reason}", "Name another file.")


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file under a temporary name and rename it; missing folders are made.

    Raises:
        AvsegError: if it cannot be written.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")  # two processes may write one file
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content.encode() if isinstance(content, str) else content)
        part.replace(path)
    except OSError as error:
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise AvsegError(f"cannot write {path}: {error.strerror}") from error
