"""A folder of odd and broken files: each is done, or refused in one line, and leaves nothing half.

Everything goes through the command line with a stand-in for the network.
"""

import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from videos import Read, RedWhenLoud, tone, write_video

from avsegcli.cli.main import main
from avsegcli.segment import segmenter

SMALL = {"width": 64, "height": 48, "seconds": 0.4, "rate": Fraction(15)}


@pytest.fixture(autouse=True)
def red_when_loud(monkeypatch):
    """Stand in for the network."""
    monkeypatch.setattr(segmenter, "open_predictor", lambda *_: RedWhenLoud())


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("clip") / "clip.mp4", **SMALL)


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("long") / "clip.mkv"
    return write_video(path, **{**SMALL, "seconds": 6})


def written_with(**options):
    return lambda path, clip: write_video(path, **{**SMALL, **options})


def changed(change):
    """Write the bytes of a good clip, changed."""

    def make(path: Path, clip: Path) -> None:
        path.write_bytes(change(clip.read_bytes()))

    return make


def in_other_container(codec: str, sound: str | None, **options):
    def make(path: Path, clip: Path) -> None:
        write_video(path, **{**SMALL, "codec": codec, "sound": sound, **options})

    return make


def sound_only(path: Path, clip: Path) -> None:
    with av.open(str(path), "w", format="wav") as output:
        stream = output.add_stream("pcm_s16le", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(
            (tone(0.5, 16000, 1, [(0, 1)]) * 20000).astype(np.int16), "s16", "mono"
        )
        frame.rate = 16000
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))


def surround(channels: str, rate: int):
    """A clip whose sound has this layout, as PCM in Matroska."""

    def make(path: Path, clip: Path) -> None:
        with av.open(str(clip)) as source, av.open(str(path), "w", format="matroska") as output:
            pictures = output.add_stream_from_template(source.streams.video[0])
            sound = output.add_stream("pcm_s16le", rate=rate, layout=channels)
            for packet in source.demux(video=0):
                if packet.size:
                    packet.stream = pictures
                    output.mux(packet)
            count = len(av.AudioLayout(channels).channels)
            wave = (tone(0.4, rate, 1, [(0, 1)])[0] * 20000).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(np.repeat(wave, count)[None], "s16", channels)
            frame.rate = rate
            output.mux(sound.encode(frame))
            output.mux(sound.encode(None))

    return make


def live(path: Path, clip: Path) -> None:
    """A WebM as a browser records it: no duration in the header."""
    write_video(
        path,
        **{**SMALL, "codec": "libvpx", "sound": "libopus", "sound_rate": 48000},
        container_options={"live": "1"},
    )


def picture(path: Path, clip: Path) -> None:
    path.write_bytes(cv2.imencode(".png", np.zeros((40, 40, 3), np.uint8))[1].tobytes())


def link_in_circle(path: Path, clip: Path) -> None:
    path.symlink_to(path)


def fifo(path: Path, clip: Path) -> None:
    path.symlink_to("/dev/null")


