import errno
import os
import sys
from pathlib import Path

import av
import pytest

from avsegcli.errors import ConfigError, MediaError
from avsegcli.files.preflight import (
    PlannedOutput,
    atomic_write,
    check_conflicts,
    check_writable,
    wrap_write_errors,
)


def test_what_cannot_be_written_is_refused(tmp_path):
    there = tmp_path / "there.mp4"
    there.touch()
    for path, words in (
        (there, "exists already"),
        (tmp_path / "no" / ".." / "there.mp4", "exists already"),
        (tmp_path / "no" / "a.mp4", "no such folder"),
        (tmp_path, "is a folder"),
    ):
        with pytest.raises(MediaError, match=words):
            check_writable(path)
    check_writable(there, force=True)


def test_another_name_of_an_input_is_that_input(tmp_path):
    video = tmp_path / "a.mp4"
    video.touch()
    (tmp_path / "hard.mp4").hardlink_to(video)
    (tmp_path / "soft.mp4").symlink_to(video)
    for name in ("hard.mp4", "soft.mp4", "no/../a.mp4"):
        with pytest.raises(MediaError, match="is the video itself"):
            check_conflicts([PlannedOutput(tmp_path / name, video)], [video])
        with pytest.raises(MediaError, match="an output of b would replace it"):
            check_conflicts([PlannedOutput(tmp_path / name, Path("b"))], [video])
    check_conflicts([PlannedOutput(tmp_path / "b.mp4", video)], [video])


def test_where_case_does_not_count_two_outputs_are_one_file(tmp_path, monkeypatch):
    planned = [PlannedOutput(tmp_path / name, Path(name)) for name in ("Clip.mp4", "clip.mp4")]
    monkeypatch.setattr(sys, "platform", "linux")
    check_conflicts(planned, [])
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(ConfigError, match=r"Clip.mp4 would both be written to .*/clip.mp4"):
        check_conflicts(planned, [])


@pytest.mark.parametrize("kind", [OSError, av.FFmpegError])
def test_errors_of_the_system_and_of_ffmpeg_are_told_alike(kind):
    error = kind(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with (
        pytest.raises(MediaError, match=r"^cannot write a\.mp4: no space left on device$"),
        wrap_write_errors("a.mp4"),
    ):
        raise error


def test_an_output_whose_folder_is_gone_is_an_error_of_media(tmp_path):
    with (
        pytest.raises(MediaError, match=r"cannot write .*a\.mp4: no such file"),
        atomic_write(tmp_path / "gone" / "a.mp4"),
    ):
        pass
