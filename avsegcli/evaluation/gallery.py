"""The worst and the best clips of an evaluation, to look at."""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from avsegcli.datasets.clip import IGNORE, Clip
from avsegcli.render.colors import class_colour

CELL_HEIGHT = 108  # pixels of a small picture
WIDEST_CELL = 192
COLUMNS = 5  # frames of a clip that are shown, evenly spaced
GAP, MARGIN, CAPTION, LEAST_WIDTH = 4, 12, 26, 480
ROWS = ("frame", "truth", "predicted")
ROW_LABEL = 76  # pixels for the names of the rows
_INK, _PAPER, _GREY = (30, 30, 30), 255, (128, 128, 128)


class Example(NamedTuple):
    """One clip, small: its frames, the truth and the prediction."""

    name: str
    j: float  # davis J of the clip: 0 where something is painted on silent frames
    frames: NDArray[np.uint8]  # (C, h, w, 3) RGB
    truth: NDArray[np.uint8]  # (C, h, w), index in the scored classes, 255 unknown
    predicted: NDArray[np.uint8]  # likewise


class BestAndWorst:
    """Keeps the clips with the lowest and the highest J.

    Args:
        count: how many of each.
    """

    def __init__(self, count: int = 3) -> None:
        self.count = count
        self._examples: dict[str, Example] = {}

    def offer(
        self, clip: Clip, j: float, truth: NDArray[np.uint8], predicted: NDArray[np.uint8]
    ) -> None:
        """Show a clip; it is kept if it is among the worst or the best.

        A clip in which rightly nothing is found has nothing to show, and is left out.

        Args:
            clip: the clip.
            j: davis J, mean over its frames.
            truth: indices of the scored classes, 255 unknown, ``(T, H, W)`` at any size.
            predicted: likewise.
        """
        if not np.isin(truth, (0, IGNORE)).all() or predicted.any():
            self._examples[clip.name] = _shrink(clip, j, truth, predicted)
            self._drop()

    def merge(self, other: "BestAndWorst") -> None:
        """Merge the clips of another process."""
        self._examples |= other._examples
        self._drop()

    def worst(self) -> list[Example]:
        """Give the clips with the lowest J, the lowest first."""
        order = self._order()
        return order[: min(self.count, (len(order) + 1) // 2)]

    def best(self) -> list[Example]:
        """Give the clips with the highest J, the highest first; none of them is in `worst`."""
        order = self._order()[::-1]
        return order[: min(self.count, len(order) // 2)]

    def _order(self) -> list[Example]:
        return sorted(self._examples.values(), key=lambda example: (example.j, example.name))

    def _drop(self) -> None:
        for example in self._order()[self.count : -self.count]:
            del self._examples[example.name]


def _shrink(
    clip: Clip, j: float, truth: NDArray[np.uint8], predicted: NDArray[np.uint8]
) -> Example:
    columns = np.unique(np.linspace(0, len(clip.frames) - 1, COLUMNS).round().astype(int))
    height, width = clip.frames.shape[1:3]
    size = (min(WIDEST_CELL, max(1, round(CELL_HEIGHT * width / height))), CELL_HEIGHT)

    def shrink(pictures: NDArray[np.uint8], interpolation: int) -> NDArray[np.uint8]:
        small = [cv2.resize(pictures[t], size, interpolation=interpolation) for t in columns]
        return np.stack(small)

    return Example(
        clip.name,
        j,
        shrink(clip.frames, cv2.INTER_AREA),
        shrink(truth, cv2.INTER_NEAREST),
        shrink(predicted, cv2.INTER_NEAREST),
    )


def draw_example(example: Example) -> NDArray[np.uint8]:
    """Draw a clip as rows of frames, truth and prediction.

    Returns:
        RGB, ``(H, W, 3)``.
    """
    count, height, width = example.truth.shape
    canvas = np.full((3 * (height + GAP), ROW_LABEL + count * (width + GAP), 3), _PAPER, np.uint8)
    for row, name in enumerate(ROWS):
        top = row * (height + GAP)
        _write(canvas, name, (0, top + height // 2 + 4))
        for column, frame in enumerate(example.frames):
            cell = frame
            if row:
                labels = (example.truth, example.predicted)[row - 1][column]
                cell = paint(frame, labels)
            left = ROW_LABEL + column * (width + GAP)
            canvas[top : top + height, left : left + width] = cell
    return canvas


def caption(example: Example, classes: tuple[str, ...]) -> str:
    """Describe a clip: its name, ground truth and predicted classes."""
    named = [*classes[1:], "another class"]

    def names(labels: NDArray[np.uint8]) -> str:
        found = [named[index - 1] for index in np.unique(labels) if index not in (0, IGNORE)]
        return ", ".join(found) or "nothing"

    said = f"truth: {names(example.truth)}; predicted: {names(example.predicted)}"
    return f"{example.name}   J {example.j:.3f}   {said}"


def draw_examples(gallery: BestAndWorst, classes: tuple[str, ...]) -> NDArray[np.uint8]:
    """Draw the worst and the best clips below each other, with captions.

    Args:
        gallery: the selected clips.
        classes: the scored ones, background first.

    Returns:
        RGB, ``(H, W, 3)``.
    """
    pieces: list[tuple[str, NDArray[np.uint8] | None]] = []
    for title, examples in (("worst", gallery.worst()), ("best", gallery.best())):
        pieces += [(f"{title} clips by davis J", None)] if examples else []
        pieces += [(caption(example, classes), draw_example(example)) for example in examples]
    if not pieces:
        pieces = [("in every clip rightly nothing is found", None)]
    strips = [strip for _, strip in pieces if strip is not None]
    width = max((strip.shape[1] for strip in strips), default=LEAST_WIDTH) + 2 * MARGIN
    canvases = []
    for text, strip in pieces:
        height = CAPTION + (MARGIN if strip is None else strip.shape[0] + MARGIN)
        canvas = np.full((height, width, 3), _PAPER, np.uint8)
        _write(canvas, text, (MARGIN, CAPTION - 8), larger=strip is None)
        if strip is not None:
            canvas[CAPTION : CAPTION + strip.shape[0], MARGIN : MARGIN + strip.shape[1]] = strip
        canvases.append(canvas)
    return np.concatenate(canvases)


def paint(frame: NDArray[np.uint8], labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Overlay class indices ``(H, W)`` on a frame ``(H, W, 3)``; ignored pixels are grey."""
    painted = frame.astype(np.float32)
    for index in np.unique(labels):
        if index == 0:
            continue
        mask = labels == index
        colour = np.array(_GREY if index == IGNORE else class_colour(int(index)), np.float32)
        painted[mask] = 0.4 * painted[mask] + 0.6 * colour
        edge = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3)))
        painted[(edge > 0) & mask] = colour
    return painted.astype(np.uint8)


def _write(
    canvas: NDArray[np.uint8], text: str, corner: tuple[int, int], *, larger: bool = False
) -> None:
    """Write a line whose lower left corner is at x, y."""
    scale = 0.6 if larger else 0.42
    plain = text.encode("ascii", "replace").decode()
    cv2.putText(canvas, plain, corner, cv2.FONT_HERSHEY_SIMPLEX, scale, _INK, 1, cv2.LINE_AA)
