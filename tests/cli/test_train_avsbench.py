"""Every preset, scaled down, trains on every subset of AVSBench and is scored on it."""

import csv
import json
import shutil

import pytest
from safetensors import safe_open

from avsegcli.cli.main import main
from avsegcli.config import DATASETS, PRESETS
from avsegcli.datasets.avsbench_classes import CLASSES
from avsegcli.inference.checkpoint import load_checkpoint
from avsegcli.model import backbone
from avsegcli.synthesis.fake_avsbench import write_fake
from avsegcli.synthesis.writer import write_avss

BACKBONES = {
    "resnet50": ("ResNet", {"depths": [1] * 4, "hidden_sizes": [16] * 4, "embedding_size": 8}),
    "swin-tiny": ("Swin", {"depths": [1] * 4, "num_heads": [1, 2, 4, 8], "embed_dim": 8}),
    "pvt-v2-b5": (
        "PvtV2",
        {
            "depths": [1] * 4,
            "hidden_sizes": [8] * 4,
            "num_attention_heads": [1] * 4,
            "mlp_ratios": [2] * 4,
        },
    ),
}


@pytest.fixture(autouse=True)
def _small_backbones(monkeypatch):
    monkeypatch.setattr(backbone, "_TRANSFORMERS", BACKBONES)


@pytest.fixture(scope="module")
def avsbench(tmp_path_factory):
    """AVSBench's root with three clips of each split in each subset; not to be changed."""
    root = tmp_path_factory.mktemp("AVSBench")
    for subset in DATASETS:
        write_fake(root, subset, clips=3)
    return root


@pytest.fixture
def train(avsbench, tiny_toml, tmp_path):
    """Run `avseg train` scaled down; returns the exit code."""
    options = ["--config", str(tiny_toml), "--device", "cpu", "--out", str(tmp_path / "run")]
    options += ["--set", "data.size=64", "--set", "data.batch_size=1"]

    def run(*arguments, root=avsbench):
        return main(["train", "--data-root", str(root), *options, *arguments])

    return run


@pytest.mark.parametrize("dataset", DATASETS)
@pytest.mark.parametrize("preset", PRESETS)
def test_each_preset_trains_and_is_scored_on_each_subset(
    train, avsbench, tmp_path, capsys, preset, dataset
):
    assert train("--dataset", dataset, "--preset", preset) == 0
    assert "3 batches of 1 clips an epoch, 3 clips to validate" in capsys.readouterr().err
    weights, scores = tmp_path / "run" / "best.safetensors", tmp_path / "scores.json"
    assert load_checkpoint(weights).classes == (
        CLASSES if dataset == "avss" else ("background", "object")
    )
    options = ["--weights", str(weights), "--data-root", str(avsbench), "--device", "cpu"]
    assert main(["eval", "--dataset", dataset, "--json", str(scores), *options]) == 0
    assert 0 <= json.loads(scores.read_text())["avsbench"]["j"] <= 1


