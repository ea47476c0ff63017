"""Where memory is short it is said in one line, and nothing is left behind."""

import subprocess
import sys

import pytest
from av.error import MemoryError as FFmpegMemoryError
from videos import RedWhenLoud, write_video

from avsegcli.cli.main import main
from avsegcli.errors import MediaError, OutOfMemoryError, is_out_of_memory
from avsegcli.segment import segmenter
from avsegcli.video.reader import StreamDecoder, VideoReader

resource = pytest.importorskip("resource")


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_video(tmp_path_factory.mktemp("clip") / "a.mp4", seconds=1)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not keep this limit")
@pytest.mark.parametrize("limit_mb", [400, 700, 800, 1000, 1100])
def test_a_limit_that_is_too_low_is_told(clip, tmp_path, limit_mb):
    command = [
        sys.executable,
        "-m",
        "avsegcli",
        "segment",
        str(clip),
        "-o",
        str(tmp_path / "b.mp4"),
    ]
    limit = limit_mb * 1024 * 1000
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
    )
    first, hint = done.stderr.splitlines()
    assert first == f"avseg: not enough memory: ulimit -v allows {limit_mb}000 kB"
    assert hint.startswith("       ")
    assert done.returncode == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("std::bad_alloc"), RuntimeError("can't start new thread")]
)
def test_it_is_told_wherever_it_happens(clip, tmp_path, monkeypatch, capsys, error):
    def predict(self, frames, log_mel):
        raise error

    monkeypatch.setattr(RedWhenLoud, "predict", predict)
    monkeypatch.setattr(segmenter, "open_predictor", lambda *_: RedWhenLoud())
    for inputs in ([str(clip)], [str(clip), str(clip.parent)]):
        assert main(["segment", *inputs, "-o", f"{tmp_path}/{{name}}.mp4", "-q"]) == 1
        assert capsys.readouterr().err.splitlines()[0].startswith("avseg: not enough memory")
        assert list(tmp_path.iterdir()) == []


def test_while_decoding_it_is_not_taken_for_damage(clip, monkeypatch):
    def decode(packet):
        raise FFmpegMemoryError(12, "Cannot allocate memory")

    class Stream:
        class codec_context:  # noqa: N801
            pass

    Stream.codec_context.decode = staticmethod(decode)
    decoder = StreamDecoder(VideoReader(clip)._container, VideoReader(clip)._stream)
    with pytest.raises(OutOfMemoryError):
        decoder.decode(None, Stream)
    assert decoder.damaged == 0


def test_what_an_error_came_from_counts():
    error = MediaError("a.mp4 is damaged")
    error.__cause__ = FFmpegMemoryError(12, "Cannot allocate memory")
    assert is_out_of_memory(error)
    assert not is_out_of_memory(MediaError("a.mp4 is damaged"))
