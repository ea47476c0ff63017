"""Split a mixture into tracks before anything is recognised: row 2 of the paper's Table 2.

Non-negative matrix factorization writes the mel spectrogram as a sum of N spectra, each with its
own loudness over time; each becomes a track by masking the mixture with its share. As much as is
lost by never going back to a waveform is lost in every track alike: the network sees log-mel only.
"""

import warnings

import numpy as np
from numpy.typing import NDArray

from avsegcli.audio.log_mel import LOG_OFFSET
from avsegcli.errors import AvsegError, install_hint

ITERATIONS = 300
TINY = 1e-6  # mel energy below which there is nothing to separate


def separate(log_mel: NDArray[np.float32], num_tracks: int) -> NDArray[np.float32]:
    """Separate the sound of a clip.

    Args:
        log_mel: the examples of the mixture, ``(T, 96, 64)``.
        num_tracks: N.

    Returns:
        The examples of each track, ``(N, T, 96, 64)``; of silence, N times silence.

    Raises:
        AvsegError: if scikit-learn is not installed.
    """
    mel = np.maximum(np.exp(log_mel) - LOG_OFFSET, 0).reshape(-1, log_mel.shape[-1])
    if mel.max() < TINY:
        return np.repeat(log_mel[None], num_tracks, axis=0)
    spectra, loudness = _factorise(mel, num_tracks)  # (N, 64), (T * 96, N)
    parts = loudness.T[:, :, None] * spectra[:, None]  # (N, T * 96, 64)
    share = parts / np.maximum(parts.sum(axis=0), TINY)
    tracks = np.log(share * mel + LOG_OFFSET).astype(np.float32)
    return tracks.reshape(num_tracks, *log_mel.shape)


def require_separation() -> None:
    """Raise an `AvsegError` if sounds cannot be separated here."""
    try:
        import sklearn.decomposition  # noqa: F401
    except ImportError as error:
        raise AvsegError("separation needs scikit-learn", install_hint("figures")) from error


def _factorise(
    mel: NDArray[np.float32], num_tracks: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    require_separation()
    from sklearn.decomposition import NMF
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # nearly converged does
        model = NMF(num_tracks, init="nndsvda", max_iter=ITERATIONS, random_state=0)
        loudness = model.fit_transform(mel)
    return model.components_, loudness
