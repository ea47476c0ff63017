"""Score a model with one list of classes on data with another."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avsegcli.datasets.clip import IGNORE

BINARY = ("background", "object")
PERSON = "person"
PEOPLE = frozenset({"man", "woman", "boy", "girl", "baby"})  # AVSBench's names for a person


@dataclass(frozen=True)
class ClassMap:
    """The classes that are scored, those of the data, and where each list's indices go.

    A class of the model only goes to the index ``len(names)``, "some other class": not scored
    itself, but wrong where it meets a class that is.
    """

    names: tuple[str, ...]  # scored classes, background first
    of_model: NDArray[np.uint8]  # (256,), the model's index to the scored one
    of_data: NDArray[np.uint8]  # (256,), the data's index to the scored one; 255 stays 255
    unknown: tuple[str, ...]  # scored classes that the model does not know: it misses them

    @property
    def known(self) -> tuple[str, ...]:
        """The scored classes that the model knows, background first."""
        return tuple(name for name in self.names if name not in self.unknown)


def match_classes(model: tuple[str, ...], data: tuple[str, ...]) -> ClassMap:
    """Find the classes by which a model can be scored on a data set.

    It is scored on all classes of the data, also on those that it does not know. Where one list
    says "person" and the other man, woman, boy, girl or baby, all are "person". Where no name is
    shared, as when one of the lists is binary, every class is "object".

    Args:
        model: classes of the model, background first.
        data: classes of the data set, background first.

    Example:
        >>> shared = match_classes(
        ...     model=("background", "dog", "person"), data=("background", "man", "owl", "dog"))
        >>> shared.names, shared.unknown
        (('background', 'person', 'owl', 'dog'), ('owl',))
        >>> shared.of_data[[0, 1, 2, 3, 255]].tolist(), shared.of_model[:3].tolist()
        ([0, 1, 2, 3, 255], [0, 3, 1])
    """
    if (PERSON in model) != (PERSON in data):
        model, data = fold_people(model), fold_people(data)
    names = tuple(dict.fromkeys(data))
    unknown = tuple(name for name in names if name not in model)
    if len(names) - len(unknown) < 2:
        anything = np.ones(256, np.uint8)
        anything[0], anything[IGNORE] = 0, IGNORE
        return ClassMap(BINARY, anything, anything, ())
    return ClassMap(names, _table(model, names), _table(data, names), unknown)


def fold_people(classes: tuple[str, ...]) -> tuple[str, ...]:
    """Call every kind of person "person"; places in the list stay."""
    return tuple(PERSON if name in PEOPLE else name for name in classes)


def _table(classes: tuple[str, ...], names: tuple[str, ...]) -> NDArray[np.uint8]:
    table = np.full(256, len(names), np.uint8)
    for index, name in enumerate(classes):
        if name in names:
            table[index] = names.index(name)
    table[IGNORE] = IGNORE
    return table
