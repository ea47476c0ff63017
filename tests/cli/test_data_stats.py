import json

import numpy as np
import pytest

from avsegcli.cli.main import main
from avsegcli.datasets.clip import IGNORE, Clip
from avsegcli.datasets.registry import open_dataset
from avsegcli.datasets.statistics import SplitStatistics
from avsegcli.synthesis.fake_avsbench import write_fake


def make_clip(labels, annotated, heard=None):
    labels = np.array(labels, np.uint8).reshape(len(labels), 2, 2)
    frames = np.zeros((*labels.shape, 3), np.uint8)
    return Clip("a", frames, np.zeros(24_000, np.float32), labels, np.array(annotated), None, heard)


def test_frames_pixels_and_seconds_are_counted_by_hand():
    split = SplitStatistics("avss", "test")
    labels = [[0, 1, 1, 2], [0, 0, 0, IGNORE], [1, 1, 1, 1]]
    split.add(make_clip(labels, [True, True, False]), ("background", "cat", "dog"))
    assert (split.clips, split.frames, split.labelled_frames) == (1, 3, 2)
    assert (split.silent_share, dict(split.sources)) == (0.5, {2: 1, 0: 1})
    assert (split.sound_s, dict(split.sizes)) == ([1.5], {"2 x 2": 1})
    assert vars(split.classes["cat"]) == {"clips": 1, "frames": 1, "pixels": 2, "seconds": 1}
    heard = np.zeros((3, 3), bool)
    heard[:, 2] = True
    split.add(make_clip(labels, [True, True, False], heard), ("background", "cat", "dog"))
    assert vars(split.classes["dog"]) == {"clips": 2, "frames": 2, "pixels": 2, "seconds": 4}
    assert vars(split.classes["cat"]) == {"clips": 2, "frames": 2, "pixels": 4, "seconds": 1}


def test_a_data_set_is_counted_as_text_json_and_plot(tmp_path, capsys):
    root = tmp_path / "AVSBench"
    write_fake(root, "avss", clips=3, splits=("train", "test"))
    write_fake(root, "s4", clips=2, splits=("test",))
    files = tmp_path / "stats.json", tmp_path / "stats.png"
    words = ["data", "stats", str(root), "--json", str(files[0]), "--plot", str(files[1])]
    assert main([*words, "--format", "markdown"]) == 0
    printed = capsys.readouterr().out
    splits = {(s["subset"], s["split"]): s for s in json.loads(files[0].read_text())}
    assert set(splits) == {("s4", "test"), ("avss", "train"), ("avss", "test")}
    test = open_dataset("avss", "test", root)
    clips = [test[index] for index in range(len(test))]
    assert splits["avss", "test"]["labelled_frames"] == sum(c.annotated.sum() for c in clips)
    pixels = sum(((c.labels > 0) & (c.labels < IGNORE))[c.annotated].sum() for c in clips)
    classes = splits["avss", "test"]["classes"].values()
    assert sum(count["pixels"] for count in classes) == pixels
    # S4's masks are binary: its table says the classes.
    assert set(splits["s4", "test"]["classes"]) <= {"dog", "drum", "bird", "violin"}
    assert "| avss test | 3 |" in printed
    assert files[1].read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("words", [["--json", "a.json"], ["--plot", "a.png"]])
def test_files_that_are_there_are_not_replaced(tmp_path, monkeypatch, capsys, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / words[1]).write_text("mine")
    assert main(["data", "stats", str(tmp_path), *words]) == 1
    assert "exists already" in capsys.readouterr().err
    assert (tmp_path / words[1]).read_text() == "mine"
