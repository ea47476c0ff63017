"""A labelled clip: frames, sound and ground truth; the item of every data set."""

from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

IGNORE = 255  # a pixel that counts neither in a loss nor in a metric


class Clip(NamedTuple):
    """T frames one second apart, their sound, and what is visible and heard.

    Class indices are places in the data set's `classes`; 0 is the background, `IGNORE` is unknown.
    """

    name: str
    frames: NDArray[np.uint8]  # (T, H, W, 3), RGB; frame t shows second t
    waveform: NDArray[np.float32]  # (S,), mono at 16 kHz in [-1, 1], S about T * 16,000
    labels: NDArray[np.uint8]  # (T, H, W), class of what is visible and sounds in second t
    annotated: NDArray[np.bool_]  # (T,), frames that have a label
    visible: NDArray[np.uint8] | None  # (T, H, W), every visible object, sounding or not
    heard: NDArray[np.bool_] | None  # (T, L + 1), classes heard in second t, off screen too
    log_mel_file: Path | None = None  # examples that the data set carries itself
    imagined: NDArray[np.bool_] | None = (
        None  # (T, L + 1), heard classes that are not in `waveform`
    )


class ClipDataset(Protocol):
    """A sequence of clips with one list of classes, ``classes[0] == "background"``."""

    classes: tuple[str, ...]

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Clip: ...


def clip_names(clips: ClipDataset) -> list[str]:
    """List the names of clips, which a data set may tell as `names` without reading them."""
    names: list[str] | None = getattr(clips, "names", None)
    return [clips[i].name for i in range(len(clips))] if names is None else list(names)
