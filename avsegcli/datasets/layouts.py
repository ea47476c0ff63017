"""Open a data set on disk, whichever of the known layouts it has."""

from pathlib import Path

from avsegcli.datasets.avsbench import LAYOUTS, AvsBench
from avsegcli.datasets.videos import VideoFolder
from avsegcli.errors import DataError


def open_clips(root: Path, split: str = "test") -> AvsBench | VideoFolder:
    """Open a folder of clips.

    Args:
        root: what `avseg compose` wrote, a subset of AVSBench, or videos with masks.
        split: which clips; videos with masks have no splits.

    Raises:
        DataError: if there is no such folder, its layout is none of these, or it has no clips.
    """
    if not root.is_dir():
        raise DataError(f"{root} is no folder")
    for subset, layout in LAYOUTS.items():
        if (root / layout.table).is_file():
            return AvsBench(root, split, subset=subset)
    if (root / "masks").is_dir():
        return VideoFolder(root)
    tables = ", ".join(layout.table for layout in LAYOUTS.values())
    raise DataError(
        f"{root} is neither a data set of clips ({tables}) nor videos with masks (masks/)",
        "'avseg compose' writes such a data set.",
    )
