from pathlib import Path

import pytest

from avsegcli.errors import ConfigError
from avsegcli.video.codecs import Encoding


@pytest.mark.parametrize(
    ("codec", "output", "encoder"),
    [
        ("h264", "a.mp4", "libx264"),
        ("hevc", "a.mp4", "libx265"),
        ("av1", "a.mkv", "libsvtav1"),
        ("vp9", "a.webm", "libvpx-vp9"),
    ],
)
def test_the_name_of_a_codec_stands_for_its_encoder(codec, output, encoder):
    named = Encoding(codec=codec).encoder(Path(output))
    assert named == Encoding(codec=encoder).encoder(Path(output))
    assert named[0] == encoder


def test_what_is_no_video_encoder_is_refused():
    for codec in ("h265", "aac"):
        with pytest.raises(ConfigError, match=f"no video encoder is called '{codec}'"):
            Encoding(codec=codec).encoder(Path("a.mp4"))
