"""From a clip as it is stored to what a model takes."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from avsegcli.audio.log_mel import EXAMPLE_S, EXAMPLE_SAMPLES, SAMPLE_RATE, log_mel_example

Convention = Literal["aligned", "avsbench"]
HOP_S: dict[Convention, float] = {"aligned": 1.0, "avsbench": EXAMPLE_S}


def clip_log_mel(
    waveform: NDArray[np.float32], num_frames: int, convention: Convention = "aligned"
) -> NDArray[np.float32]:
    """Compute one log-mel example for each frame of a clip.

    Args:
        waveform: mono at 16 kHz, ``(S,)``, in [-1, 1].
        num_frames: frames of the clip, one second apart.
        convention: "aligned": example t begins at second t, so sound and picture stay together.
            "avsbench": example t begins at t * 0.96 s, as VGGish cuts a sound; AVSBench's own
            files are made so, and by the tenth frame the sound is 0.36 s ahead.

    Returns:
        ``(num_frames, 96, 64)``. Where the waveform has fewer examples than the clip has frames
        the last one is repeated. An example counts as had if all of it lies in the waveform
        ("avsbench", as VGGish) or at least half of it ("aligned": the rest is silence, so that a
        sound track that ends a little early does not lose its last second).

    Example:
        >>> clip_log_mel(np.zeros(5 * 16_000, np.float32), 5).shape
        (5, 96, 64)
    """
    hop = round(HOP_S[convention] * SAMPLE_RATE)
    needed = EXAMPLE_SAMPLES if convention == "avsbench" else EXAMPLE_SAMPLES // 2
    available = max(1, 1 + (len(waveform) - needed) // hop)
    examples = [log_mel_example(waveform, t * hop) for t in range(min(available, num_frames))]
    return np.stack(examples + examples[-1:] * (num_frames - len(examples)))
