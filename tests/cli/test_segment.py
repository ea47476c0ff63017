import json
import os
import re
from fractions import Fraction

import cv2
import numpy as np
import pytest
from videos import Read, RedWhenLoud, write_video

from avsegcli.cli.main import main
from avsegcli.segment import segmenter


@pytest.fixture(autouse=True)
def red_when_loud(monkeypatch):
    """Stand in for the network."""
    monkeypatch.setattr(segmenter, "open_predictor", lambda *_: RedWhenLoud())


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("clip") / "a clip.mp4", seconds=2, on=((0.5, 2),))


def test_a_clip_is_painted_and_told_about(clip, tmp_path, capsys):
    output = tmp_path / "out.mp4"
    assert main(["segment", str(clip), "-o", str(output)]) == 0
    told = capsys.readouterr()
    assert told.err == "avseg: red-when-loud (2 classes) on cpu\n"
    assert re.search(r"beeper +00:00\.\d-00:02\.0 +1\.\d", told.out)
    assert len(Read(output).frames) == 60
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


def test_quiet_prints_nothing(clip, tmp_path, capsys):
    assert main(["segment", str(clip), "-o", str(tmp_path / "out.mkv"), "--quiet"]) == 0
    assert capsys.readouterr() == ("", "")


def test_silence_is_said(tmp_path, capsys):
    source = write_video(tmp_path / "a.mp4", seconds=0.5, on=())
    assert main(["segment", str(source), "-o", str(tmp_path / "out.mp4"), "--fps", "2"]) == 0
    assert "nothing in the picture is found to sound" in capsys.readouterr().out


def test_a_cut_off_file_is_painted_with_a_warning(tmp_path, capsys):
    source = write_video(
        tmp_path / "a.mp4", seconds=4, container_options={"movflags": "+faststart"}
    )
    source.write_bytes(source.read_bytes()[: source.stat().st_size // 2])
    assert main(["segment", str(source), "-o", str(tmp_path / "out.mp4"), "-q"]) == 0
    told = capsys.readouterr().err
    assert "avseg: warning: " in told
    assert "ends early" in told
    assert len(Read(tmp_path / "out.mp4").frames) > 10


def test_a_part_of_a_video_is_a_part_in_every_output(tmp_path):
    source = write_video(tmp_path / "a.mp4", seconds=6, on=((1, 2), (3.7, 6)))
    words = ["segment", str(source), "--start", "0:03", "--end", "5s", "-q"]
    outputs = ["-o", "out.mp4", "--json", "out.json", "--timeline", "out.csv", "--masks", "masks"]
    named = [word if word[0] == "-" else str(tmp_path / word) for word in outputs]
    assert main([*words, *named]) == 0
    read = Read(tmp_path / "out.mp4")
    assert len(read.frames) == pytest.approx(60, abs=1)
    assert read.sound[-1][0] == pytest.approx(2, abs=0.1)
    told = json.loads((tmp_path / "out.json").read_text())
    assert told["start"] == 3
    assert [frame["time"] for frame in told["frames"]] == pytest.approx(np.arange(8) / 4, abs=0.04)
    (event,) = told["events"]
    assert (event["start"], event["end"]) == pytest.approx((0.7, 2), abs=0.3)
    assert (tmp_path / "out.csv").read_text().count("beeper") == 1
    assert len(list((tmp_path / "masks").glob("*.png"))) == 8


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--start", "x"], 2),
        (["--start", "2", "--end", "1"], 2),
        (["--start", "-1"], 2),
        (["--start", "1:00"], 1),
    ],
)
def test_a_part_that_is_not_there_is_refused(clip, tmp_path, capsys, words, code):
    assert main(["segment", str(clip), "-o", str(tmp_path / "out.mp4"), *words]) == code
    told = capsys.readouterr().err.splitlines()
    assert len([line for line in told if line.startswith("avseg: ")]) == 1
    assert list(tmp_path.iterdir()) == []


def test_damage_is_one_line_and_stands_in_the_summary(tmp_path, capsys):
    source = write_video(tmp_path / "a.mkv", seconds=4, rate=Fraction(25), options={"g": "25"})
    data = bytearray(source.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 3000] = bytes(3000)
    source.write_bytes(data)
    summary, output = tmp_path / "s.json", tmp_path / "out.mkv"
    assert main(["segment", str(source), "-o", str(output), "--json-summary", str(summary)]) == 0
    (told,) = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert re.search(r"between \d\.\d and \d\.\d s: \d+ of 100 pictures and", told)
    assert json.loads(summary.read_text())[0]["problems"] == [told.removeprefix("avseg: warning: ")]


