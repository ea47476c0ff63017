import numpy as np
import pytest
import soundfile

from avsegcli.cli.main import main
from avsegcli.datasets.check import check_avsbench
from avsegcli.errors import DataError
from avsegcli.synthesis.fake_avsbench import write_fake


@pytest.fixture
def avss(tmp_path):
    write_fake(tmp_path, "avss", clips=3, splits=["train", "test"])
    return tmp_path


def test_a_whole_set_is_usable(avss, capsys):
    train, test = check_avsbench(avss)
    assert (train.split, train.clips, train.usable, train.frames) == ("train", 3, 3, 20)
    assert train.problems == ()
    assert (test.silent, test.short, test.log_mel, test.unknown_colours) == (0, 0, 0, 0)
    assert (320, 240) in test.sizes
    assert main(["data", "check", str(avss)]) == 0
    table = capsys.readouterr().out
    assert "avss train" in table
    assert "\u2026" not in table  # nothing is cut in 80 columns


def test_what_is_missing_or_damaged_is_counted_and_named(avss, capsys, monkeypatch):
    clips = sorted((avss / "AVSS").glob("*/test_*"))
    (clips[0] / "frames" / "1.jpg").write_bytes(b"no picture")
    mask = clips[1] / "labels_rgb" / "0.png"
    mask.write_bytes((clips[2] / "frames" / "0.jpg").read_bytes())  # colours of no class
    (clips[2] / "audio.wav").unlink()
    train = sorted((avss / "AVSS").glob("*/train_*"))[0]
    soundfile.write(train / "audio.wav", np.zeros(40_000), 16_000)
    checked, test = check_avsbench(avss)
    assert (checked.short, checked.usable) == (1, 3)
    assert (test.usable, test.unknown_colours, test.silent) == (1, 1, 1)
    assert sorted(problem.split(":")[0].rsplit("/", 2)[-1] for problem in test.problems) == [
        "0.png",
        "1.jpg is no readable picture",
    ]
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["data", "check", str(avss), "--dataset", "avss"]) == 1
    printed = capsys.readouterr().out
    assert "1.jpg is no readable picture" in printed
    assert "is of no class" in printed


def test_log_mel_files_are_counted_and_not_needed(tmp_path):
    write_fake(tmp_path, "s4", clips=2, splits=["test"])
    files = sorted(tmp_path.rglob("*.pkl"))
    files[0].write_bytes(b"no pickle")
    files[1].unlink()
    (test,) = check_avsbench(tmp_path, "s4")
    assert (test.published, test.usable, test.log_mel) == (740, 2, 0)
    assert "is no file of log-mel examples" in test.problems[0]


@pytest.mark.parametrize("table", [None, "uid,split,label\n"])
def test_a_folder_without_clips_is_one_line(tmp_path, table, capsys):
    if table is not None:
        (tmp_path / "metadata.csv").write_text(table)
    with pytest.raises(DataError, match=r"holds no subset|has no clips"):
        check_avsbench(tmp_path)
    assert main(["data", "check", str(tmp_path)]) == 1
    assert "handed out on request" in capsys.readouterr().err
    with pytest.raises(DataError, match="is no folder"):
        check_avsbench(tmp_path / "nowhere")
