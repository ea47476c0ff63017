"""Put a download of AVSBench in place: from a zip file or a folder, file by file, resumable."""

import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from avsegcli.datasets.avsbench_files import HANDED_OUT, LAYOUTS
from avsegcli.errors import DataError
from avsegcli.files.atomic import atomic_write, wrap_write_errors

PIECE = 1 << 20  # bytes that are copied at once


class _File(NamedTuple):
    """One file of the source."""

    path: PurePosixPath  # in the source
    size: int  # bytes
    open: Callable[[], IO[bytes]]


class Imported(NamedTuple):
    """Result of an import."""

    copied: int
    skipped: int  # were there already, of the same size


def import_avsbench(
    source: Path,
    root: Path,
    *,
    on_progress: Callable[[int, int], None] | None = None,
) -> Imported:
    """Copy the subsets that a download holds to where AVSBench's root has them.

    A subset is found by its table, however deep; everything beside and below the table is copied.
    A file appears when it is whole, and the tables come last; files that are there are skipped.

    Args:
        source: a zip file or a folder.
        root: AVSBench's root to be, made if missing.
        on_progress: called with the number of files that are done, and of all.

    Raises:
        DataError: if the source holds no subset or is damaged, or a file cannot be written.
    """
    with _open_source(source) as files:
        todo = _plan(source, files)
        copied = 0
        for done, (place, file) in enumerate(todo, start=1):
            copied += _copy(file, root / place, source)
            if on_progress is not None:
                on_progress(done, len(todo))
    return Imported(copied, len(todo) - copied)


def _plan(source: Path, files: list[_File]) -> list[tuple[Path, _File]]:
    """Choose where in the root each file goes, the tables last."""
    homes = {
        file.path.parent: layout
        for file in files
        for layout in LAYOUTS.values()
        if file.path.name == layout.table
    }
    if not homes:
        tables = ", ".join(layout.table for layout in LAYOUTS.values())
        raise DataError(f"{source} holds no subset of AVSBench ({tables})", HANDED_OUT)
    todo = []
    for file in files:
        home = next((folder for folder in file.path.parents if folder in homes), None)
        if home is None:
            continue
        inner = file.path.relative_to(home)
        if ".." in inner.parts or inner.is_absolute():
            raise DataError(f"{source} holds '{file.path}', which leads out of it")
        todo.append((Path(homes[home].folder, *inner.parts), file))
    last = {layout.table for layout in LAYOUTS.values()}
    return sorted(todo, key=lambda item: (item[0].name in last, item[0]))


@contextmanager
def _open_source(source: Path) -> Iterator[list[_File]]:
    if source.is_dir():
        paths = sorted(path for path in source.rglob("*") if path.is_file())
        yield [_file_on_disk(path, source) for path in paths]
        return
    try:
        archive = zipfile.ZipFile(source)
    except (zipfile.BadZipFile, OSError) as error:
        raise DataError(f"{source} is neither a folder nor a readable zip file") from error
    with archive:
        yield [_file_in_zip(archive, info) for info in archive.infolist() if not info.is_dir()]


def _file_on_disk(path: Path, source: Path) -> _File:
    inner = PurePosixPath(path.relative_to(source).as_posix())
    return _File(inner, path.stat().st_size, lambda: path.open("rb"))


def _file_in_zip(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> _File:
    return _File(PurePosixPath(info.filename), info.file_size, lambda: archive.open(info))


def _copy(file: _File, target: Path, source: Path) -> bool:
    """Copy a file, but not if one of its size is there; tells whether it was copied."""
    with wrap_write_errors(target, DataError):
        if target.is_file() and target.stat().st_size == file.size:
            return False
        target.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(target, DataError) as part, part.open("wb") as copy:
            copy.writelines(_pieces(file, source))
    return True


def _pieces(file: _File, source: Path) -> Iterator[bytes]:
    try:
        with file.open() as stream:
            while piece := stream.read(PIECE):
                yield piece
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError) as error:
        message = f"{source}: '{file.path}' is damaged or cannot be read"
        raise DataError(message, "Get it again.") from error
    except (RuntimeError, NotImplementedError) as error:  # encrypted, or packed otherwise
        message = f"{source}: '{file.path}' cannot be unpacked"
        raise DataError(message, "Unpack it with another program first.") from error
