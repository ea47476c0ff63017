import json
import os
import shutil
import subprocess
import sys
from types import SimpleNamespace

import av
import cv2
import numpy as np
import pytest
from av.stream import Disposition
from videos import Read, RedWhenLoud, write_video

from avsegcli.cli.main import main
from avsegcli.errors import ConfigError
from avsegcli.segment import segmenter
from avsegcli.segment.batch import parse_shard


@pytest.fixture(autouse=True)
def red_when_loud(monkeypatch):
    """Stand in for the network."""
    monkeypatch.setattr(segmenter, "open_predictor", lambda *_: RedWhenLoud())


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    return write_video(path, width=64, height=48, seconds=0.5)


@pytest.fixture
def videos(clip, tmp_path):
    """Two good ones, one in a sub-folder, and a bad one between them."""
    folder = tmp_path / "videos"
    (folder / "sub").mkdir(parents=True)
    shutil.copy(clip, folder / "a.mp4")
    (folder / "bad.mp4").write_text("no video")
    shutil.copy(clip, folder / "sub" / "c.mp4")
    return folder


def written(folder) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


@pytest.mark.parametrize("jobs", ["1", "3"])
def test_a_bad_file_does_not_stop_the_rest(videos, tmp_path, capsys, jobs):
    out, summary = tmp_path / "out", tmp_path / "summary.json"
    words = ["segment", str(videos), "-o", str(out), "--json", str(out), "--jobs", jobs]
    assert main([*words, "--json-summary", str(summary)]) == 1
    assert written(out) == ["a.json", "a.mp4", "sub/c.json", "sub/c.mp4"]
    told = capsys.readouterr()
    assert "bad.mp4 is not a video that can be read" in told.err
    assert "2 done, 1 failed" in told.out
    records = json.loads(summary.read_text())
    assert [record["status"] for record in records] == ["done", "failed", "done"]
    assert records[1]["error"] == f"{videos / 'bad.mp4'} is not a video that can be read"
    assert records[1]["outputs"] == []
    assert records[2]["outputs"] == [str(out / "sub" / "c.mp4"), str(out / "sub" / "c.json")]


@pytest.mark.parametrize("jobs", ["1", "3"])
def test_each_file_has_a_line_when_it_ends_where_there_is_no_terminal(
    videos, tmp_path, capsys, jobs
):
    words = ["segment", str(videos), "-o", str(tmp_path / "out"), "--jobs", jobs]
    assert main(words) == 1
    ended = [line for line in capsys.readouterr().err.splitlines() if "/3 " in line]
    assert [line.split()[1] for line in ended] == ["1/3", "2/3", "3/3"]
    named = {line.split()[2]: " ".join(line.split()[3:]) for line in ended}
    assert named[str(videos / "bad.mp4")].startswith("failed: ")
    assert named[str(videos / "a.mp4")].startswith("done in ")
    assert main(["segment", str(videos), "-o", str(tmp_path / "quiet"), "-q"]) == 1
    assert "1/3" not in capsys.readouterr().err


def test_the_summary_is_complete_after_each_file(videos, tmp_path, monkeypatch):
    summary, seen = tmp_path / "s.json", []
    predict = RedWhenLoud.predict

    def look(self, frames, log_mel):
        seen.append(json.loads(summary.read_text()) if summary.exists() else None)
        return predict(self, frames, log_mel)

    monkeypatch.setattr(RedWhenLoud, "predict", look)
    words = ["segment", str(videos), "-o", str(tmp_path / "out"), "--json-summary", str(summary)]
    assert main(words) == 1
    assert [record["status"] for record in seen[-1]] == ["done", "failed", "waiting"]


