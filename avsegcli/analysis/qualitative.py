"""Qualitative examples: frame, ground truth and the masks of each model; Figure 5 of the paper."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from avsegcli.datasets.clip import IGNORE, Clip, ClipDataset
from avsegcli.datasets.transforms import clip_log_mel
from avsegcli.errors import DataError
from avsegcli.evaluation.class_mapping import match_classes
from avsegcli.evaluation.gallery import paint
from avsegcli.evaluation.prediction import ClipPredictor, predict_clip
from avsegcli.render.colors import Colour, class_colour

OTHER = "another class"  # one that model and data do not share


@dataclass(frozen=True)
class PanelRow:
    """One frame of a clip, as it is, as it should be painted, and as each model paints it."""

    name: str  # of the clip
    second: int
    pictures: dict[str, NDArray[np.uint8]]  # column to ``(H, W, 3)`` RGB; "frame", "truth", models
    classes: dict[str, Colour]  # painted in any of them, and their colours


def draw_panel_rows(
    models: Mapping[str, ClipPredictor],
    dataset: ClipDataset,
    *,
    clips: Sequence[str] | None = None,
    number: int = 4,
) -> list[PanelRow]:
    """Paint one frame of some clips by each model.

    Args:
        models: by the name of their column.
        dataset: the clips.
        clips: names of those to show; None: those in which most is to be told apart, of
            which first come those with the most classes that sound.
        number: how many, if `clips` is None.

    Raises:
        DataError: if there is no clip of a name, or none with anything that sounds.
    """
    rows, names = [], dataset.classes
    for index in _chosen(dataset, clips, number):
        clip = dataset[index]
        second = _telling_second(clip)
        frame = clip.frames[second]
        truth = clip.labels[second]
        pictures = {"frame": frame, "truth": paint(frame, truth)}
        painted = _colours(truth, names)
        for name, model in models.items():
            log_mel = clip_log_mel(clip.waveform, len(clip.frames))
            prediction = predict_clip(model, clip.frames, log_mel, size=frame.shape[:2])
            labels = _as_in_data(model.classes, names)[prediction.labels[second]]
            pictures[name] = paint(frame, labels)
            painted |= _colours(labels, names)
        rows.append(PanelRow(clip.name, second, pictures, painted))
    return rows


def _as_in_data(model: tuple[str, ...], data: tuple[str, ...]) -> NDArray[np.uint8]:
    """Give each class index of a model the data's index, ``(256,)``; above all: another class."""
    shared = match_classes(model, data)
    back = np.full(256, len(data), np.uint8)
    for index in range(len(shared.names)):
        back[index] = np.flatnonzero(shared.of_data == index)[0]
    return back[shared.of_model]


def _colours(labels: NDArray[np.uint8], names: tuple[str, ...]) -> dict[str, Colour]:
    """Name the classes of some labels, with their colours."""
    named = [*names, OTHER]
    indices = np.unique(labels[(labels > 0) & (labels < IGNORE)]).tolist()
    return {named[index]: class_colour(index) for index in indices}


def _telling_second(clip: Clip) -> int:
    """Choose the second with most classes, of those the one in which most is painted."""
    sounding = (clip.labels > 0) & (clip.labels < IGNORE)
    numbers = [len(np.unique(labels[of])) for labels, of in zip(clip.labels, sounding, strict=True)]
    return int(np.lexsort((sounding.sum(axis=(1, 2)), numbers))[-1])


def _chosen(dataset: ClipDataset, names: Sequence[str] | None, number: int) -> list[int]:
    """Choose clips by their places in the data set, which may be larger than memory."""
    places: dict[str, int] = {}
    classes: list[int] = []  # of each clip: how many sound
    for index in range(len(dataset)):
        clip = dataset[index]
        sounding = (clip.labels > 0) & (clip.labels < IGNORE)
        classes.append(len(np.unique(clip.labels[sounding])))
        places[clip.name] = index
        if names is not None and set(names) <= places.keys():
            break
    if names is None:
        most = sorted(range(len(classes)), key=lambda index: -classes[index])[:number]
        if not classes or classes[most[0]] == 0:
            raise DataError("in no clip anything visible sounds", "choose other clips")
        return [index for index in most if classes[index]]
    missing = [name for name in names if name not in places]
    if missing:
        some = ", ".join(list(places)[:3])
        raise DataError(f"there is no clip '{missing[0]}'", f"The first are called {some}.")
    return [places[name] for name in names]
