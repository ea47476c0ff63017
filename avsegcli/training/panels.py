"""Pictures of what a model sees, should see and finds, to watch it learn."""

import cv2
import numpy as np
from numpy.typing import NDArray

from avsegcli.datasets.clip import IGNORE, ClipDataset
from avsegcli.datasets.transforms import clip_log_mel
from avsegcli.evaluation.gallery import paint
from avsegcli.evaluation.prediction import ClipPredictor, predict_clip

NUM_CLIPS = 4
HEIGHT = 160  # of each picture, pixels
GAP = 4


def draw_panel(
    predictor: ClipPredictor, clips: ClipDataset, num_clips: int = NUM_CLIPS
) -> NDArray[np.uint8]:
    """Draw a row for each clip: the frame, the truth and the prediction.

    The clips are spread over the data set, always the same ones; of each, the first annotated
    frame with an object is taken, if there is one. The predictor's classes must be those of the
    clips.

    Returns:
        RGB, ``(H, W, 3)``.
    """
    chosen = np.unique(np.linspace(0, len(clips) - 1, num_clips).astype(int)).tolist()
    return _stack([_draw_row(predictor, clips, index) for index in chosen])


def _draw_row(predictor: ClipPredictor, clips: ClipDataset, index: int) -> NDArray[np.uint8]:
    clip = clips[index]
    shown = [t for t in np.flatnonzero(clip.annotated) if _has_object(clip.labels[t])]
    t = int(shown[0]) if shown else int(np.argmax(clip.annotated))
    log_mel = clip_log_mel(clip.waveform, len(clip.frames))
    height, width = clip.labels.shape[1:]
    predicted = predict_clip(predictor, clip.frames, log_mel, size=(height, width)).labels[t]
    frame = clip.frames[t]
    pictures = [frame, paint(frame, clip.labels[t]), paint(frame, predicted)]
    size = (max(1, round(width * HEIGHT / height)), HEIGHT)
    resized = [cv2.resize(picture, size, interpolation=cv2.INTER_AREA) for picture in pictures]
    bar = np.full((HEIGHT, GAP, 3), 255, np.uint8)
    row = [piece for picture in resized for piece in (picture, bar)][:-1]
    return np.concatenate(row, axis=1)


def _has_object(labels: NDArray[np.uint8]) -> bool:
    return bool(((labels > 0) & (labels != IGNORE)).any())


def _stack(rows: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Put pictures below each other, left-aligned on white."""
    width = max(row.shape[1] for row in rows)
    canvas = np.full((sum(len(row) + GAP for row in rows) - GAP, width, 3), 255, np.uint8)
    top = 0
    for row in rows:
        canvas[top : top + len(row), : row.shape[1]] = row
        top += len(row) + GAP
    return canvas
