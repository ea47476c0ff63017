"""Check a copy of AVSBench for missing and damaged files."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from avsegcli.audio.log_mel import SAMPLE_RATE
from avsegcli.datasets.avsbench import AvsBench, UnknownColourError
from avsegcli.datasets.avsbench_files import HANDED_OUT, LAYOUTS, PUBLISHED, Subset, read_table
from avsegcli.datasets.log_mel_file import read_log_mel
from avsegcli.device import usable_cpus
from avsegcli.errors import DataError

SHORT_S = 0.1  # by which a sound may be shorter than its frames without being called short


@dataclass(frozen=True)
class SplitCheck:
    """One split of one subset."""

    subset: Subset
    split: str
    published: int | None  # clips that AVSBench has; None: not known
    clips: int  # of the table
    usable: int  # of which every frame and mask can be read
    unknown_colours: int  # clips with a colour that is of no class
    frames: int  # of the usable clips
    sizes: tuple[tuple[int, int], ...]  # width and height of frames, the most frequent first
    silent: int  # usable clips without a sound file: taken as silent
    short: int  # usable clips whose sound is shorter than their frames: its end is repeated
    log_mel: int  # usable clips with a file of log-mel examples; such files are not needed
    problems: tuple[str, ...]  # of clips that are not usable, and of damaged log-mel files


class _ClipCheck(NamedTuple):
    problem: str | None = None
    unknown_colour: bool = False
    frames: int = 0
    size: tuple[int, int] | None = None
    silent: bool = False
    short: bool = False
    log_mel: bool = False


def check_avsbench(
    root: Path,
    subset: Subset | None = None,
    *,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[SplitCheck]:
    """Read every file of AVSBench.

    Args:
        root: AVSBench's root, or the folder of one subset.
        subset: which; None: those that are there.
        on_progress: called with the clips of a split that are done, and of all.

    Raises:
        DataError: if there is no subset, or a table cannot be read.
    """
    return [
        _check_split(clips, name, split, on_progress)
        for name, split, clips in open_splits(root, subset)
    ]


def open_splits(root: Path, subset: Subset | None = None) -> Iterator[tuple[Subset, str, AvsBench]]:
    """Open every split of AVSBench: subset, split and clips.

    Args:
        root: AVSBench's root, or the folder of one subset.
        subset: which; None: those that are there.

    Raises:
        DataError: if there is no subset, or a table cannot be read.
    """
    if not root.is_dir():
        raise DataError(f"{root} is no folder", HANDED_OUT)
    wanted = [subset] if subset else [name for name in LAYOUTS if _is_there(root, name)]
    if not wanted:
        tables = ", ".join(layout.table for layout in LAYOUTS.values())
        raise DataError(f"{root} holds no subset of AVSBench ({tables})", HANDED_OUT)
    for name in wanted:
        layout = LAYOUTS[name]
        folder = layout.find(root)
        rows = read_table(folder / layout.table, layout.columns)
        if not rows:
            raise DataError(f"{folder / layout.table} has no clips", HANDED_OUT)
        for split in dict.fromkeys(row["split"] for row in rows):
            yield name, split, AvsBench(folder, split, subset=name)


def _is_there(root: Path, subset: Subset) -> bool:
    layout = LAYOUTS[subset]
    return any((folder / layout.table).is_file() for folder in (root, root / layout.folder))


def _check_split(
    clips: AvsBench,
    subset: Subset,
    split: str,
    on_progress: Callable[[int, int], None] | None,
) -> SplitCheck:
    found: list[_ClipCheck] = []
    with ThreadPoolExecutor(usable_cpus()) as pool:
        for check in pool.map(lambda index: _check_clip(clips, index), range(len(clips))):
            found.append(check)
            if on_progress is not None:
                on_progress(len(found), len(clips))
    usable = [check for check in found if check.size is not None]
    sizes = [check.size for check in usable if check.size is not None]
    return SplitCheck(
        subset=subset,
        split=split,
        published=PUBLISHED[subset].get(split),
        clips=len(found),
        usable=len(usable),
        unknown_colours=sum(check.unknown_colour for check in found),
        frames=sum(check.frames for check in usable),
        sizes=tuple(sorted(set(sizes), key=lambda size: (-sizes.count(size), size))),
        silent=sum(check.silent for check in usable),
        short=sum(check.short for check in usable),
        log_mel=sum(check.log_mel for check in usable),
        problems=tuple(check.problem for check in found if check.problem is not None),
    )


def _check_clip(clips: AvsBench, index: int) -> _ClipCheck:
    try:
        clip = clips[index]
    except DataError as error:
        return _ClipCheck(error.message, isinstance(error, UnknownColourError))
    count, height, width = clip.frames.shape[:3]
    silent = not clips.has_sound(index)
    problem, log_mel = None, False
    if clip.log_mel_file is not None:
        try:
            read_log_mel(clip.log_mel_file)
            log_mel = True
        except DataError as error:
            problem = error.message
    return _ClipCheck(
        problem=problem,
        frames=count,
        size=(width, height),
        silent=silent,
        short=not silent and len(clip.waveform) < (count - SHORT_S) * SAMPLE_RATE,
        log_mel=log_mel,
    )
