"""Expand command-line arguments (files, folders, patterns, lists) to input files."""

import os
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from glob import glob, has_magic
from pathlib import Path
from typing import NamedTuple

from avsegcli.errors import ConfigError, MediaError
from avsegcli.files.atomic import resolved_path
from avsegcli.files.text import as_utf8

VIDEO_SUFFIXES = frozenset(
    {".3g2", ".3gp", ".asf", ".avi", ".f4v", ".flv", ".gif", ".m2ts", ".m2v", ".m4v", ".mkv"}
    | {".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".ogg", ".ogv", ".qt", ".ts", ".vob"}
    | {".webm", ".wmv"}
)
PICTURE_SUFFIXES = frozenset(
    {".avif", ".bmp", ".heic", ".heif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
)
_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)  # one letter is a drive of Windows
_HEAD = 4096  # bytes that tell a list of names from a video
# Names may hold any byte but zero, which ends one; no video begins without the others or two zeros.
_BINARY = re.compile(rb"[\x01-\x08\x0e-\x1f]|\0\0")


class Input(NamedTuple):
    """One file to work on."""

    path: Path
    name: Path  # with its sub-folders, without suffix: what its outputs are called


class _Found(NamedTuple):
    path: Path
    root: Path  # folder that it was looked for in


def find_inputs(
    words: Sequence[str], *, pictures: bool = False, outside: Sequence[Path] = ()
) -> list[Input]:
    """Find the files that are meant.

    A word is a file, a folder (videos in it and its sub-folders, known by their suffix; hidden
    ones are left out), a pattern such as `clips/**/*.mp4`, or `-`: names on standard input, one
    a line or with a zero byte after each. Names of outputs keep the sub-folders below the folder
    that all words share, or where they share none but the root, as many as tell them apart; where
    two would be called alike, they keep their suffix too.

    Args:
        words: as they are on the command line.
        pictures: of folders take pictures too.
        outside: folders of outputs, in which no input is looked for.

    Returns:
        Each file once, in the order of the words, those of a folder sorted by name.

    Raises:
        MediaError: if a folder or pattern has no video, or nothing is named at all.
    """
    suffixes = _suffixes(pictures)
    found: dict[str, _Found] = {}
    for word in words:
        for one in _files_of(word, suffixes, [resolved_path(folder) for folder in outside]):
            found.setdefault(os.path.realpath(one.path), one)
    if not found:
        raise MediaError("no input is named on standard input", "Write one file name a line.")
    below = _names_below(list(found.values()))
    stems = [path.with_suffix("") for path in below]
    times = Counter(stems)
    return [
        Input(one.path, path if times[stem] > 1 else stem)
        for one, path, stem in zip(found.values(), below, stems, strict=True)
    ]


def _names_below(found: list[_Found]) -> list[Path]:
    """Name files below the folder that their words share, or shortly if that is only the root."""
    places = [Path(os.path.abspath(one.path)) for one in found]  # noqa: PTH100
    roots = [Path(os.path.abspath(one.root)) for one in found]  # noqa: PTH100
    with suppress(ValueError):  # on several drives of Windows
        base = Path(os.path.commonpath(roots))
        if base != Path(base.anchor) or len({*roots}) == 1:
            return [place.relative_to(base) for place in places]
    for above in range(max(len(root.parts) for root in roots)):
        folders = [Path(*root.parts[: max(1, len(root.parts) - above)]) for root in roots]
        names = [place.relative_to(top) for place, top in zip(places, folders, strict=True)]
        if len({*names}) == len(names):
            break
    return names


def check_apart(
    outputs: Iterable[Path],
    words: Sequence[str],
    *,
    pictures: bool = False,
    outside: Sequence[Path] = (),
) -> None:
    """Make sure that the next run does not take outputs for inputs; see `find_inputs`.

    Raises:
        ConfigError: if one would be found in a folder.
    """
    suffixes = _suffixes(pictures)
    roots = {resolved_path(Path(word)): Path(word) for word in words if is_folder(word)}
    left_out = {resolved_path(folder) for folder in outside} - roots.keys()
    for path in outputs if roots else ():
        if path.suffix.lower() not in suffixes:
            continue
        up = resolved_path(path)
        while not up.name.startswith(".") and up not in left_out and up != up.parent:
            up = up.parent
            if up in roots:
                raise ConfigError(
                    f"the next run would take {path} for an input, as it looks in all of "
                    f"{roots[up]}",
                    f"Put the outputs into a folder of their own: {roots[up] / 'painted'}/",
                )


def _suffixes(pictures: bool) -> frozenset[str]:
    return VIDEO_SUFFIXES | PICTURE_SUFFIXES if pictures else VIDEO_SUFFIXES


def is_folder(path: str | Path) -> bool:
    """Tell whether a folder is known to be there; `Path.is_dir` may raise errors of the system."""
    return os.path.isdir(path)  # noqa: PTH112


def are_several(words: Sequence[str]) -> bool:
    """Tell whether words may stand for more than one file, whatever they find."""
    return len(words) != 1 or any(
        word == "-" or is_folder(word) or (has_magic(word) and not Path(word).exists())
        for word in words
    )


def _files_of(word: str, suffixes: frozenset[str], outside: list[Path]) -> Iterator[_Found]:
    path = Path(word)
    _refuse_url(word)
    if word == "-":
        for line in _lines_of_stdin():
            _refuse_url(line)
            if is_folder(line):
                raise MediaError(f"{line} is a folder", "Name files on standard input.")
            yield _Found(Path(line), Path(line).parent)
    elif is_folder(path):
        yield from _files_below(path, suffixes, outside)
    elif has_magic(word) and not path.exists():
        fixed = []
        for part in path.parent.parts:
            if has_magic(part):
                break
            fixed.append(part)
        files = sorted(Path(name) for name in glob(word, recursive=True))  # noqa: PTH207
        files = [file for file in files if file.is_file()]
        if not files:
            raise MediaError(f"no file matches {word}", "Check the pattern and the folder.")
        yield from (_Found(file, Path(*fixed)) for file in files)
    else:
        yield _Found(path, path.parent)


def _refuse_url(word: str) -> None:
    if _URL.match(word):
        raise MediaError(
            f"{word} is on the network, and only files on this machine are read",
            "Download it first, for example with yt-dlp.",
        )


def _files_below(folder: Path, suffixes: frozenset[str], outside: list[Path]) -> Iterator[_Found]:
    """Find the videos of a folder; folders that are linked come after the others, each once."""
    some = False
    seen = {*outside} - {resolved_path(folder)}
    waiting = [folder]  # that, and links to folders
    while waiting:
        for name, folders, files in os.walk(waiting.pop(0)):
            here = Path(name)
            if resolved_path(here) in seen:
                folders.clear()
                continue
            seen.add(resolved_path(here))
            folders[:] = sorted(sub for sub in folders if not sub.startswith("."))
            waiting += [here / sub for sub in folders if (here / sub).is_symlink()]
            for file in sorted(files):
                if not file.startswith(".") and Path(file).suffix.lower() in suffixes:
                    some = True
                    yield _Found(here / file, folder)
    if not some:
        raise MediaError(f"no video in {folder}", f"Looked for {', '.join(sorted(suffixes))}.")


def _lines_of_stdin() -> list[str]:
    data = as_utf8(sys.stdin.buffer.read()) if sys.stdin else b""
    if _BINARY.search(data[:_HEAD]):
        raise MediaError(
            "standard input holds a video or other data, but - reads a list of file names",
            "Save it as a file and name that.",
        )
    separator = b"\0" if b"\0" in data else b"\n"
    return [os.fsdecode(line.rstrip(b"\r")) for line in data.split(separator) if line.strip()]
