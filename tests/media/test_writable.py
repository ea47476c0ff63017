import errno
import os

import av
import pytest

from avsegcli.errors import MediaError
from avsegcli.media.writable import check_writable, told_as_cannot_write, written_whole


def test_what_cannot_be_written_is_refused(tmp_path):
    there = tmp_path / "there.mp4"
    there.touch()
    for path, words in (
        (there, "exists already"),
        (tmp_path / "no" / "a.mp4", "no such folder"),
        (tmp_path, "is a folder"),
    ):
        with pytest.raises(MediaError, match=words):
            check_writable(path)
    check_writable(there, force=True)


@pytest.mark.parametrize("kind", [OSError, av.FFmpegError])
def test_errors_of_the_system_and_of_ffmpeg_are_told_alike(kind):
    error = kind(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with (
        pytest.raises(MediaError, match=r"^cannot write a\.mp4: no space left on device$"),
        told_as_cannot_write("a.mp4"),
    ):
        raise error


def test_an_output_whose_folder_is_gone_is_an_error_of_media(tmp_path):
    with (
        pytest.raises(MediaError, match=r"cannot write .*a\.mp4: no such file"),
        written_whole(tmp_path / "gone" / "a.mp4"),
    ):
        pass
