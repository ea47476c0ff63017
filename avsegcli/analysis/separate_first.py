"""Row 2 of the paper's Table 2: separate the sound first, segment for each track, merge."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from avsegcli.audio.nmf import separate
from avsegcli.evaluation.prediction import ClipPredictor


class SeparateFirst:
    """Asks a predictor once for each separated track.

    A sound is separated once, which takes longer than to segment: its tracks are kept.

    Args:
        predictor: the model to evaluate.
        num_tracks: tracks that the sound of a clip is separated into.
    """

    def __init__(self, predictor: ClipPredictor, num_tracks: int) -> None:
        self.classes = predictor.classes
        self.num_frames = predictor.num_frames
        self._predictor, self._num_tracks = predictor, num_tracks
        self._tracks: dict[bytes, NDArray[np.float32]] = {}  # by the sound

    def predict(
        self, frames: Sequence[NDArray[np.uint8]], log_mel: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Take the largest probability that any track gives, ``(T, L + 1, h, w)``."""
        sound = log_mel.tobytes()
        if sound not in self._tracks:
            self._tracks[sound] = separate(log_mel, self._num_tracks)
        tracks = self._tracks[sound]
        probs = np.stack([self._predictor.predict(frames, track) for track in tracks]).max(axis=0)
        probs[:, 0] = 1 - probs[:, 1:].max(axis=1)
        return probs
