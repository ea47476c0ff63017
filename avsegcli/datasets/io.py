"""Read and write the files that data sets are made of.

What cannot be read or written is a `DataError` with its path.
"""

import json
from collections.abc import Sequence
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import av
import cv2
import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from avsegcli.audio.load import mono
from avsegcli.audio.log_mel import SAMPLE_RATE
from avsegcli.errors import DataError, MediaError
from avsegcli.files.atomic import wrap_write_errors
from avsegcli.video.reader import StreamDecoder, best_stream, open_media

BACKGROUND = "background"
IGNORE_NAME = "ignore"  # may stand beside the classes for index 255; no class


def read_picture(path: Path) -> NDArray[np.uint8]:
    """Read a picture as RGB, ``(H, W, 3)``; a note on its orientation is not followed.

    Raises:
        DataError: if the file is missing or no picture.
    """
    bgr = decode_picture(path, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def decode_picture(path: Path, flags: int) -> NDArray[Any]:
    """Read a picture as OpenCV gives it: BGR, BGRA or grey, as its flags say.

    Raises:
        DataError: if the file is missing or no picture.
    """
    data = np.frombuffer(_read_bytes(path), np.uint8)
    picture = cv2.imdecode(data, flags) if data.size else None
    if picture is None:
        raise DataError(f"{path} is no readable picture", "Replace or remove the file.")
    return picture


def read_indices(path: Path, *, grey_is_colour: bool = False) -> NDArray[np.uint8]:
    """Read a picture without colours, ``(H, W)``: of a palette the indices, else the grey values.

    OpenCV would turn a palette's indices into its colours; FFmpeg leaves them alone.

    Args:
        path: the file.
        grey_is_colour: refuse also what has channels of colours that are all alike.

    Raises:
        DataError: if the file is missing, no picture, or has colours or more than 8 bits.
    """
    try:
        with av.open(BytesIO(_read_bytes(path)), "r") as container:
            frame = next(container.decode(video=0))
    except (av.FFmpegError, StopIteration, IndexError) as error:
        raise DataError(f"{path} is no readable picture") from error
    if frame.format.name == "pal8":
        plane = np.frombuffer(bytes(frame.planes[0]), np.uint8).reshape(frame.height, -1)
        return plane[:, : frame.width].copy()
    if frame.format.components[0].bits > 8:
        raise DataError(f"{path} has more than 8 bits; a mask has class indices from 0 to 255")
    if frame.format.name in ("gray", "monob", "monow"):
        return np.asarray(frame.to_ndarray(format="gray"), np.uint8)
    rgb = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
    if grey_is_colour or (rgb != rgb[..., :1]).any():
        raise DataError(f"{path} has colours; a mask has class indices, alike in all channels")
    return rgb[..., 0].copy()


def read_waveform(path: Path) -> NDArray[np.float32]:
    """Read a sound file as mono at 16 kHz, ``(S,)``.

    Raises:
        DataError: if the file is missing or no sound.
    """
    samples, sample_rate = read_samples(path, "float32")
    return to_model_rate(samples.mean(axis=1), sample_rate)


def read_samples(path: Path, dtype: Literal["float32", "int16"]) -> tuple[NDArray[Any], int]:
    """Read a sound file as it is: samples, ``(S, channels)``, and their rate in Hz.

    Raises:
        DataError: if the file is missing or no sound.
    """
    try:
        samples, sample_rate = soundfile.read(path, dtype=dtype, always_2d=True)
    except (soundfile.SoundFileError, OSError) as error:
        message = f"{path} is no readable sound file"
        raise DataError(message, "Replace or remove the file.") from error
    return samples, sample_rate


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


def read_classes(path: Path, first: int) -> tuple[str, ...]:
    """Read a JSON object of class names and their indices.

    Args:
        path: the file; it may name an index for "ignore", too.
        first: index of the background.

    Returns:
        Names in the order of their indices, background first.

    Raises:
        DataError: if the file is missing or no such object, or its indices have gaps.
    """
    try:
        indices = json.loads(path.read_text(encoding="utf-8"))
        indices.pop(IGNORE_NAME, None)
        classes = tuple(sorted(indices, key=indices.__getitem__))
        counted = [indices[name] - first for name in classes] == list(range(len(classes)))
    except OSError as error:
        raise DataError(f"{path} is missing or cannot be read") from error
    except (ValueError, AttributeError, TypeError) as error:
        raise DataError(f"{path} is no JSON object of class names and indices") from error
    if not counted or classes[:1] != (BACKGROUND,):
        raise DataError(
            f"{path} does not count its classes {first}, {first + 1}, ... with '{BACKGROUND}' first"
        )
    return classes


def write_picture(path: Path, picture: NDArray[np.uint8], options: Sequence[int] = ()) -> None:
    """Write a picture in the format that its ending says; missing folders are made.

    Args:
        path: the file.
        picture: RGB ``(H, W, 3)``, RGBA ``(H, W, 4)`` or one channel ``(H, W)``.
        options: of OpenCV's `imencode`.

    Raises:
        DataError: if it cannot be written.
    """
    if picture.ndim == 3:
        picture = picture[..., [2, 1, 0, 3][: picture.shape[2]]]
    _, coded = cv2.imencode(path.suffix, np.ascontiguousarray(picture), list(options))
    write_file(path, coded.tobytes())


def write_waveform(path: Path, waveform: NDArray[np.floating], subtype: str | None = None) -> None:
    """Write a sound of 16 kHz in the format that its ending says; missing folders are made.

    Args:
        path: the file.
        waveform: mono, ``(S,)``, in [-1, 1].
        subtype: of soundfile, such as "PCM_16"; None: the format's usual one.

    Raises:
        DataError: if it cannot be written.
    """
    coded = BytesIO()
    soundfile.write(coded, waveform, SAMPLE_RATE, subtype, format=path.suffix[1:])
    write_file(path, coded.getvalue())


def write_file(path: Path, content: bytes) -> None:
    """Write a file; missing folders are made.

    Raises:
        DataError: if it cannot be written.
    """
    with wrap_write_errors(path, DataError):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} is missing or cannot be read") from error