def test_a_picture_that_stands_still_is_asked_about_again(tmp_path):
    times = [*(Fraction(i, 25) for i in range(26)), Fraction(11)]
    source = write_video(
        tmp_path / "a.mp4",
        times=times,
        time_base=Fraction(1, 1000),
        on=((0, 2), (8, 10)),
        sound_seconds=12,
    )
    told = tmp_path / "out.json"
    assert main(["segment", str(source), "--json", str(told), "-q"]) == 0
    events = [(e["start"], e["end"]) for e in json.loads(told.read_text())["events"]]
    assert events == [pytest.approx((0, 2.2), abs=0.3), pytest.approx((8, 10.2), abs=0.3)]


def test_every_refusal_is_one_line_and_a_hint_with_code_1_and_no_file(clip, tmp_path, capsys):
    text = tmp_path / "text.mp4"
    text.write_text("hello\n" * 50)
    empty = tmp_path / "empty.mp4"
    empty.touch()
    silent = write_video(tmp_path / "silent.mp4", sound=None, seconds=0.2)
    nowhere = tmp_path / "link"
    nowhere.symlink_to("nowhere")
    there = tmp_path / "there.mp4"
    there.write_text("precious")
    before = sorted(tmp_path.iterdir())
    output = tmp_path / "out.mp4"
    for video, wanted, words in (
        (tmp_path / "none.mp4", output, "no such file"),
        (text, output, "not a video"),
        (empty, output, "is empty"),
        (os.devnull, output, "not a file"),
        (clip, f"{nowhere}/", "no such folder"),
        (silent, output, "has no sound"),
        (clip, tmp_path / "out.xyz", "suffix"),
        (clip, tmp_path / "no" / "out.mp4", "no such folder"),
        (clip, there, "exists already"),
        (clip, clip, "is the video itself"),
    ):
        assert main(["segment", str(video), "-o", str(wanted)]) == 1, words
        told = capsys.readouterr()
        lines = [line for line in told.err.splitlines() if "red-when-loud" not in line]
        assert len(lines) == 2, told.err
        assert lines[0].startswith("avseg: ")
        assert words in lines[0]
        assert told.out == ""
    assert sorted(tmp_path.iterdir()) == before
    assert there.read_text() == "precious"


def test_wrong_options_are_code_2(clip, tmp_path, capsys):
    output = str(tmp_path / "out.mp4")
    assert main(["segment", str(clip), "-o", output, "--alpha", "3"]) == 2
    for fps in ("0", "-3", "inf", "nan"):
        assert main(["segment", str(clip), "-o", output, "--fps", fps]) == 2
    capsys.readouterr()
    for threshold in ("0", "1", "2", "nan"):
        assert main(["segment", str(clip), "-o", output, "--threshold", threshold]) == 2
        assert "threshold must be above 0 and below 1" in capsys.readouterr().err
    assert main(["segment", str(clip)]) == 2
    assert main(["segment", str(clip), "-o", output, "--every-frame"]) == 2
    assert "--every-frame is of masks" in capsys.readouterr().err
    gif = str(tmp_path / "out.gif")
    assert main(["segment", str(clip), "-o", gif, "--crf", "20"]) == 2
    assert "no painted video that is encoded so" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_palette_may_name_classes(clip, tmp_path, capsys):
    words = ["segment", str(clip), "-o", f"{tmp_path}/new/", "--masks", f"{tmp_path}/new/masks"]
    assert main([*words, "--palette", "bleeper=#0000ff"]) == 2
    assert "no class is called 'bleeper'" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    assert main([*words, "--palette", "beeper=#0000ff", "--style", "outline", "--no-labels"]) == 0
    picture = cv2.imread(str(tmp_path / "new" / "masks" / "000030.png"))
    assert {tuple(colour) for colour in picture.reshape(-1, 3)} == {(0, 0, 0), (255, 0, 0)}
    rgb = Read(tmp_path / "new" / "a clip.mp4").near(1.5).astype(int)
    assert (rgb[..., 2] - rgb[..., :2].max(axis=-1)).max() > 100


def test_an_option_is_not_the_value_of_another(clip, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for option in ("--json", "--masks", "--timeline", "--report", "--json-summary"):
        assert main(["segment", str(clip), option, "-o", "x.mp4"]) == 2
        told = capsys.readouterr().err
        assert f"{option} is followed by -o, and has no value" in told
    assert list(tmp_path.iterdir()) == []
    assert main(["segment", str(clip), "--json", "./-x", "-q"]) == 0
    assert (tmp_path / "-x").exists()


def test_ctrl_c_is_code_130_and_leaves_nothing(clip, tmp_path, capsys, monkeypatch):
    def interrupted(self, frames, log_mel):
        raise KeyboardInterrupt

    monkeypatch.setattr(RedWhenLoud, "predict", interrupted)
    assert main(["segment", str(clip), "-o", str(tmp_path / "out.mp4")]) == 130
    capsys.readouterr()
    assert list(tmp_path.iterdir()) == []
