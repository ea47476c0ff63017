"""Write pictures of class indices with a palette, which OpenCV cannot."""

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_EIGHT_BITS, _PALETTE = 8, 3
COMPRESSION = 3  # of zlib; masks are flat, more gains little


def encode_indexed_png(indices: NDArray[np.uint8], colours: NDArray[np.uint8]) -> bytes:
    """Encode indices as a PNG of mode P.

    Args:
        indices: ``(H, W)``.
        colours: RGB of each index, ``(C, 3)``.

    Raises:
        ValueError: if an index has no colour.

    Example:
        >>> png = encode_indexed_png(np.eye(4, dtype=np.uint8), np.zeros((2, 3), np.uint8))
        >>> png[1:4]
        b'PNG'
    """
    if indices.size and indices.max() >= len(colours):
        raise ValueError(f"index {indices.max()} of {len(colours)} colours")
    height, width = indices.shape
    header = struct.pack(">IIBBBBB", width, height, _EIGHT_BITS, _PALETTE, 0, 0, 0)
    rows = np.zeros((height, width + 1), np.uint8)  # each row begins with its filter: none
    rows[:, 1:] = indices
    return b"".join(
        (
            _SIGNATURE,
            _chunk(b"IHDR", header),
            _chunk(b"PLTE", colours.tobytes()),
            _chunk(b"IDAT", zlib.compress(rows.tobytes(), COMPRESSION)),
            _chunk(b"IEND", b""),
        )
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
