import pytest

from avsegcli.video.exif import exif_orientation
from avsegcli.video.reader import Orientation

LITTLE = b"\xff\xd8..Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x07\0\0\0"


def test_the_orientation_is_read_in_either_byte_order(tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(LITTLE)
    assert exif_orientation(path) == Orientation(True, True, True)
    path.write_bytes(b"\xff\xd8..Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x07\0\0")
    assert exif_orientation(path) == Orientation(True, True, True)


@pytest.mark.parametrize(
    "content",
    [b"", LITTLE[1:], LITTLE[:-5], LITTLE[:14], LITTLE.replace(b"\x07", b"\x09"), b"\xff\xd8"],
    ids=["empty", "no JPEG", "cut off", "cut off early", "no such number", "no Exif"],
)
def test_what_does_not_say_how_it_was_held_is_none(tmp_path, content):
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    assert exif_orientation(path) is None
