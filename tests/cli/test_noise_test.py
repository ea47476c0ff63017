import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest

from avsegcli.cli.main import main, repeat_options
from avsegcli.cli.noise_test import read_ratios
from avsegcli.evaluation.metrics.registry import all_numbers
from avsegcli.synthesis.writer import write_avss


@pytest.fixture(scope="module")
def clips(toy_parts, tmp_path_factory):
    root = tmp_path_factory.mktemp("noise") / "clips"
    options = {"task": "semantic", "clips": 2, "seed": 1, "num_frames": 1, "size": 64}
    write_avss(toy_parts, root, splits=["test"], **options)
    return root


@pytest.mark.parametrize(
    ("words", "repeated"),
    [
        ("--snr 0 5 10", "--snr=0 --snr=5 --snr=10"),
        ("--snr -5 0 5 10 20 inf", "--snr=-5 --snr=0 --snr=5 --snr=10 --snr=20 --snr=inf"),
        ("--snr=0,5,10", "--snr=0,5,10"),
        ("--snr=0 5", "--snr=0 --snr=5"),
        ("--snr 0,-5 -1.5e1", "--snr=0,-5 --snr=-1.5e1"),
        ("--snr -inf --listen", "--snr=-inf --listen"),
        ("--snr 0 5 -o out", "--snr=0 --snr=5 -o out"),
        ("--snr 0 --snr 5", "--snr=0 --snr=5"),
        ("--weights a b --data c", "--weights=a --weights=b --data c"),
        ("--data c --snr", "--data c --snr"),
    ],
)
def test_an_option_may_have_several_values(words, repeated):
    assert repeat_options(["noise-test", *words.split()]) == ["noise-test", *repeated.split()]


def test_the_options_of_other_commands_are_left_alone():
    for words in ([], ["--version"], ["eval", "--weights", "a", "b", "--snr", "5"]):
        assert repeat_options(words) == words


def test_ratios_are_read_from_words_and_commas():
    assert read_ratios(["0 5, 10"]) == read_ratios(["0,", "5", "10"]) == [0, 5, 10]
    assert read_ratios(["0,5", "10"]) == read_ratios(["0", "5", "10"]) == [0, 5, 10]


def test_an_unknown_metric_is_refused_with_the_known_ones(capsys):
    assert main(["noise-test", "--metric", "avsbench.g"]) == 2
    message, hint = capsys.readouterr().err.splitlines()
    assert message == "avseg: unknown metric 'avsbench.g'"
    assert set(re.findall(r"\w+\.\w+", hint)) == set(all_numbers())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_files_are_written_even_if_nothing_can_be_printed(clips, tmp_path, monkeypatch):
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        monkeypatch.setattr("sys.stdout", full)
        words = ["noise-test", "--data", str(clips), "--snr", "inf", "-o", str(tmp_path / "out")]
        assert main(words) == 1
    assert len(list((tmp_path / "out").iterdir())) == 4


@pytest.mark.slow
def test_a_sweep_prints_a_table_and_writes_tables_and_figures(clips, tmp_path, capsys):
    command = ["noise-test", "--data", str(clips), "--snr", "-5", "0", "inf", "--seeds", "2"]
    command += ["--noise", "babble", "--listen", "--metric", "tpavi.j"]  # its former name
    command += ["-o", str(tmp_path / "out")]
    assert main(command) == 0
    printed = capsys.readouterr()
    assert "lite on " in printed.err
    for word in ("noise: babble", "-5.00", "avsbench J", "mute"):
        assert word in printed.out
    rows = list(csv.DictReader((tmp_path / "out" / "noise.csv").read_text().splitlines()))
    assert [(row["snr_db"], row["seed"]) for row in rows] == [
        ("-5.0", "0"), ("-5.0", "1"), ("0.0", "0"), ("0.0", "1"), ("inf", "0"),
    ]  # fmt: skip
    numbers = json.loads((tmp_path / "out" / "noise.json").read_text())
    assert numbers["noise"] == "babble"
    assert numbers["models"]["lite"]["weights"] == "packaged"
    assert (tmp_path / "out" / "noise.png").read_bytes().startswith(b"\x89PNG")
    assert "</svg>" in (tmp_path / "out" / "noise.svg").read_text()
    assert main(command) == 1
    assert "noise.csv exists already" in capsys.readouterr().err


def test_scores_over_other_classes_are_told_of(clips, tmp_path, monkeypatch, capsys):
    class Model:
        device_name, num_frames = "paper", 5

        def __init__(self, weights, device, engine):
            self.model_name = weights.name
            self.classes = ("background", *weights.stem.split("-"))

        def predict(self, frames, log_mel):
            return np.zeros((len(frames), len(self.classes), 8, 8), np.float32)

    monkeypatch.setattr("avsegcli.inference.predictor.open_predictor", Model)
    files = [tmp_path / name for name in ("disc", "disc-star", "object")]
    for file in files:
        file.touch()
    words = ["noise-test", "--data", str(clips), "--snr", "inf", "--weights", *map(str, files)]
    assert main(words[:-1]) == 0
    assert "note" not in capsys.readouterr().err
    assert main([*words, words[-1]]) == 2
    assert "--weights names a file twice" in capsys.readouterr().err
    assert main(words) == 0
    said = (
        "note: not every mIoU is over the same classes: 5 for disc, 5 for disc-star, 2 for object"
    )
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("value", ["loud", "nan", "-inf", "5,,6", "1000", "-1e9"])
def test_what_is_no_ratio_is_two_lines_and_exit_code_2(value, capsys):
    assert main(["noise-test", "--snr", value]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[0].endswith("is no signal-to-noise ratio in dB")


def test_a_split_of_what_is_no_folder_is_refused(tmp_path, capsys):
    (tmp_path / "a.wav").touch()
    for noise in ("pink", "babble", str(tmp_path / "a.wav")):
        assert main(["noise-test", "--noise", noise, "--noise-split", "test"]) == 2
        assert f"--noise-split is of a folder, and {noise} is none" in capsys.readouterr().err


def test_noise_clips_and_weights_that_are_not_there_are_one_clear_line(tmp_path, capsys):
    for option in ("--noise", "--data", "--weights"):
        assert main(["noise-test", option, str(tmp_path / "none")]) == 1
        assert str(tmp_path / "none") in capsys.readouterr().err.splitlines()[0]
