"""Results of a video, for each frame and in total."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from avsegcli.inference.masks import Masks
from avsegcli.outputs.timeline import Event


@dataclass(frozen=True)
class FrameResult:
    """One frame of a video and what sounds where in it."""

    index: int  # number of the frame, from 0 on
    time: float  # seconds from the start of the file
    end: float  # seconds; when the next frame is shown
    analysed: bool  # the network has seen this very frame; else between two that it has
    probs: NDArray[np.float32]  # (L + 1, h, w) of the classes, without flicker; 0: background
    frame: Any  # av.VideoFrame, yuv420p, upright, full size; copy it before drawing on it
    masks: Masks

    @cached_property
    def labels(self) -> NDArray[np.uint8]:
        """The class of every pixel, ``(H, W)``; 0 is the background."""
        return self.masks.labels()

    @cached_property
    def rgb(self) -> NDArray[np.uint8]:
        """The picture, ``(H, W, 3)``."""
        array: NDArray[np.uint8] = self.frame.to_ndarray(format="rgb24")
        return array


class Summary(NamedTuple):
    """Result of `Segmenter.segment_file`."""

    outputs: list[Path]
    frames: int
    seconds: float  # end of the last frame
    events: list[Event]  # which class sounds when
    problems: list[str]  # what was wrong with the input, a line each