GOOD = {
    "plain.mp4": written_with(),
    "mpeg4.avi": in_other_container("mpeg4", "libmp3lame"),
    "wmv2.wmv": in_other_container("wmv2", "libmp3lame"),
    "flash.flv": in_other_container("flv1", "libmp3lame"),
    "mpeg2.mpg": in_other_container("mpeg2video", "mp2", rate=Fraction(25)),
    "phone.3gp": in_other_container("mpeg4", "aac"),
    "quicktime.mov": in_other_container("mjpeg", "pcm_s16le", pix_fmt="yuvj420p"),
    "vp8.ogv": in_other_container("libvpx", "libopus", sound_rate=48000),
    "vp8.webm": in_other_container("libvpx", "libopus", sound_rate=48000),
    "live.webm": live,
    "ten-bit.mkv": written_with(pix_fmt="yuv420p10le"),
    "lossless.mkv": in_other_container("ffv1", "flac", pix_fmt="yuv444p"),
    "turned.mp4": written_with(rotation=90),
    "odd.mkv": written_with(width=65, height=49, pix_fmt="yuv444p"),
    "one pixel.mkv": in_other_container("ffv1", "flac", width=1, height=1, pix_fmt="yuv444p"),
    "one line.mkv": in_other_container("ffv1", "flac", width=64, height=1, pix_fmt="yuv444p"),
    "one frame.mp4": written_with(times=[Fraction(0)]),
    "one a second.mp4": written_with(rate=Fraction(1), seconds=2),
    "uneven.mkv": written_with(times=[Fraction(t, 100) for t in (0, 1, 20, 21, 39)]),
    "short sound.mp4": written_with(sound_seconds=0.1),
    "long sound.mp4": written_with(sound_seconds=1.5),
    "late sound.mp4": written_with(sound_start=0.3),
    "starts at 9.ts": written_with(start=9.0, rate=Fraction(25)),
    "mono 8000.mkv": surround("mono", 8000),
    "stereo 192000.mkv": surround("stereo", 192000),
    "5.1.mkv": surround("5.1", 48000),
    "7.1.mkv": surround("7.1", 48000),
    "ünï çødé 日本.mp4": written_with(),
    "-o.mp4": written_with(),
    "a  b 'c' \"d\" %05d [e].mp4": written_with(),
    "wrong suffix.txt": lambda path, clip: shutil.copy(clip, path),
    "junk at the end.mp4": changed(lambda data: data + bytes(5000)),
}
BAD = {
    "zero bytes.mp4": changed(lambda data: b""),
    "one byte.mp4": changed(lambda data: data[:1]),
    "text.mp4": changed(lambda data: b"hello world\n" * 500),
    "noise.mp4": changed(lambda data: np.random.default_rng(0).bytes(20000)),
    "header only.mp4": changed(lambda data: data[:32]),
    "cut off without index.mp4": changed(lambda data: data[: len(data) // 3]),
    "zeros.mp4": changed(lambda data: bytes(len(data))),
    "index without pictures.mp4": changed(lambda data: data[data.index(b"moov") - 4 :]),
    "html.mp4": changed(lambda data: b"<!doctype html><title>404</title>"),
    "playlist.mp4": changed(lambda data: b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:1/a.ts\n"),
    "concat.mp4": changed(lambda data: b"ffconcat version 1.0\nfile /etc/passwd\n"),
    "huge atom.mp4": changed(lambda data: struct.pack(">I4s", 2**32 - 1, b"moov") + data[8:]),
    "sound only.wav": sound_only,
    "sound only.mp4": sound_only,
    "no sound.mp4": written_with(sound=None),
    "picture.png": picture,
    "picture as video.mp4": picture,
    "subtitles.srt": changed(lambda data: b"1\n00:00:00,000 --> 00:00:01,000\nhello\n"),
    "circle.mp4": link_in_circle,
    "device.mp4": fifo,
    "missing.mp4": lambda path, clip: None,
    "folder.mp4": lambda path, clip: path.mkdir(),
}


def run(monkeypatch, folder: Path, name: str) -> int:
    monkeypatch.chdir(folder)
    (folder / "out").mkdir()
    return main(["segment", f"./{name}", "-o", "out/{name}.mkv", "--json", "out/{name}.json"])


@pytest.mark.parametrize("name", GOOD)
def test_an_odd_file_is_done(clip, tmp_path, monkeypatch, capsys, name):
    GOOD[name](tmp_path / name, clip)
    assert run(monkeypatch, tmp_path, name) == 0, capsys.readouterr().err
    stem = Path(name).stem
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(
        [f"{stem}.json", f"{stem}.mkv"]
    )
    assert len(Read(tmp_path / "out" / f"{stem}.mkv").frames) >= 1


@pytest.mark.parametrize("name", BAD)
def test_a_broken_file_is_refused_in_one_line_with_code_1(
    clip, tmp_path, monkeypatch, capsys, name
):
    BAD[name](tmp_path / name, clip)
    assert run(monkeypatch, tmp_path, name) == 1
    lines = [
        line for line in capsys.readouterr().err.splitlines() if not line.startswith("       ")
    ]
    assert len(lines) <= 2, lines
    assert lines[-1].startswith("avseg: ")
    assert name.split(".")[0] in lines[-1]
    assert list((tmp_path / "out").iterdir()) == []


def test_damage_in_the_middle_is_told_and_passed(long_clip, tmp_path, monkeypatch, capsys):
    data = bytearray(long_clip.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 600] = np.random.default_rng(0).bytes(600)
    (tmp_path / "hurt.mkv").write_bytes(data)
    assert run(monkeypatch, tmp_path, "hurt.mkv") == 0
    told = capsys.readouterr().err
    assert "avseg: warning: hurt.mkv: skipped" in told
    assert Read(tmp_path / "out" / "hurt.mkv").times[-1] > 5


def test_all_of_them_in_one_run(clip, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "in"
    folder.mkdir()
    names = ("plain.mp4", "odd.mkv", "-o.mp4", "5.1.mkv", "text.mp4", "no sound.mp4", "zeros.mp4")
    for name in names:
        {**GOOD, **BAD}[name](folder / name, clip)
    assert main(["segment", str(folder), "-o", str(tmp_path / "out"), "--jobs", "2"]) == 1
    assert "4 done, 3 failed" in capsys.readouterr().out
    assert len(list((tmp_path / "out").iterdir())) == 4


PROGRAM = """
import os, signal, sys
sys.path[:0] = {paths!r}
from avsegcli.segment import segmenter
from avsegcli.cli.main import script
from videos import RedWhenLoud
segmenter.open_predictor = lambda *_: RedWhenLoud()
{first}
sys.argv[1:] = {words!r}
script()
"""


def in_process(first: str, *words: object, **options) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own, after some other statements."""
    paths = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
    program = PROGRAM.format(paths=paths, first=first, words=[str(word) for word in words])
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.run([sys.executable, "-c", program], text=True, check=False, **options)


def told_in_one_line(err: str) -> str:
    (line,) = [line for line in err.splitlines() if line.startswith("avseg: cannot")]
    assert "Traceback" not in err
    return line


@contextmanager
def full_disk():
    """A limit on the size of files acts as a full disk does: a write falls short.

    For the command alone: the test's own log may be a file, too.
    """
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    "output",
    ["-o out/a.mp4", "-o out/a.gif", "--json out/a.json", "--masks out/m", "--report out/a.html"],
)
def test_a_full_disk_is_told_and_leaves_nothing(clip, tmp_path, monkeypatch, capsys, output):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    with full_disk():
        assert main(["segment", str(clip), *output.split(), "-q"]) == 1
    assert "file too large" in told_in_one_line(capsys.readouterr().err)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="drops the rights of root")
@pytest.mark.parametrize("what", ["input", "folder"])
def test_without_permission_it_is_one_line(clip, tmp_path, capsys, what):
    assert main(["segment", str(clip), "-o", str(tmp_path / "all modules loaded.mp4"), "-q"]) == 0
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        shutil.copy(clip, folder / "a.mp4")
        (folder / "a.mp4").chmod(0o600 if what == "input" else 0o644)
        (folder / "out").mkdir()
        (folder / "out").chmod(0o755 if what == "folder" else 0o777)
        os.seteuid(65534)  # nobody
        try:
            code = main(["segment", str(folder / "a.mp4"), "-o", str(folder / "out" / "b.mp4")])
        finally:
            os.seteuid(0)
        assert code == 1
        assert "permission denied" in told_in_one_line(capsys.readouterr().err)
        assert list((folder / "out").iterdir()) == []


LONG = "x" * 300  # of bytes; names of files have at most 255 on most systems


@pytest.mark.parametrize(
    "words",
    [
        f"segment {LONG}.mp4 -o a.mp4",
        f"segment CLIP -o {LONG}.mp4",
        f"segment CLIP -o {LONG}/a.mp4",
        f"segment CLIP --masks {LONG}",
        f"segment CLIP -o a.mp4 --json-summary {LONG}",
        f"segment CLIP -o a.mp4 --audio {LONG}",
        f"segment CLIP -o a.mp4 --palette {LONG[:150]}{'ö' * 80}",
        f"eval --data {LONG}",
        f"eval --json {LONG}",
        f"train --data {LONG}",
        f"train --data . --out {LONG}",
        f"compose {LONG} -o a",
        f"compose . -o {LONG}",
        f"codebook -o {LONG}",
        f"noise-test --noise {LONG}",
        f"export -o {LONG}.onnx",
        f"export {LONG} -o a.onnx",
        f"download vggish --from {LONG}",
        f"data check {LONG}",
        f"data import {LONG} --data-root .",
        f"data fake {LONG} --dataset ms3",
        f"ablate --data {LONG} -o a",
    ],
)
def test_a_name_that_the_system_refuses_is_told_in_one_line(
    clip, tmp_path, monkeypatch, capsys, words
):
    monkeypatch.chdir(tmp_path)
    assert main(words.replace("CLIP", str(clip)).split()) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("avseg: ") == 1
    assert LONG[:150] in told.err
    assert list(tmp_path.iterdir()) == []


def test_one_name_that_the_system_refuses_does_not_stop_the_rest(
    clip, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    words = ["segment", str(clip), f"{LONG}.mp4", "-o", "out"]
    for again in ([], ["--resume"]):
        assert main([*words, *again]) == 1
        assert "1 failed" in capsys.readouterr().out
    assert len(list((tmp_path / "out").rglob("*.mp4"))) == 1


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGHUP", 129), ("SIGKILL", -9)])
def test_killed_half_way_nothing_stands_under_the_final_name(long_clip, tmp_path, name, code):
    kill = (
        "def predict(self, frames, log_mel, asked=[]):\n"
        "    asked.append(1)\n"
        f"    if len(asked) == 3: os.kill(os.getpid(), signal.{name})\n"
        "    return original(self, frames, log_mel)\n"
        "original, RedWhenLoud.predict = RedWhenLoud.predict, predict"
    )
    output, summary = tmp_path / "out.mkv", tmp_path / "s.json"
    words = ["segment", long_clip, "-o", output, "--json-summary", summary, "-q"]
    done = in_process(kill, *words)
    assert done.returncode == code, done.stderr
    assert not output.exists()
    assert "Traceback" not in done.stderr
    if name != "SIGKILL":
        assert list(tmp_path.iterdir()) == [summary]
        assert json.loads(summary.read_text())[0]["status"] == "interrupted"
    assert main(["segment", str(long_clip), "-o", str(output), "-q", "--resume"]) == 0
    assert len(Read(output).frames) == 90


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_that_a_library_makes_an_error_of_ends_in_one_line(clip, tmp_path, name, code):
    load = (
        "def load(*_):\n"
        f"    try: signal.raise_signal(signal.{name})\n"
        "    except BaseException: raise ImportError('initialization failed')\n"
        "segmenter.open_predictor = load"
    )
    done = in_process(load, "segment", clip, "-o", tmp_path / "out.mkv")
    assert (done.returncode, done.stderr) == (code, "avseg: interrupted\n")


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_second_signal_is_the_same_as_the_first(clip, tmp_path, name):
    """One comes while the program cleans up, one when Python itself ends."""
    kill = (
        "import atexit\n"
        f"def kill(): signal.raise_signal(signal.{name})\n"
        "def predict(self, frames, log_mel):\n"
        "    try: os.kill(os.getpid(), signal.SIGINT); import time; time.sleep(0.1)\n"
        "    finally: kill()\n"
        "RedWhenLoud.predict = predict\n"
        "atexit.register(kill)"
    )
    done = in_process(kill, "segment", clip, "-o", tmp_path / "out.mkv", "-q")
    assert (done.returncode, done.stderr) == (130, "avseg: interrupted\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not remove it")
def test_a_current_folder_that_is_removed_is_told_in_one_line(tmp_path, monkeypatch, capsys):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert main(["segment", "a.mp4", "-o", "b.mp4"]) == 1
    told = capsys.readouterr().err.splitlines()
    assert told[0] == "avseg: the current folder has been removed"
    assert len(told) == 2


def test_under_nohup_the_end_of_the_terminal_changes_nothing(clip, tmp_path):
    kill = (
        "def predict(self, frames, log_mel):\n"
        "    os.kill(os.getpid(), signal.SIGHUP)\n"
        "    return original(self, frames, log_mel)\n"
        "original, RedWhenLoud.predict = RedWhenLoud.predict, predict\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)"
    )
    done = in_process(kill, "segment", clip, "-o", tmp_path / "out.mkv", "-q")
    assert (done.returncode, done.stderr) == (0, "")


def test_ctrl_c_while_modules_load_is_quiet():
    program = (
        "import sys\n"
        "class Interrupted:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'typer': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupted())\n"
        "import avsegcli.cli.main"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (130, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", [["--version"], ["segment"]])
def test_a_full_standard_output_is_told_in_one_line(clip, tmp_path, words, unbuffered):
    if words == ["segment"]:
        words = ["segment", clip, "--timeline", tmp_path / "a.csv", "--dry-run"]
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    with Path("/dev/full").open("wb") as full:
        done = in_process("", *words, stdout=full, env=environment)
    assert done.returncode == 1
    assert done.stderr == "avseg: cannot write to standard output: no space left on device\n"


C_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.skipif(sys.platform != "linux", reason="other systems know no such names")
@pytest.mark.parametrize(
    ("name", "shown", "environment"),
    [
        (b"caf\xe9", "caf\ufffd", {"PYTHONIOENCODING": "utf-8:strict"}),
        (b"caf\xe9", "caf\ufffd", C_LOCALE),
        ("café".encode(), "café", C_LOCALE),
    ],
)
def test_a_name_that_is_not_text_is_done(clip, tmp_path, name, shown, environment):
    folder = tmp_path / "in"
    folder.mkdir()
    os.link(clip, os.fsencode(folder) + b"/" + name + b".mp4")
    out, summary = tmp_path / "out", tmp_path / "s.json"
    words = ["segment", folder, "-o", out, "--json", out, "--report", out]
    environment = {**os.environ, **environment}
    done = in_process("", *words, "--json-summary", summary, env=environment, errors="replace")
    assert done.returncode == 0, done.stderr
    assert "done" in done.stdout
    (record,) = json.loads(summary.read_text(encoding="utf-8"))
    assert record["file"] == f"{folder}/{shown}.mp4"
    (found,) = out.glob("*.json")
    assert os.fsencode(found.stem) == name
    assert json.loads(found.read_text(encoding="utf-8"))["video"] == f"{shown}.mp4"
    (page,) = out.glob("*.html")
    assert f"<title>{shown}.mp4" in page.read_text(encoding="utf-8")
