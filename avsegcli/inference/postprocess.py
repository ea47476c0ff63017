"""Probabilities to masks: the threshold that every part of avseg uses. No torch."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

MASK_THRESHOLD = 0.5  # of a class probability


def above_threshold(
    probs: NDArray[np.floating[Any]], threshold: float = MASK_THRESHOLD
) -> NDArray[np.bool_]:
    """Return the mask of an object: True where the probability is above the threshold, strictly.

    Args:
        probs: of any shape, in [0, 1].
        threshold: in (0, 1).

    Example:
        >>> above_threshold(np.array([0.49, 0.5, 0.51])).tolist()
        [False, False, True]
    """
    return np.asarray(probs > threshold)
