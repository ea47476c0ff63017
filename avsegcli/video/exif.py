"""Orientation from the Exif block of a JPEG; PyAV gives the angle, but no mirroring."""

import struct
from pathlib import Path

from avsegcli.video.reader import Orientation

ORIENTATION_TAG, SHORT = 0x0112, 3
HEAD = 1 << 17  # bytes; an Exif block, of 64 KiB at most, stands near the start of a file
ORIENTATIONS = {  # of Exif's numbers
    1: Orientation(),
    2: Orientation(flip_x=True),
    3: Orientation(flip_x=True, flip_y=True),
    4: Orientation(flip_y=True),
    5: Orientation(transposed=True),
    6: Orientation(transposed=True, flip_x=True),
    7: Orientation(transposed=True, flip_x=True, flip_y=True),
    8: Orientation(transposed=True, flip_y=True),
}


def exif_orientation(path: Path) -> Orientation | None:
    """Read how a picture is turned to be shown; None if the file does not say, or is no JPEG."""
    with path.open("rb") as file:
        head = file.read(HEAD)
    if not head.startswith(b"\xff\xd8"):
        return None
    tiff = head.partition(b"Exif\0\0")[2]
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return None
    try:
        (start,) = struct.unpack_from(order + "I", tiff, 4)
        (entries,) = struct.unpack_from(order + "H", tiff, start)
        for place in range(start + 2, start + 2 + 12 * entries, 12):
            tag, kind, _, value = struct.unpack_from(order + "HHIH", tiff, place)
            if (tag, kind) == (ORIENTATION_TAG, SHORT):
                return ORIENTATIONS.get(value)
    except struct.error:  # cut off
        pass
    return None
