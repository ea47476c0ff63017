from fractions import Fraction

import av
import numpy as np
import pytest
from videos import Read, write_video

from avsegcli.audio.load import SoundReader
from avsegcli.video.damage import problems_of
from avsegcli.video.joints import find_joints
from avsegcli.video.reader import SoundTrack, VideoReader
from avsegcli.video.writer import VideoWriter

HOUR = 3600


def joined(tmp_path, *starts, sound="aac"):
    """Three seconds of television for each start, one file after the other."""
    path = tmp_path / "joined.ts"
    with path.open("wb") as file:
        for number, start in enumerate(starts):
            piece = tmp_path / f"{number}.ts"
            write_video(piece, rate=Fraction(25), seconds=3, start=start, on=[(1, 2)], sound=sound)
            file.write(piece.read_bytes())
    return path


@pytest.mark.parametrize("starts", [(0, HOUR), (0, 10 * HOUR), (60, 0), (11 * HOUR, HOUR)])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_jump_of_the_time_stamps_is_closed_for_picture_and_sound_alike(tmp_path, starts, suffix):
    path, output = joined(tmp_path, *starts), tmp_path / f"out{suffix}"
    video, sound = VideoReader(path), SoundReader(path)
    assert video.duration == pytest.approx(6, abs=0.2)
    with VideoWriter(output, video, SoundTrack(path)) as writer:
        for frame in video:
            writer.write(frame)
    read = Read(output)
    assert len(read.frames) == 150
    assert np.diff(read.times).max() < 0.2
    assert read.times[-1] == pytest.approx(6, abs=0.2)
    assert read.sound[-1][0] == pytest.approx(6, abs=0.2)
    loud = [abs(sound.waveform(round(16000 * t), 1600)).max() > 0.1 for t in (0.5, 1.5, 2.6, 4.6)]
    assert loud == [False, True, False, True]
    (told,) = problems_of(video, sound)
    assert "joined.ts: the time stamps jump by" in told


def test_the_sound_after_a_jump_stays_with_its_picture(tmp_path):
    """The tone begins in the second after the joint, as in its own file."""
    path = joined(tmp_path, 0, HOUR)
    video, sound = VideoReader(path), SoundReader(path)
    begin = next(f.time for f in list(video)[75:])  # of the second piece
    wave = abs(sound.waveform(round(16000 * (begin + 0.5)), 16000))
    assert 0.5 + np.flatnonzero(wave > 0.1)[0] / 16000 == pytest.approx(1, abs=0.05)


def test_several_jumps_are_one_line(tmp_path):
    video = VideoReader(joined(tmp_path, 0, HOUR, 2 * HOUR, 30))
    assert len(list(video)) == 300
    (told,) = problems_of(video)
    assert "and 2 times more" in told


def test_a_step_of_a_few_seconds_is_no_jump(tmp_path):
    with av.open(str(joined(tmp_path, 0, 8))) as container:
        assert not find_joints(container)


def test_no_other_file_is_looked_through(tmp_path):
    with av.open(str(write_video(tmp_path / "a.mp4", seconds=0.2))) as container:
        assert not find_joints(container)