def test_names_are_printed_as_they_are(clip, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    names = ["in[/old]/Bird song [dQw4w9WgXcQ].mp4", "in[/old]/a:car:b.mp4"]
    (tmp_path / "in[/old]").mkdir(parents=True)
    for name in names:
        shutil.copy(clip, name)
    assert main(["segment", "in[/old]", "-o", "out"]) == 0
    told = capsys.readouterr().out
    assert [name in told for name in names] == [True, True]
    assert main(["segment", names[1], "-o", "[b]:car:.mp4"]) == 0
    assert "[b]:car:.mp4" in capsys.readouterr().out


def test_a_folder_of_outputs_is_made_if_its_name_says_so(clip, tmp_path):
    assert main(["segment", str(clip), "-o", f"{tmp_path / 'new'}/", "-q"]) == 0
    assert written(tmp_path) == ["new/clip.mp4"]


def test_a_folder_may_have_a_dot_in_its_name(videos, tmp_path):
    assert main(["segment", str(videos), "-o", f"{tmp_path / 'out.v1'}/", "-q"]) == 1
    assert written(tmp_path / "out.v1") == ["a.mp4", "sub/c.mp4"]


def test_masks_of_one_video_do_not_take_those_of_another(clip, tmp_path, capsys):
    folder = tmp_path / "v"
    (folder / "a").mkdir(parents=True)
    shutil.copy(clip, folder / "a.mp4")
    shutil.copy(clip, folder / "a" / "b.mp4")
    masks = tmp_path / "m"
    assert main(["segment", str(folder), "--masks", str(masks)]) == 2
    told = capsys.readouterr().err
    assert f"would lie among the masks of {folder / 'a.mp4'}" in told
    pattern = str(masks / "{name}-masks")
    assert pattern in told
    assert main(["segment", str(folder), "--masks", pattern, "-q"]) == 0
    assert (masks / "a-masks" / "classes.json").exists()
    assert (masks / "a" / "b-masks" / "classes.json").exists()


def test_options_of_an_encoder_are_tried_for_each_kind_of_output(clip, videos, tmp_path, capsys):
    write_video(
        videos / "z.webm", codec="libvpx-vp9", sound="libopus", sound_rate=48000, seconds=0.2
    )
    words = ["segment", str(videos), "-o", str(tmp_path / "out"), "--preset", "veryfast"]
    assert main(words) == 2
    assert "libvpx-vp9 does not work with" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_summary_tells_of_a_single_file_that_fails(tmp_path, capsys):
    summary = tmp_path / "s.json"
    summary.write_text("[]")
    words = ["segment", str(tmp_path / "none.mp4"), "-o", str(tmp_path / "out.mp4")]
    assert main([*words, "--json-summary", str(summary)]) == 1
    (record,) = json.loads(summary.read_text())
    assert record["status"] == "failed"
    assert "no such file" in record["error"]


def test_resume_takes_an_empty_folder_for_no_masks(clip, tmp_path):
    (tmp_path / "masks").mkdir()
    assert main(["segment", str(clip), "--masks", str(tmp_path / "masks"), "--resume", "-q"]) == 0
    assert "masks/classes.json" in written(tmp_path)


def test_a_summary_that_cannot_be_written_is_refused_before_the_work(clip, tmp_path, capsys):
    words = ["segment", str(clip), "-o", str(tmp_path / "out.mp4")]
    assert main([*words, "--json-summary", str(tmp_path)]) == 1
    assert "it is a folder" in capsys.readouterr().err
    assert written(tmp_path) == []


def test_resume_does_what_is_missing_and_neither_flag_refuses(videos, tmp_path, capsys):
    out = tmp_path / "out"
    (videos / "bad.mp4").unlink()
    words = ["segment", str(videos), "-o", str(out), "-q"]
    assert main(words) == 0
    (out / "a.mp4").write_text("kept")
    (out / "sub" / "c.mp4").unlink()
    assert main([*words, "--resume"]) == 0
    assert (out / "a.mp4").read_text() == "kept"
    assert len(Read(out / "sub" / "c.mp4").frames) == 15
    capsys.readouterr()
    assert main(words) == 1
    assert "2 of the outputs exist already" in capsys.readouterr().err
    assert (out / "a.mp4").read_text() == "kept"
    (out / "sub" / "c.mp4").unlink()
    assert main(words) == 1
    assert (
        f"1 of the outputs exist already, the first is {out / 'a.mp4'}" in capsys.readouterr().err
    )
    assert not (out / "sub" / "c.mp4").exists()
    assert main([*words, "--overwrite"]) == 0
    assert len(Read(out / "a.mp4").frames) == 15


def test_names_can_be_patterns(videos, tmp_path):
    (videos / "bad.mp4").unlink()
    pattern = str(tmp_path / "out" / "{name}-when.srt")
    assert main(["segment", str(videos), "--timeline", pattern, "-q"]) == 0
    assert written(tmp_path / "out") == ["a-when.srt", "sub/c-when.srt"]


def test_one_name_for_several_inputs_is_refused(videos, tmp_path, capsys):
    assert main(["segment", str(videos), "-o", str(tmp_path / "out.mp4")]) == 2
    assert "{name}.mp4" in capsys.readouterr().err
    same = str(tmp_path / "same.srt{name}"[:-6])
    clips = [str(videos / "a.mp4"), str(videos / "sub" / "c.mp4")]
    assert main(["segment", *clips, "--timeline", same]) == 2
    capsys.readouterr()


def test_the_summary_replaces_neither_an_input_nor_an_output(videos, tmp_path, capsys):
    (videos / "bad.mp4").unlink()
    video = videos / "a.mp4"
    before = video.read_bytes()
    out = tmp_path / "out"
    words = ["segment", str(video), "-o", str(tmp_path / "x.mp4"), "--json-summary", str(video)]
    assert main(words) == 1
    assert f"{video} is an input, and the summary would replace it" in capsys.readouterr().err
    assert video.read_bytes() == before
    video.rename(videos / "summary.mp4")
    words = ["segment", str(videos), "--json", str(out), "--json-summary"]
    assert main([*words, str(tmp_path / "no" / ".." / "out" / "summary.json")]) == 2
    assert "both the summary and an output of" in capsys.readouterr().err
    assert not out.exists()
    sound = tmp_path / "sound.mp4"
    shutil.copy(videos / "summary.mp4", sound)
    assert main([*words, str(sound), "--audio", str(sound)]) == 1
    assert sound.read_bytes() == before
    capsys.readouterr()


@pytest.mark.parametrize("flag", ["--resume", "--overwrite", "-q"])
def test_inputs_are_not_their_own_outputs(videos, capsys, flag):
    before = (videos / "a.mp4").read_bytes()
    assert main(["segment", str(videos), "-o", str(videos), flag]) == 1
    told = capsys.readouterr().err
    assert f"{videos / 'a.mp4'} is the video itself" in told
    assert "--resume" not in told
    assert (videos / "a.mp4").read_bytes() == before


def test_an_output_of_one_input_is_not_another_input(videos, capsys):
    one, other = videos / "a.mp4", videos / "a_p.mp4"
    one.with_name("sub").joinpath("c.mp4").rename(other)
    before = other.read_bytes()
    words = ["-o", str(videos / "{name}_p.mp4"), "--overwrite"]
    for inputs in ([str(one), str(other)], [str(videos)]):
        assert main(["segment", *inputs, *words]) == 1
        told = capsys.readouterr().err
        assert f"{other} is an input, and an output of {one} would replace it" in told
    assert other.read_bytes() == before


def test_outputs_do_not_become_inputs_of_the_next_run(videos, tmp_path, monkeypatch, capsys):
    (videos / "bad.mp4").unlink()
    monkeypatch.chdir(tmp_path)
    for output in ("videos/{name}-p.mp4", "videos/sub/../{name}-p.mp4", "videos/p-{name}/a.gif"):
        assert main(["segment", "videos", "-o", output]) == 2
        assert "own: videos/painted/" in capsys.readouterr().err
    assert written(videos) == ["a.mp4", "sub/c.mp4"]
    words = ["segment", "videos", "-o", "videos/painted/{name}-p.mp4", "--json", "videos", "-q"]
    assert main(words) == 0
    names = ["a.json", "a.mp4", "painted/a-p.mp4", "painted/sub/c-p.mp4", "sub/c.json", "sub/c.mp4"]
    assert written(videos) == names
    assert main([*words, "--resume"]) == 0
    assert written(videos) == names


def test_two_outputs_of_one_video_are_two_files(clip, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    (tmp_path / "link").symlink_to("sub")
    for one, other in (
        ("p.mp4", str(tmp_path / "p.mp4")),
        ("a.mp4", "sub/../a.mp4"),
        ("a.mp4", "no/../a.mp4"),
        ("sub/a.mp4", "link/a.mp4"),
    ):
        assert main(["segment", str(clip), "-o", one, "--json", other]) == 2
        told = capsys.readouterr().err
        assert f"two outputs of {clip} would be written to " in told
        assert "Give each of them a name" in told
    assert written(tmp_path) == []


def test_a_way_through_no_folder_replaces_nothing(clip, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copy(clip, "f.mp4")
    (tmp_path / "notes.json").write_text("precious")
    before = clip.read_bytes()
    assert main(["segment", "f.mp4", "-o", "no/../f.mp4"]) == 1
    assert "is the video itself" in capsys.readouterr().err
    for output in (["--json", "no/../notes.json"], ["-o", "a.mp4", "--json", "no/../notes.json"]):
        assert main(["segment", "f.mp4", *output]) == 1
        assert "exists already" in capsys.readouterr().err
    (tmp_path / "f.json").write_text("precious")
    assert main(["segment", ".", "--json", "no/../{name}.json"]) == 1
    assert "exists already" in capsys.readouterr().err
    assert (tmp_path / "f.mp4").read_bytes() == before
    assert (tmp_path / "f.json").read_text() == "precious"
    assert (tmp_path / "notes.json").read_text() == "precious"
    assert written(tmp_path) == ["f.json", "f.mp4", "notes.json"]


def test_a_painted_mov_and_what_is_cut_out_of_it_lie_in_one_folder(clip, tmp_path, capsys):
    shutil.copy(clip, tmp_path / "c.mov")
    folder = f"{tmp_path / 'out'}/"
    words = ["segment", str(tmp_path / "c.mov"), "-o", folder, "--alpha-video", folder]
    assert main([*words, "-q"]) == 0
    assert written(tmp_path / "out") == ["c-alpha.mov", "c.mov"]
    same = str(tmp_path / "same.mov")
    assert main([*words[:2], "-o", same, "--alpha-video", same]) == 2
    assert "two outputs of" in capsys.readouterr().err


def test_inputs_do_not_lie_among_masks(clip, tmp_path, capsys):
    words = ["segment", str(clip), "--masks", str(tmp_path / "m"), "-q"]
    assert main(words) == 0
    before = written(tmp_path)
    words[1] = str(tmp_path / "m" / "000000.png")
    assert main([*words, "--audio", str(clip), "--overwrite"]) == 2
    assert "folder of the masks" in capsys.readouterr().err
    assert written(tmp_path) == before


def test_a_dry_run_lists_and_does_nothing(videos, tmp_path, capsys):
    assert main(["segment", str(videos), "-o", str(tmp_path / "out"), "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{videos / 'a.mp4'} -> {tmp_path / 'out' / 'a.mp4'}"
    assert len(lines) == 3
    assert not (tmp_path / "out").exists()


def test_shards_share_the_work_and_do_all_of_it(videos, tmp_path, capsys, monkeypatch):
    out = tmp_path / "out"
    words = ["segment", str(videos), "-o", str(out), "--dry-run"]
    lines = []
    for number in (1, 2):
        assert main([*words, "--shard", f"{number}/2"]) == 0
        lines.append(capsys.readouterr().out.splitlines())
    assert [len(some) for some in lines] == [2, 1]
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(words) == 0
    assert capsys.readouterr().out.splitlines() == lines[1]
    assert main([*words, "--shard", "3/2"]) == 2
    capsys.readouterr()


@pytest.mark.parametrize("text", ["", "1", "a/b", "1/2/3", "-1/2"])
def test_what_is_no_shard_is_refused(text):
    with pytest.raises(ConfigError):
        parse_shard(text, {})


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_ctrl_c_is_code_130_says_what_was_done_and_leaves_no_half_file(
    videos, tmp_path, capsys, monkeypatch, jobs
):
    (videos / "bad.mp4").unlink()
    asked = []

    def interrupted(self, frames, log_mel):
        asked.append(frames)
        if len(asked) > 1:
            raise KeyboardInterrupt
        return np.zeros((len(frames), 3, 12, 16), np.float32)

    monkeypatch.setattr(RedWhenLoud, "predict", interrupted)
    out, summary = tmp_path / "out", tmp_path / "s.json"
    words = ["segment", str(videos), "-o", str(out), "--jobs", jobs]
    assert main([*words, "--json-summary", str(summary)]) == 130
    assert capsys.readouterr().err.endswith("avseg: interrupted\n")
    statuses = [record["status"] for record in json.loads(summary.read_text())]
    assert "interrupted" in statuses
    assert all(not name.startswith(".") for name in written(out))


@pytest.mark.parametrize(
    ("suffix", "codec", "pix_fmt"),
    [("png", "png", "rgb24"), ("avif", "libsvtav1", "yuv420p"), ("mkv", "libx264", "yuv444p")],
)
def test_a_picture_with_a_sound_is_a_video(clip, tmp_path, capsys, suffix, codec, pix_fmt):
    photo = tmp_path / f"photo.{suffix}"
    picture = np.full((49, 81, 3), (90, 110, 130), np.uint8)
    picture[16:32, 20:40] = (230, 30, 30)
    with av.open(str(photo), "w") as file:
        stream = file.add_stream(codec, rate=1)
        stream.width, stream.height, stream.pix_fmt = 81, 49, pix_fmt
        file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        file.mux(stream.encode(None))
    output = tmp_path / "out.mp4"
    assert main(["segment", str(photo), "-o", str(output)]) == 1
    assert "--audio FILE" in capsys.readouterr().err
    words = ["segment", str(photo), "--audio", str(clip), "-o", str(output), "-q"]
    assert main([*words, "--no-legend", "--no-labels"]) == 0
    read = Read(output)
    assert read.size == (81, 49)
    assert read.times[-1] == pytest.approx(0.5, abs=0.1)
    assert read.near(0.2)[2:8, 60:80].mean(axis=(0, 1)) == pytest.approx((90, 110, 130), abs=8)


def test_a_picture_in_tiles_is_refused(clip, tmp_path, capsys, monkeypatch):
    streams = [SimpleNamespace(disposition=Disposition.dependent)]
    opened = SimpleNamespace(streams=SimpleNamespace(video=streams), close=lambda: None)
    monkeypatch.setattr("avsegcli.video.still.open_media", lambda path: opened)
    words = ["segment", "photo.heic", "--audio", str(clip), "-o", str(tmp_path / "out.mp4")]
    assert main(words) == 1
    assert "photo.heic is a picture in tiles" in capsys.readouterr().err


def test_another_sound_decides_what_sounds(clip, tmp_path, capsys):
    silence = write_video(tmp_path / "silence.mp4", seconds=0.5, on=())
    out = str(tmp_path / "a.csv")
    assert main(["segment", str(clip), "--audio", str(silence), "--timeline", out, "-q"]) == 0
    assert (tmp_path / "a.csv").read_text().count("\n") == 1
    words = ["segment", str(clip), "--audio-stream", "2", "--timeline", out, "--overwrite"]
    assert main(words) == 1
    assert "has no sound stream 2" in capsys.readouterr().err


def test_completion_knows_the_options():
    program = "from avsegcli.cli.main import script; script()"
    environment = {
        "_AVSEG_COMPLETE": "complete_bash",
        "COMP_WORDS": "avseg segment --sty",
        "COMP_CWORD": "2",
    }
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == ["--style"], done.stderr


def test_folders_of_outputs_are_made_even_for_one_video(videos, tmp_path):
    one = str(videos / "sub")
    assert main(["segment", one, "-o", str(tmp_path / "new" / "folder"), "-q"]) == 0
    assert written(tmp_path / "new") == ["folder/c.mp4"]
    pattern = str(tmp_path / "other" / "{name}.csv")
    assert main(["segment", str(videos / "a.mp4"), "--timeline", pattern, "-q"]) == 0
    assert written(tmp_path / "other") == ["a.csv"]


def test_each_rank_of_torchrun_has_its_gpu(clip, tmp_path, monkeypatch):
    asked = []

    def stand_in(weights, device, engine):
        asked.append(device)
        return RedWhenLoud()

    monkeypatch.setattr(segmenter, "open_predictor", stand_in)
    monkeypatch.setenv("LOCAL_RANK", "1")
    for gpus, device in ((2, "cuda:1"), (1, "cuda:0"), (0, "auto")):
        monkeypatch.setattr("torch.cuda.is_available", lambda gpus=gpus: gpus > 0)
        monkeypatch.setattr("torch.cuda.device_count", lambda gpus=gpus: gpus)
        assert main(["segment", str(clip), "--timeline", str(tmp_path / f"{gpus}.csv"), "-q"]) == 0
        assert asked[-1] == device


def test_the_sound_stream_asked_for_is_heard_and_kept(clip, tmp_path):
    silence = write_video(tmp_path / "silence.mp4", seconds=0.5, on=(), sound_rate=16000)
    both = tmp_path / "both.mp4"
    with (
        av.open(str(clip)) as first,
        av.open(str(silence)) as second,
        av.open(str(both), "w") as output,
    ):
        pairs = [
            (source, output.add_stream_from_template(source))
            for source in (first.streams.video[0], first.streams.audio[0], second.streams.audio[0])
        ]
        for source, target in pairs:
            source.container.seek(0)
            for packet in source.container.demux(source):
                if packet.size:
                    packet.stream = target
                    output.mux(packet)
    for number, events in ((1, 1), (2, 0)):
        out, table = tmp_path / f"{number}.mp4", tmp_path / f"{number}.csv"
        words = ["segment", str(both), "--audio-stream", str(number), "-o", str(out)]
        assert main([*words, "--timeline", str(table), "-q"]) == 0
        assert table.read_text().count("\n") == 1 + events
        with av.open(str(out)) as container:
            (sound,) = container.streams.audio
            assert sound.rate == (44100 if number == 1 else 16000)


EXIF_TURNS = {  # orientation: quarter turns counter-clockwise, after mirroring left to right
    1: (0, False),
    2: (0, True),
    3: (2, False),
    4: (2, True),
    5: (1, True),
    6: (-1, False),
    7: (-1, True),
    8: (1, False),
}


@pytest.mark.parametrize("orientation", EXIF_TURNS)
def test_a_photo_is_upright_as_its_camera_says(clip, tmp_path, orientation):
    """Exif's orientation 6 is to be turned clockwise by 90 degrees, 8 counter-clockwise.

    2, 4, 5 and 7 are 1, 3, 6 and 8 of a picture that was mirrored.
    """
    stored = np.full((48, 64, 3), 60, np.uint8)
    stored[:24, :32] = 200  # bright at the upper left
    jpeg = cv2.imencode(".jpg", stored)[1].tobytes()
    entry = b"\x01\x12\0\x03\0\0\0\x01\0" + bytes([orientation]) + bytes(6)
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01" + entry
    block = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
    (tmp_path / "p.jpg").write_bytes(jpeg[:2] + block + jpeg[2:])
    out = tmp_path / "out.mp4"
    words = ["segment", str(tmp_path / "p.jpg"), "--audio", str(clip), "-o", str(out), "-q"]
    assert main(words) == 0
    turns, mirrored = EXIF_TURNS[orientation]
    expected = np.rot90(stored[:, ::-1] if mirrored else stored, turns).astype(int)
    shown = Read(out).near(0.2).astype(int)
    assert shown.shape == expected.shape
    assert np.abs(shown - expected).mean() < 12