@pytest.mark.parametrize("preset", ["r50", "swin-t"])
def test_s4_and_ms3_train_one_model_that_is_scored_on_each(
    train, avsbench, tmp_path, capsys, preset
):
    options = "--preset", preset, "--set", "data.repeats=[1,2]"
    assert train("--dataset", "s4+ms3", *options) == 0
    said = capsys.readouterr().err
    assert "9 batches of 1 clips an epoch, 6 clips to validate" in said
    assert "epoch 1, s4: J" in said
    assert "epoch 1, ms3: J" in said
    run = tmp_path / "run"
    with (run / "val_log.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    both = [float(row[f"{s}_avsbench_j"]) + float(row[f"{s}_miou_present"]) for s in ("s4", "ms3")]
    assert run_score(run) == pytest.approx(sum(both) / 2)
    for subset in ("s4", "ms3"):
        weights = "--weights", str(run / "best.safetensors"), "--device", "cpu"
        assert main(["eval", "--dataset", subset, "--data-root", str(avsbench), *weights]) == 0


def run_score(run):
    """The score that the header of a run's best checkpoint says it reached."""
    with safe_open(run / "best.safetensors", framework="pt") as file:
        return json.loads(file.metadata()["avseg"])["reached"]["score"]


def test_a_subset_brings_its_own_recipe(train, tmp_path):
    assert train("--dataset", "s4", "--preset", "r50", "--set", "optim.lr=5e-5") == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["classes"] == ["background", "object"]
    assert config["optim"]["milestones"] == [8, 10]
    with (tmp_path / "run" / "val_log.csv").open(newline="") as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["3"]


def test_a_folder_of_a_subset_has_its_recipe_and_what_compose_wrote_has_none(
    avsbench, toy_parts, tmp_path, capsys
):
    composed = tmp_path / "composed"
    write_avss(toy_parts, composed, splits=["test"], task="semantic", clips=1, seed=0, size=64)
    for folder, epochs in {
        avsbench / "AVSS": 16,
        avsbench / "Single-source": 13,
        composed: 13,
    }.items():
        assert main(["train", "--dataset", str(folder), "--preset", "r50", "--show-settings"]) == 0
        assert f"\nepochs = {epochs}\n" in capsys.readouterr().out


def test_what_has_no_effect_on_a_subset_is_said_in_one_line(train, capsys):
    settings = ["--set", "data.scene=0.5", "--set", "data.task=multi"]  # and those of the file
    assert train("--dataset", "s4", *settings) == 0
    notes = [line for line in capsys.readouterr().err.splitlines() if "no effect" in line]
    assert notes == [
        "note: data.num_frames, data.clips_per_epoch, data.task, data.scene have no effect on "
        "clips that are on disk"
    ]


def test_stored_log_mel_files_are_what_is_trained_and_validated_on(
    train, avsbench, tmp_path, capsys
):
    root = tmp_path / "root"
    shutil.copytree(avsbench, root)
    options = "--dataset", "s4", "--convention", "stored"
    assert train(*options, root=root) == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["data"]["convention"] == "stored"
    folders = root / "Single-source" / "s4_data" / "audio_log_mel"
    for split in ("val", "train"):  # neither can do without its files
        shutil.rmtree(folders / split)
        capsys.readouterr()
        assert train(*options, "--force", root=root) == 1
        assert "has no file of log-mel examples" in capsys.readouterr().err


def test_composed_clips_have_no_log_mel_files(train, toy_parts, tmp_path, capsys):
    assert train("--dataset", str(toy_parts), "--convention", "stored") == 2
    assert "have no log-mel files" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_subset_that_is_not_there_is_refused_before_anything_is_written(
    train, tmp_path, capsys, monkeypatch
):
    monkeypatch.delenv("AVSEG_DATA", raising=False)
    empty = tmp_path / "empty"
    empty.mkdir()
    for root, problem in {empty: "has no metadata.csv", tmp_path / "none": "is no folder"}.items():
        assert train("--dataset", "avss", root=root) == 1
        message, hint = capsys.readouterr().err.splitlines()
        assert str(root) in message
        assert problem in message
        assert "avseg data fake" in hint
    assert main(["train", "--dataset", "avss", "--out", str(tmp_path / "run")]) == 2
    assert "--data-root or AVSEG_DATA" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_damaged_clip_is_named_and_leaves_no_run(train, tmp_path, capsys):
    write_fake(tmp_path / "damaged", "ms3", clips=1, splits=("train", "val"))
    capsys.readouterr()
    picture = next((tmp_path / "damaged").rglob("train*_3.png"))
    picture.write_bytes(picture.read_bytes()[:50])
    for workers in ("0", "1"):
        arguments = "--dataset", "ms3", "--set", f"data.workers={workers}"
        assert train(*arguments, root=tmp_path / "damaged") == 1
        last = capsys.readouterr().err.splitlines()[-1]
        assert last.startswith("avseg: ")
        assert str(picture) in last
        assert not (tmp_path / "run").exists()


def test_weights_of_another_model_are_no_beginning(train, tmp_path, capsys):
    from safetensors.torch import load_file, save_file

    assert train("--dataset", "s4") == 0
    capsys.readouterr()
    state = load_file(tmp_path / "run" / "best.safetensors")
    save_file(state, tmp_path / "foreign.safetensors")
    assert train("--dataset", "s4", "--force", "--init", str(tmp_path / "foreign.safetensors")) == 1
    assert "is no checkpoint of avseg" in capsys.readouterr().err
