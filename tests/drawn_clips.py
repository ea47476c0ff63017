"""Clips drawn in memory, and a predictor that reads them."""

import numpy as np

from avsegcli.datasets.clip import Clip

CLASSES = ("background", "cat", "dog")


class Clips(list):
    """Clips in memory."""

    classes = CLASSES


class Sees:
    """Predicts what a picture shows: red is class 1, green class 2, as strong as the colour."""

    classes = CLASSES
    num_frames = 5

    def __init__(self, classes=CLASSES):
        self.classes = classes
        self.windows = []

    def predict(self, frames, log_mel):
        assert log_mel.shape == (len(frames), 96, 64)
        self.windows.append(len(frames))
        probs = np.moveaxis(np.stack(frames)[..., :2] / np.float32(255), -1, 1)
        background = 1 - probs.max(axis=1, keepdims=True)
        return np.concatenate([background, probs], axis=1)


def clip(name, labels, *, shown=None, annotated=None):
    """A silent clip that shows `shown` in colours, `labels` if None."""
    labels = np.asarray(labels, np.uint8)
    shown = labels if shown is None else np.asarray(shown)
    frames = np.zeros((*labels.shape, 3), np.uint8)
    frames[shown == 1, 0] = 255
    frames[shown == 2, 1] = 255
    annotated = np.ones(len(labels), bool) if annotated is None else np.array(annotated)
    waveform = np.zeros(16_000 * len(labels), np.float32)
    return Clip(name, frames, waveform, labels, annotated, None, None)


def squares(*classes, size=(32, 32)):
    """One frame for each class, which fills the upper left quarter."""
    labels = np.zeros((len(classes), *size), np.uint8)
    for t, index in enumerate(classes):
        labels[t, : size[0] // 2, : size[1] // 2] = index
    return labels
