"""Class probabilities of a predictor to the prediction of one clip."""

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from avsegcli.inference.postprocess import above_threshold

Size = Literal["protocol", "native"]
PROTOCOL_SIZE = (224, 224)  # rows, columns: the size at which AVSBench is scored
LONGEST_WINDOW = 10  # frames: AVSBench's longest clips; what is longer is predicted in windows


class ClipPredictor(Protocol):
    """A system to score: `torch_predictor.Predictor`, or any other with this interface."""

    classes: tuple[str, ...]  # background first
    num_frames: int  # frames that it likes to see at once

    def predict(
        self, frames: Sequence[NDArray[np.uint8]], log_mel: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Predict the probability of each class that it sounds.

        Args:
            frames: T pictures ``(H, W, 3)`` RGB of one size.
            log_mel: one example for each frame, ``(T, 96, 64)``.

        Returns:
            ``(T, L + 1, h, w)`` in [0, 1], over the whole frame at any resolution; channel 0,
            the background, is not used.
        """


class ClipPrediction(NamedTuple):
    """Prediction for a clip, at the size of the ground truth."""

    probs: NDArray[np.float32]  # (T, H, W) in [0, 1], probability of the likeliest class
    labels: NDArray[np.uint8]  # (T, H, W), that class; 0 where it is not above the threshold


def predict_clip(
    predictor: ClipPredictor,
    frames: NDArray[np.uint8],
    log_mel: NDArray[np.float32],
    *,
    size: tuple[int, int],
) -> ClipPrediction:
    """Predict a clip and bring the result to the size at which it is scored.

    Args:
        predictor: the model to evaluate.
        frames: ``(T, H, W, 3)`` RGB.
        log_mel: ``(T, 96, 64)``.
        size: rows and columns of the result; probabilities are interpolated bilinearly.
    """
    window = predictor.num_frames if len(frames) > LONGEST_WINDOW else len(frames)
    probs = np.empty((len(frames), *size), np.float32)
    labels = np.empty((len(frames), *size), np.uint8)
    for start in range(0, len(frames), window):
        piece = slice(start, start + window)
        for t, class_probs in enumerate(
            predictor.predict(list(frames[piece]), log_mel[piece]), start
        ):
            probs[t], labels[t] = _likeliest(class_probs, size)
    labels[~above_threshold(probs)] = 0
    return ClipPrediction(probs, labels)


def _likeliest(
    class_probs: NDArray[np.float32], size: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Find the likeliest class of each pixel, ``(L + 1, h, w)`` to twice ``(H, W)``.

    Class by class, since a frame at native size has millions of pixels and dozens of classes.
    """
    best, labels = np.zeros(size, np.float32), np.zeros(size, np.uint8)
    for index, small in enumerate(class_probs[1:], start=1):
        probs = cv2.resize(small, size[::-1], interpolation=cv2.INTER_LINEAR)
        better = probs > best
        labels[better] = index
        np.maximum(best, probs, out=best)
    return best, labels
