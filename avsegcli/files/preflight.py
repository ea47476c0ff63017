"""Check outputs before the work: that they can be written and do not conflict."""

import os
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

import av

from avsegcli.errors import ConfigError, MediaError
from avsegcli.files import atomic
from avsegcli.files.atomic import resolved_path

EXISTS = "Give --overwrite to replace it, or --resume to skip what is complete."


def check_writable(output: Path, *, force: bool = False) -> None:
    """Make sure that a file may be written.

    Args:
        output: the file that is wanted.
        force: it may replace one that exists.

    Raises:
        MediaError: if it exists, or its folder does not or may not be written to.
    """
    place = resolved_path(output)
    folder = place.parent
    if place.is_dir():
        raise MediaError(f"cannot write {output}: it is a folder", "Name a file.")
    if place.exists() and not force:
        raise MediaError(f"{output} exists already", EXISTS)
    if not folder.is_dir():
        raise MediaError(f"cannot write {output}: no such folder: {folder}", "Make it first.")
    if not os.access(folder, os.W_OK):
        raise MediaError(f"cannot write {output}: permission denied", "Choose another folder.")


class PlannedOutput(NamedTuple):
    """A file, or a folder of masks, that is to be written."""

    path: Path
    video: Path | None = None  # that it is an output of; None: the summary of all
    is_masks: bool = False  # a folder, replaced as a whole


def check_conflicts(planned: Sequence[PlannedOutput], inputs: Sequence[Path]) -> None:
    """Make sure that no file is two things, however its names are written.

    Args:
        planned: all that is to be written.
        inputs: all that is read.

    Raises:
        MediaError: if an input would be replaced.
        ConfigError: if two outputs are one file, or one lies in a folder of masks.
    """
    read = {key: path for path in inputs for key in _keys(resolved_path(path))}
    seen: dict[Path, PlannedOutput] = {}
    for one in planned:
        for key in _keys(resolved_path(one.path)):
            if key in read:
                raise _replaced(one, read[key])
        place = _written_to(one.path)
        if place in seen:
            raise _one_place(one, seen[place])
        seen[place] = one
    masks = {place: one for place, one in seen.items() if one.is_masks}
    for other in [*planned, *map(PlannedOutput, inputs)] if masks else ():
        folder = next((masks[up] for up in _written_to(other.path).parents if up in masks), None)
        if folder is not None:
            raise _among_masks(other, folder)


def _written_to(path: Path) -> Path:
    """Return where a file lies, alike for names that are one to the system.

    On a Mac, `Clip` and `clip` are; on Windows they are equal as paths already.
    """
    place = resolved_path(path)
    return Path(str(place).casefold()) if sys.platform == "darwin" else place


def _keys(place: Path) -> list[Path | tuple[int, int]]:
    """Return what all names of a file share: its place, and its number on the disk."""
    try:
        found = place.stat()
    except OSError:
        return [place]
    return [place, (found.st_dev, found.st_ino)]


def _replaced(one: PlannedOutput, read: Path) -> MediaError:
    if read == one.video:
        return MediaError(f"{one.path} is the video itself", "Give another name to the output.")
    what = f"an output of {one.video}" if one.video else "the summary"
    return MediaError(
        f"{one.path} is an input, and {what} would replace it",
        "Give another name or another folder to the output.",
    )


def _one_place(one: PlannedOutput, other: PlannedOutput) -> ConfigError:
    if one.video is None:
        message = f"{one.path} would be both the summary and an output of {other.video}"
        return ConfigError(message, "Give another name to --json-summary.")
    if one.video == other.video:
        message = f"two outputs of {one.video} would be written to {one.path}"
        return ConfigError(message, "Give each of them a name of its own.")
    return ConfigError(
        f"{one.video} and {other.video} would both be written to {one.path}",
        "Name a folder, or put {name} in the name.",
    )


def _among_masks(one: PlannedOutput, masks: PlannedOutput) -> ConfigError:
    if one.video in (None, masks.video):
        return ConfigError(
            f"{one.path} would lie in the folder of the masks, {masks.path}",
            "Give --masks a folder of its own.",
        )
    pattern = masks.path.parent / "{name}"
    return ConfigError(
        f"{one.path}, of {one.video}, would lie among the masks of {masks.video}",
        f"Put {{name}} in the name: --masks '{pattern}-masks'",
    )


def atomic_write(output: Path) -> AbstractContextManager[Path]:
    """As `avsegcli.files.atomic.atomic_write`, of a video, picture or sound file.

    Raises:
        MediaError: if it cannot be written there.
    """
    return atomic.atomic_write(output, MediaError)


def wrap_write_errors(output: Path | None) -> AbstractContextManager[None]:
    """Turn errors of the system and of FFmpeg into a `MediaError` about `output`."""
    return atomic.wrap_write_errors(output, MediaError, (OSError, av.FFmpegError))
