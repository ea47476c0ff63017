"""Whether an output may be written, and what is told if it cannot."""

import os
from contextlib import AbstractContextManager
from pathlib import Path

import av

from avsegcli import whole_file
from avsegcli.errors import MediaError

EXISTS = "Give --force to replace it."


def check_writable(output: Path, *, force: bool = False, hint: str = EXISTS) -> None:
    """Make sure that a file may be written.

    Args:
        output: the file that is wanted.
        force: it may replace one that exists.
        hint: what to do if it exists and may not be replaced.

    Raises:
        MediaError: if it exists, or its folder does not or may not be written to.
    """
    folder = output.resolve().parent
    if output.is_dir():
        raise MediaError(f"cannot write {output}: it is a folder", "Name a file.")
    if output.exists() and not force:
        raise MediaError(f"{output} exists already", hint)
    if not folder.is_dir():
        raise MediaError(f"cannot write {output}: no such folder: {folder}", "Make it first.")
    if not os.access(folder, os.W_OK):
        raise MediaError(f"cannot write {output}: permission denied", "Choose another folder.")


def written_whole(output: Path) -> AbstractContextManager[Path]:
    """As `avsegcli.whole_file.written_whole`, of a video, picture or sound file.

    Raises:
        MediaError: if it cannot be written there.
    """
    return whole_file.written_whole(output, MediaError)


def told_as_cannot_write(output: Path | None) -> AbstractContextManager[None]:
    """Turn errors of the system and of FFmpeg into a `MediaError` about `output`."""
    return whole_file.told_as_cannot_write(output, MediaError, (OSError, av.FFmpegError))
