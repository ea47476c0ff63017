"""Pictures of frames, ground truth and predictions, to follow a training run."""

import cv2
import numpy as np
from numpy.typing import NDArray

from avsegcli.datasets.clip import IGNORE, ClipDataset
from avsegcli.datasets.transforms import Convention, log_mel_of
from avsegcli.evaluation.gallery import ROW_LABEL, Example, draw_example
from avsegcli.evaluation.prediction import ClipPredictor, predict_clip
from avsegcli.inference.preprocess import resize_labels

NUM_CLIPS = 4
HEIGHT = 160  # of each picture, pixels


def draw_panel(
    predictor: ClipPredictor,
    clips: ClipDataset,
    num_clips: int = NUM_CLIPS,
    convention: Convention = "aligned",
) -> NDArray[np.uint8]:
    """Draw a column for each clip: the frame, the truth and the prediction.

    The clips are spread over the data set, always the same ones; of each, the first annotated
    frame with an object is taken, if there is one. The predictor's classes must be those of the
    clips.

    Returns:
        RGB, ``(H, W, 3)``.
    """
    chosen = np.unique(np.linspace(0, len(clips) - 1, num_clips).astype(int)).tolist()
    strips = [draw_example(_show(predictor, clips, index, convention)) for index in chosen]
    # The names of the rows are the same for all.
    return np.concatenate([strips[0], *(strip[:, ROW_LABEL:] for strip in strips[1:])], axis=1)


def _show(
    predictor: ClipPredictor, clips: ClipDataset, index: int, convention: Convention
) -> Example:
    clip = clips[index]
    shown = [t for t in np.flatnonzero(clip.annotated) if _has_object(clip.labels[t])]
    t = int(shown[0]) if shown else int(np.argmax(clip.annotated))
    log_mel = log_mel_of(clip, convention)
    height, width = clip.labels.shape[1:]
    size = (max(1, round(width * HEIGHT / height)), HEIGHT)
    predicted = predict_clip(predictor, clip.frames, log_mel, size=size[::-1]).labels
    frame = cv2.resize(clip.frames[t], size, interpolation=cv2.INTER_AREA)
    truth = resize_labels(clip.labels[t], size[::-1])
    return Example(clip.name, 0.0, frame[None], truth[None], predicted[t][None])


def _has_object(labels: NDArray[np.uint8]) -> bool:
    return bool(((labels > 0) & (labels != IGNORE)).any())
