"""Read the files that data sets are made of; what cannot be read is a `DataError` with its path."""

from contextlib import closing
from io import BytesIO
from pathlib import Path

import av
import cv2
import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from avsegcli.audio.log_mel import SAMPLE_RATE
from avsegcli.errors import DataError, MediaError
from avsegcli.media.decode import StreamDecoder, best_stream, open_media
from avsegcli.media.sound import mono


def read_picture(path: Path) -> NDArray[np.uint8]:
    """Read a picture as RGB, ``(H, W, 3)``; a note on its orientation is not followed.

    Raises:
        DataError: if the file is missing or no picture.
    """
    data = np.frombuffer(_read_bytes(path), np.uint8)
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    bgr = cv2.imdecode(data, flags) if data.size else None
    if bgr is None:
        raise DataError(f"{path} is no readable picture")
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def read_indices(path: Path) -> NDArray[np.uint8]:
    """Read a picture of one channel, ``(H, W)``: of a palette the indices, else the grey values.

    OpenCV would turn a palette's indices into its colours; FFmpeg leaves them alone.

    Raises:
        DataError: if the file is missing, no picture, or has colours.
    """
    try:
        with av.open(BytesIO(_read_bytes(path)), "r") as container:
            frame = next(container.decode(video=0))
    except (av.FFmpegError, StopIteration, IndexError) as error:
        raise DataError(f"{path} is no readable picture") from error
    if frame.format.name == "pal8":
        plane = np.frombuffer(bytes(frame.planes[0]), np.uint8).reshape(frame.height, -1)
        return plane[:, : frame.width].copy()
    if frame.format.name not in ("gray", "monob", "monow"):
        raise DataError(f"{path} has colours; a mask has one channel of class indices")
    return np.asarray(frame.to_ndarray(format="gray"), np.uint8)


def read_waveform(path: Path) -> NDArray[np.float32]:
    """Read a sound file as mono at 16 kHz, ``(S,)``.

    Raises:
        DataError: if the file is missing or no sound.
    """
    try:
        samples, sample_rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError) as error:
        raise DataError(f"{path} is no readable sound file") from error
    return to_model_rate(samples.mean(axis=1), sample_rate)


def read_soundtrack(path: Path) -> NDArray[np.float32]:
    """Read the sound of a video, or of any file that FFmpeg reads, as mono at 16 kHz, ``(S,)``.

    Raises:
        MediaError: if the file is missing, cannot be read or has no sound.
    """
    with closing(open_media(path)) as container:
        stream = best_stream(container, "audio")
        if stream is None:
            raise MediaError(f"{path} has no sound")
        rate = stream.rate
        pieces = [mono(frame) for frame in StreamDecoder(container, stream)]
    if not pieces:
        raise MediaError(f"{path} has no sound")
    return to_model_rate(np.concatenate(pieces), rate)


def to_model_rate(samples: NDArray[np.float32], sample_rate: int) -> NDArray[np.float32]:
    """Resample a mono waveform, ``(S,)``, to 16 kHz."""
    if sample_rate == SAMPLE_RATE:
        return samples
    return np.asarray(soxr.resample(samples, sample_rate, SAMPLE_RATE), np.float32)


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} is missing or cannot be read") from error
