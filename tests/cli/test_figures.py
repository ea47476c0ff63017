"""The commands that draw what is inside a model, on toy clips with a model that knows nothing."""

import json
import re
import subprocess
import sys

import pytest
import torch

from avsegcli.cli.main import main
from avsegcli.inference.checkpoint import load_checkpoint

FILES = {
    "tsne": ("tsne.png", "tsne.svg", "tsne.json"),
    "codebook": ("codebook.png", "codebook.svg", "codebook.csv"),
    "panel": ("panel.png", "panel.svg"),
}


@pytest.fixture
def draw(single_clips, untrained):
    """Run a command on the toy clips; returns the exit code."""

    def run(command, *words):
        inputs = ["--data", str(single_clips), "--weights", str(untrained), "--device", "cpu"]
        return main([command, *inputs, *words])

    return run


@pytest.mark.parametrize("command", FILES)
def test_a_command_writes_its_files_and_replaces_them_only_by_force(
    draw, command, tmp_path, capsys
):
    words = [command, "-o", str(tmp_path)]
    words += ["--mixtures", "4"] if command == "tsne" else []
    assert draw(*words) == 0
    assert "untrained on cpu" in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == set(FILES[command])
    assert (tmp_path / FILES[command][0]).read_bytes().startswith(b"\x89PNG")
    assert draw(*words) == 1
    assert f"{FILES[command][0]} exists already" in capsys.readouterr().err
    assert draw(*words, "--force") == 0


@pytest.mark.parametrize("command", ["tsne", "codebook"])
def test_nothing_can_look_into_a_graph(command, single_clips, capsys):
    assert main([command, "--data", str(single_clips), "--weights", "model.onnx"]) == 2
    said, hint = capsys.readouterr().err.splitlines()
    assert said == "avseg: model.onnx is a graph, which nothing can look into"
    assert "checkpoint" in hint


def test_a_folder_that_cannot_be_made_is_one_clear_line(draw, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    assert draw("codebook", "-o", str(tmp_path / "file" / "figures")) == 1
    file = tmp_path / "file"
    message = f"avseg: cannot write {file}/figures/codebook.png: {file} is no folder"
    assert capsys.readouterr().err.splitlines()[0] == message


def test_without_matplotlib_only_files_are_refused(draw, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert draw("codebook") == 0
    capsys.readouterr()
    assert draw("codebook", "-o", str(tmp_path / "out")) == 1
    said, hint = capsys.readouterr().err.splitlines()
    assert said == "avseg: figures need matplotlib"
    assert re.fullmatch(r' +pip install "matplotlib>=\S+" "scikit-learn>=\S+"', hint)
    assert not (tmp_path / "out").exists()


def test_matplotlib_is_quiet_where_it_cannot_keep_a_cache(tmp_path):
    (tmp_path / "file").touch()
    program = "from avsegcli.analysis.plots import new_figure; new_figure(1, 1)"
    environment = {"HOME": str(tmp_path / "file"), "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_tsne_says_how_near_mixtures_lie_to_their_sources(
    single_clips, untrained, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("avsegcli.datasets.testset.packaged_testset", lambda: single_clips)
    words = ["--weights", str(untrained), "--device", "cpu", "--mixtures", "4"]
    assert main(["tsne", *words, "-o", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    numbers = json.loads((tmp_path / "tsne.json").read_text())
    for row in ("with", "without"):
        assert f"{numbers[row]['hits']:.3f}" in printed
    assert len(numbers["mixtures"]) == 4
    assert numbers["data"] == "packaged test set"


def test_without_output_only_a_table_is_printed(draw, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert draw("codebook") == 0
    assert "of 16 codewords are used" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


def test_classes_and_clips_that_are_not_there_are_one_clear_line(draw, tmp_path, capsys):
    assert draw("tsne", "--classes", "disc", "cello") == 2
    assert "is called 'cello'" in capsys.readouterr().err
    assert draw("tsne", "--classes", "disc") == 1
    assert "three classes need 2 clips each" in capsys.readouterr().err
    assert draw("panel", "--clips", "a", "b", "-o", str(tmp_path)) == 1
    assert "there is no clip 'a'" in capsys.readouterr().err


def test_models_of_one_name_are_told_apart_by_their_files(draw, untrained, tmp_path, capsys):
    other = tmp_path / "other.safetensors"
    other.write_bytes(untrained.read_bytes())
    assert load_checkpoint(other).name == "untrained"
    assert draw("panel", "--weights", str(other), "-o", str(tmp_path)) == 0
    where = f"on cpu, PyTorch, {torch.get_num_threads()} threads"
    assert capsys.readouterr().err == f"untrained {where}\nother {where}\n"
