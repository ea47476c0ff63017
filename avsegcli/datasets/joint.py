"""Several data sets of the same classes as one, some of them several times."""

from collections.abc import Mapping, Sequence

import numpy as np

from avsegcli.datasets.clip import Clip, ClipDataset
from avsegcli.errors import ConfigError, DataError


class JointDataset:
    """The clips of several data sets, one set after the other, each repeated so many times.

    Args:
        parts: data sets of the same classes, by name.
        repeats: how many times each comes; none: each once.

    Attributes:
        parts: the data sets, by name.
        classes: names by index, background first.
        notes: those of the parts.

    Raises:
        ConfigError: if there is not one number of repeats for each part.
        DataError: if their classes differ.
    """

    def __init__(self, parts: Mapping[str, ClipDataset], repeats: Sequence[int] = ()) -> None:
        self.parts = dict(parts)
        repeats = repeats or [1] * len(parts)
        if len(repeats) != len(parts):
            raise ConfigError(
                f"{len(repeats)} repeats for the {len(parts)} parts of {'+'.join(parts)}",
                "give one for each, as --set data.repeats=[1,7]",
            )
        (first, classes), *others = ((name, part.classes) for name, part in parts.items())
        for name, others_classes in others:
            if others_classes != classes:
                raise DataError(f"{first} and {name} have different classes", "train on one")
        self.classes = classes
        self.notes = [note for part in parts.values() for note in getattr(part, "notes", ())]
        self._clips = [
            (part, index)
            for part, times in zip(self.parts.values(), repeats, strict=True)
            for index in np.tile(np.arange(len(part)), times).tolist()
        ]

    def __len__(self) -> int:
        return len(self._clips)

    def __getitem__(self, index: int) -> Clip:
        """Read one clip; it raises what its own data set does."""
        part, place = self._clips[index]
        return part[place]
