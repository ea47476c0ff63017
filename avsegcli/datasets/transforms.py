"""Transform a stored clip to the input of a model."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from avsegcli.audio.log_mel import EXAMPLE_S, EXAMPLE_SAMPLES, SAMPLE_RATE, log_mel_example
from avsegcli.datasets.clip import Clip
from avsegcli.datasets.log_mel_file import read_log_mel
from avsegcli.errors import DataError

Convention = Literal["aligned", "avsbench", "stored"]
HOP_S: dict[Convention, float] = {"aligned": 1.0, "avsbench": EXAMPLE_S, "stored": EXAMPLE_S}


def log_mel_of(clip: Clip, convention: Convention = "aligned") -> NDArray[np.float32]:
    """Compute or read one log-mel example for each frame of a clip.

    Args:
        clip: the clip.
        convention: "stored": those of the clip's own file; the others as in `clip_log_mel`.

    Returns:
        ``(T, 96, 64)``; where the file has fewer, the last one is repeated.

    Raises:
        DataError: if "stored" is asked for and the clip has no such file, or it is damaged.
    """
    if convention != "stored":
        return clip_log_mel(clip.waveform, len(clip.frames), convention)
    if clip.log_mel_file is None:
        raise DataError(
            f"clip '{clip.name}' has no file of log-mel examples",
            "--convention avsbench makes them of its sound, as AVSBench did.",
        )
    examples = read_log_mel(clip.log_mel_file)
    return examples[np.minimum(np.arange(len(clip.frames)), len(examples) - 1)]


def clip_log_mel(
    waveform: NDArray[np.float32], num_frames: int, convention: Convention = "aligned"
) -> NDArray[np.float32]:
    """Compute one log-mel example for each frame of a clip.

    Args:
        waveform: mono at 16 kHz, ``(S,)``, in [-1, 1].
        num_frames: frames of the clip, one second apart.
        convention: "aligned": example t begins at second t, so sound and picture stay together.
            "avsbench": example t begins at t * 0.96 s, as VGGish cuts a sound; AVSBench's own
            files are made so, and by the tenth frame the sound is 0.36 s ahead. "stored": as
            "avsbench", for a sound that no file goes with.

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
    needed = EXAMPLE_SAMPLES if convention != "aligned" else EXAMPLE_SAMPLES // 2
    available = max(1, 1 + (len(waveform) - needed) // hop)
    examples = [log_mel_example(waveform, t * hop) for t in range(min(available, num_frames))]
    return np.stack(examples + examples[-1:] * (num_frames - len(examples)))
