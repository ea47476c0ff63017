"""Open a data set on disk, by name or whichever of the known layouts it has."""

import os
from collections.abc import Sequence
from pathlib import Path

from avsegcli.datasets.avsbench import AvsBench
from avsegcli.datasets.avsbench_files import HANDED_OUT, LAYOUTS, find_subset, find_subsets
from avsegcli.datasets.clip import ClipDataset
from avsegcli.datasets.io import BACKGROUND
from avsegcli.datasets.joint import JointDataset
from avsegcli.datasets.video_folder import VideoFolder
from avsegcli.errors import ConfigError, DataError
from avsegcli.plugins import DATASETS, load_plugin, plugin_names

ROOT_VARIABLE = "AVSEG_DATA"  # environment variable: AVSBench's root


def open_joint(
    dataset: str, split: str, data_root: Path | None = None, repeats: Sequence[int] = ()
) -> JointDataset:
    """Open subsets of AVSBench whose names are joined by +, as one data set.

    Args:
        dataset: as "s4+ms3".
        split: which clips.
        data_root: AVSBench's root; without it that of the environment variable AVSEG_DATA.
        repeats: how many times each comes; none: each once.

    Raises:
        ConfigError: if the root is not said, or there is not one number for each subset.
        DataError: if there are no such data, or the classes of the subsets differ.
    """
    root = find_root(dataset, data_root)
    subsets = find_subsets(dataset)
    parts: dict[str, ClipDataset] = {
        subset: AvsBench(root, split, subset=subset) for subset in subsets
    }
    return JointDataset(parts, repeats)


def open_dataset(dataset: str, split: str = "test", data_root: Path | None = None) -> ClipDataset:
    """Open a data set by its name, or a folder of clips.

    One of your own is an entry point of the group ``avseg.datasets``: what is called with a split
    and `data_root` and returns a `ClipDataset`.

    Args:
        dataset: "s4", "ms3", "avss", a name that an installed package brings, or a folder, see
            `open_clips`; a folder that is called like one of these is written ./avss.
        split: which clips.
        data_root: AVSBench's root, or the subset's own folder; without it that of the
            environment variable AVSEG_DATA. A folder does not need it.

    Raises:
        ConfigError: if a subset is asked for and its root is not said, or several at once.
        DataError: if there are no such data.
    """
    subset = find_subset(dataset)
    if len(find_subsets(dataset)) > 1:
        names = dataset.replace("+", " and ")
        raise ConfigError(f"{dataset} can be trained on, not scored", f"score {names} separately")
    if subset is None and dataset in plugin_names(DATASETS):
        clips: ClipDataset = load_plugin(DATASETS, dataset)(split, data_root)
        if not len(clips) or clips.classes[0] != BACKGROUND:
            raise DataError(f"the data set '{dataset}' has no clips, or no background first")
        return clips
    if subset is None:
        return open_clips(Path(dataset), split)
    return AvsBench(find_root(dataset, data_root), split, subset=subset)


def is_named(dataset: str) -> bool:
    """Whether a word names a data set; else it is a folder."""
    return bool(find_subsets(dataset)) or dataset in plugin_names(DATASETS)


def find_root(dataset: str, data_root: Path | None = None) -> Path:
    """Find AVSBench's root: the one that is given, else that of AVSEG_DATA.

    Raises:
        ConfigError: if neither is said.
        DataError: if there is no such folder.
    """
    root = name_root(data_root, f"'{dataset}' needs AVSBench")
    if not root.is_dir():
        raise DataError(f"{root} is no folder", HANDED_OUT)
    return root


def name_root(data_root: Path | None = None, reason: str = "AVSBench's place is not known") -> Path:
    """Name AVSBench's root, whether it is there or not.

    Raises:
        ConfigError: if neither `data_root` nor AVSEG_DATA says it; begins with the reason.
    """
    named = os.environ.get(ROOT_VARIABLE)
    root = Path(named) if data_root is None and named else data_root
    if root is None:
        raise ConfigError(f"{reason}: say where with --data-root or {ROOT_VARIABLE}", HANDED_OUT)
    return root


def open_clips(root: Path, split: str = "test") -> AvsBench | VideoFolder:
    """Open a folder of clips.

    Args:
        root: an output of `avseg compose`, a subset of AVSBench, or videos with masks.
        split: which clips; videos with masks have no splits.

    Raises:
        DataError: if there is no such folder, its layout is none of these, or it has no clips.
    """
    if not root.is_dir():
        names = ", ".join(LAYOUTS)
        raise DataError(f"{root} is no folder, and no subset of AVSBench ({names})", HANDED_OUT)
    for subset, layout in LAYOUTS.items():
        if (root / layout.table).is_file():
            return AvsBench(root, split, subset=subset)
    if (root / "masks").is_dir():
        return VideoFolder(root)
    for subset, layout in LAYOUTS.items():
        if (root / layout.folder / layout.table).is_file():
            raise DataError(
                f"{root} holds subsets of AVSBench",
                f"name one: --dataset {subset} --data-root {root}",
            )
    tables = ", ".join(layout.table for layout in LAYOUTS.values())
    raise DataError(
        f"{root} is neither a data set of clips ({tables}) nor videos with masks (masks/)",
        "'avseg compose' and 'avseg data fake' write such data sets.",
    )
