import pytest

from avsegcli.errors import MediaError
from avsegcli.video.containers import container_of


def test_an_unknown_suffix_is_refused(tmp_path):
    with pytest.raises(MediaError, match=r"no video format is known by the suffix \.xyz") as caught:
        container_of(tmp_path / "a.xyz")
    assert ".mp4" in caught.value.hint
