import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib

import pytest
import torch
from safetensors import safe_open

from avsegcli.cli.main import main
from avsegcli.inference.checkpoint import load_checkpoint
from avsegcli.model.audio_encoder import SmallAudioEncoder
from avsegcli.training import trainer

PROGRAM = """
from avsegcli.cli.main import script
from avsegcli.training import trainer

trainer.LOG_EVERY = 1
script()
"""


@pytest.fixture
def train(toy_parts, tiny_toml, tmp_path):
    """Run `avseg train` on the toy parts with a tiny model; returns the exit code."""

    def run(*arguments, data=toy_parts, out=tmp_path / "run"):
        options = ["--config", str(tiny_toml), "--device", "cpu", "--set", "model.backbone=small"]
        return main(["train", "--data", str(data), "--out", str(out), *options, *arguments])

    return run


@pytest.fixture(scope="module")
def finished(toy_parts, tiny_toml, tmp_path_factory):
    run = tmp_path_factory.mktemp("finished") / "run"
    options = ["--config", str(tiny_toml), "--device", "cpu", "--set", "model.backbone=small"]
    assert main(["train", "--data", str(toy_parts), "--out", str(run), *options]) == 0
    return run


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def two_lines(capsys):
    """The message and the hint of an error."""
    first, second = capsys.readouterr().err.splitlines()[-2:]
    assert first.startswith("avseg: ")
    assert second.startswith("       ")
    return first[len("avseg: ") :], second.strip()


def test_a_run_says_what_it_does_and_writes_a_checkpoint(train, tmp_path, capsys):
    assert train() == 0
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "training on cpu: 2 batches of 2 clips an epoch, 4 clips to validate" in printed.err
    assert "epoch 1: J " in printed.err
    loaded = load_checkpoint(tmp_path / "run" / "best.safetensors")
    assert loaded.classes == ("background", "disc", "square", "star", "triangle")
    assert loaded.name == "lite"


def test_a_run_is_neither_replaced_nor_resumed_unasked(train, finished, capsys):
    before = content(finished)
    assert train(out=finished) == 1
    message, hint = two_lines(capsys)
    assert message == f"{finished} holds a run already"
    assert hint == "--resume goes on with it, --force replaces it"
    assert content(finished) == before


def test_a_run_is_either_resumed_or_replaced(train, finished, capsys):
    before = content(finished)
    assert train("--resume", "--force", out=finished) == 2
    assert two_lines(capsys)[0] == "--resume and --force exclude each other"
    assert content(finished) == before


def test_an_output_that_is_no_folder_is_refused(train, tmp_path, capsys):
    file = tmp_path / "file"
    file.write_text("mine")
    for out in (file, file / "run"):
        assert train("--force", out=out) == 1
        assert two_lines(capsys)[0].endswith(f": {file} is no folder")
    assert file.read_text() == "mine"


def test_resume_goes_on_where_the_run_stood(train, tmp_path):
    assert train() == 0
    assert train("--resume", "--set", "optim.epochs=2") == 0
    scores = (tmp_path / "run" / "val_log.csv").read_text().splitlines()
    assert [line.split(",")[:2] for line in scores[1:]] == [["1", "2"], ["2", "4"]]


def test_resuming_with_other_settings_says_so_and_takes_them(train, tmp_path, capsys):
    trained = [
        *("--set=optim.backbone_lr_factor=0.25", "--set=optim.audio_lr_factor=0.1"),
        "--set=optim.frozen_affine=false",
    ]
    assert train(*trained) == 0
    capsys.readouterr()
    changes = {
        "loss.audio": (1.0, 0.0),
        "optim.lr": (0.0005, 1e-05),
        "optim.backbone_lr_factor": (0.25, 0.5),
        "optim.weight_decay": (0.01, 0.1),
        "optim.epochs": (1, 2),
    }
    settings = [f"--set={key}={after}" for key, (_, after) in changes.items()]
    assert train("--resume", *settings) == 0
    notes = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note: ")]
    assert notes == [
        f"note: {key} was {before}, is now {after}" for key, (before, after) in changes.items()
    ]
    groups = torch.load(tmp_path / "run" / "state.pt", weights_only=True)["optimizer"]
    used = {(group["factor"], group["weight_decay"]) for group in groups["param_groups"]}
    assert used == {(factor, decay) for factor in (0.1, 0.5, 1.0) for decay in (0.0, 0.1)}


def test_a_finished_run_says_that_nothing_is_left_to_do_and_stays_as_it_is(train, finished, capsys):
    before = content(finished)
    assert train("--resume", "--init", "none.safetensors", out=finished) == 0
    assert capsys.readouterr().err.splitlines() == [
        "note: --init has no effect on a run that goes on",
        f"nothing left to do: {finished} is at the end of epoch 1; more with --set optim.epochs",
    ]
    assert content(finished) == before


def test_resume_alone_goes_on_as_the_run_began(toy_parts, tiny_toml, tmp_path, capsys):
    run = tmp_path / "run"
    options = ["--config", str(tiny_toml), "--device", "cpu", "--preset", "r50"]
    small = ["--set", "model.backbone=small", "--set", "model.attention=plain"]
    assert main(["train", "--data", str(toy_parts), "--out", str(run), *options, *small]) == 0
    before = json.loads((run / "config.json").read_text())
    assert before["name"] == "r50"
    capsys.readouterr()
    assert main(["train", "--resume", str(run), "--set=optim.epochs=2", "--device=cpu"]) == 0
    notes = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note: ")]
    assert notes == ["note: optim.epochs was 1, is now 2"]
    assert json.loads((run / "config.json").read_text()) == before | {
        "optim": before["optim"] | {"epochs": 2}
    }
    assert load_checkpoint(run / "last.safetensors").name == "r50"


def test_random_weights_are_warned_of_at_the_start_and_at_the_end(
    toy_parts, tiny_toml, tmp_path, capsys
):
    options = ["--config", str(tiny_toml), "--device", "cpu", "--preset", "r50"]
    small = ["--set", "model.backbone=small", "--set", "model.attention=plain"]
    run = ["--data", str(toy_parts), "--out", str(tmp_path / "run")]
    assert main(["train", *run, *options, *small]) == 0
    lines = capsys.readouterr().err.splitlines()
    (first, last) = (n for n, line in enumerate(lines) if "the audio encoder has random" in line)
    assert lines[first].startswith("WARNING: ")
    assert "and is frozen; --audio-weights takes" in lines[first]
    assert last == len(lines) - 1
    assert re.search(r"will hold best\.safetensors \([\d.]+ GB\)", "\n".join(lines[:first]))


def test_a_run_that_is_resumed_is_named_once(train, finished, capsys):
    assert train("--resume", str(finished)) == 2
    assert two_lines(capsys)[1] == "Name the run once."


def test_a_setting_that_a_run_cannot_go_on_with_is_named(finished, capsys):
    assert main(["train", "--resume", str(finished), "--set", "model.hidden_dim=32"]) == 1
    message, hint = two_lines(capsys)
    assert message.endswith("other settings: model.hidden_dim was 16, is now 32")
    assert hint.startswith(f"'avseg train --resume {finished}' alone")
    assert main(["train", "--resume", str(finished), "--set", "data.batch_size=4"]) == 1
    assert "data.batch_size was 2, is now 4" in two_lines(capsys)[0]


def test_the_settings_of_a_run_can_be_taken_for_another(train, finished, tmp_path, capsys):
    config = ["--config", str(finished / "config.json"), "--show-settings"]
    assert main(["train", "--preset", "r50", *config]) == 0
    shown = tomllib.loads(capsys.readouterr().out)
    saved = json.loads((finished / "config.json").read_text())
    assert shown == {table: saved[table] for table in ("model", "loss", "data", "optim")}


def test_a_setting_without_its_table_is_found(capsys):
    assert main(["train", "--set", "seed=1", "--show-settings"]) == 2
    assert two_lines(capsys)[0] == "unknown key 'seed', did you mean 'optim.seed'?"
    assert main(["train", "--set", "size=96", "--show-settings"]) == 2
    assert "did you mean 'model.size' or 'data.size'?" in two_lines(capsys)[0]


def test_scores_never_replace_the_files_of_a_run(finished, tmp_path, capsys):
    before = content(finished)
    for option, name in (("--csv", "val_log.csv"), ("--json", "config.json")):
        file = str(finished / name)
        assert main(["eval", option, file, "--force", "--device", "cpu"]) == 1
        assert two_lines(capsys)[0] == f"{file} belongs to the training run in {finished}"
    assert content(finished) == before


def test_a_run_goes_on_beside_scores_with_the_names_of_older_logs(finished, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    (run / "log.csv").write_text("step,epoch,loss\n1,0,3.0\n")  # as older versions called it
    (run / "scores.csv").write_text("scope,name,convention,metric,value\n")
    assert main(["train", "--resume", str(run), "--set=optim.epochs=2", "--device=cpu"]) == 0
    assert (run / "scores.csv").read_text() == "scope,name,convention,metric,value\n"
    assert not (run / "log.csv").exists()
    assert "1,0,3.0" in (run / "train_log.csv").read_text()
    assert len((run / "val_log.csv").read_text().splitlines()) == 3


def test_settings_can_be_shown_without_training(train, tmp_path, capsys):
    assert train("--show-settings", "--set", "optim.lr=1e-5") == 0
    shown = tomllib.loads(capsys.readouterr().out)
    assert main(["train", "--show-settings"]) == 0  # as the hint beside a wrong setting says
    assert shown["optim"]["lr"] == 1e-5
    assert shown["model"]["hidden_dim"] == 16
    assert not (tmp_path / "run").exists()


def test_training_needs_data(capsys):
    assert main(["train"]) == 2
    assert two_lines(capsys)[0] == "training needs --dataset"


def test_a_run_keeps_what_it_began_with(train, finished, toy_parts, tmp_path, capsys):
    init, other = finished / "best.safetensors", tmp_path / "other"
    assert train("--init", str(init)) == 0
    shutil.copytree(toy_parts, other)
    capsys.readouterr()
    assert train("--resume", "--set", "optim.epochs=2", data=other) == 0
    assert f"note: dataset was {toy_parts}, is now {other}" in capsys.readouterr().err
    origin = json.loads((tmp_path / "run" / "config.json").read_text())["origin"]
    assert origin == {
        "dataset": str(other),
        "data_root": None,
        "init": str(init),
        "backbone_weights": None,
        "audio_weights": None,
    }


def test_a_checkpoint_says_where_its_run_stood(finished):
    with safe_open(finished / "best.safetensors", framework="pt") as file:
        reached = json.loads(file.metadata()["avseg"])["reached"]
    (row,) = csv.DictReader((finished / "val_log.csv").read_text().splitlines())
    score = float(row["avsbench_j"]) + float(row["miou_present"])
    assert reached == {"epoch": 1, "step": 2, "score": pytest.approx(score)}


@pytest.mark.parametrize("option", [["--resume"], []])
def test_checkpoints_without_a_state_are_no_run_to_go_on_with(
    train, finished, tmp_path, capsys, option
):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    (run / "state.pt").unlink()
    assert train(*option) == 1
    assert two_lines(capsys) == (
        f"{run} holds a run, but no state to go on from",
        f"--force begins anew, --force --init {run}/last.safetensors from its weights",
    )


@pytest.mark.parametrize("option", ["--resume", "--force"])
def test_what_a_killed_run_was_writing_is_removed(train, finished, tmp_path, option):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    (run / ".avseg-0123456789ab.pt").touch()
    (run / ".avseg-of-others").mkdir()
    assert train(option) == 0
    assert [path.name for path in run.glob(".avseg-*")] == [".avseg-of-others"]


def test_resuming_what_is_not_there_is_refused(train, tmp_path, capsys):
    assert train("--resume") == 1
    assert two_lines(capsys)[0] == f"no state to resume in {tmp_path / 'run'}"


def test_force_replaces_the_run_and_nothing_else_in_its_folder(train, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    for name in ("notes.txt", "best.safetensors", "val_log.csv"):
        (run / name).write_text("older")
    assert train("--force") == 0
    assert (run / "notes.txt").read_text() == "older"
    assert "older" not in (run / "val_log.csv").read_text()
    load_checkpoint(run / "best.safetensors")


def test_force_may_begin_from_the_checkpoint_that_it_replaces(train, finished, tmp_path, capsys):
    run = tmp_path / "run"
    run.mkdir()
    best = run / "best.safetensors"
    best.write_bytes((finished / "best.safetensors").read_bytes())
    assert train("--force", "--init", str(best)) == 0
    assert f"tensors from {best}" in capsys.readouterr().err


def test_a_mistake_beside_force_does_not_cost_the_older_run(train, finished, tmp_path, capsys):
    before = content(finished)
    assert train("--force", "--init", str(tmp_path / "none.safetensors"), out=finished) == 1
    assert two_lines(capsys)[0] == f"no weights at {tmp_path / 'none.safetensors'}"
    assert content(finished) == before


def test_weights_are_told_of_by_the_name_that_was_given(train, tmp_path, capsys, monkeypatch):
    fitting = SmallAudioEncoder().state_dict()
    torch.save(fitting, tmp_path / "file.pth")
    files = {"vggish": tmp_path / "file.pth"}
    monkeypatch.setattr("avsegcli.training.run.find", lambda path: files.get(str(path), path))
    assert train("--audio-weights", "vggish") == 0
    assert "audio encoder from vggish" in capsys.readouterr().err.splitlines()


@pytest.mark.parametrize("option", ["--audio-weights", "--backbone-weights"])
def test_weights_that_do_not_fit_are_refused(train, finished, tiny_toml, tmp_path, capsys, option):
    for path, reason in {
        tmp_path / "none.pth": "no weights at",
        tiny_toml: "cannot read the weights",
        finished / "best.safetensors": "",
    }.items():
        assert train(option, str(path)) == 1
        lines = capsys.readouterr().err.splitlines()
        errors = [line for line in lines if line.startswith("avseg: ")]
        assert len(errors) == 1
        assert str(path) in errors[0]
        assert reason in errors[0]
        assert lines.index(errors[0]) >= len(lines) - 2  # at most a hint follows
    assert not (tmp_path / "run").exists()


def test_an_unknown_setting_gets_a_suggestion_and_exit_code_2(train, tmp_path, capsys):
    assert train("--set", "optim.epoch=3") == 2
    message, hint = two_lines(capsys)
    assert message == "unknown key 'optim.epoch', did you mean 'optim.epochs'?"
    assert hint
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--set", "optim.lr=fast"],
        ["--set", "optim.lr"],
        ["--set", "model.backbone=resnet51"],
        ["--set", "model.quantization=false", "--set", "model.decomposition=false"],
        ["--preset", "heavy"],
        ["--device", "toaster"],
    ],
)
def test_a_wrong_setting_is_two_lines_or_one_and_exit_code_2(train, tmp_path, capsys, arguments):
    assert train(*arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("avseg: ")
    assert len(lines) <= 2
    assert not (tmp_path / "run").exists()


def test_what_is_no_data_is_refused_in_two_lines(train, tmp_path, capsys):
    empty = tmp_path / "empty"
    empty.mkdir()
    for folder in (tmp_path / "missing", empty):
        assert train(data=folder) == 1
        assert str(folder) in two_lines(capsys)[0]
    assert not (tmp_path / "run").exists()


def test_an_epoch_smaller_than_a_batch_is_refused(train, capsys):
    assert train("--set", "data.batch_size=5") == 1
    assert two_lines(capsys) == (
        "4 clips an epoch are fewer than one batch of 5",
        "lower it with --set data.batch_size=1",
    )


def test_too_little_memory_is_two_lines(train, capsys, monkeypatch):
    def step(_trainer, _batches):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(trainer.Trainer, "step", step)
    assert train() == 1
    assert two_lines(capsys)[0].startswith("not enough memory: CUDA out of memory")


def test_ctrl_c_ends_with_130_and_can_be_resumed(train, tmp_path, capsys, monkeypatch):
    from avsegcli.training.data import ComposedData

    batches = ComposedData.batches

    def interrupted(self, epoch, skip=0):
        yield next(batches(self, epoch, skip))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ComposedData, "batches", interrupted)
        assert train() == 130
    assert "stopped at step 1; go on with --resume" in capsys.readouterr().err
    assert train("--resume") == 0
    assert (tmp_path / "run" / "last.safetensors").exists()


def test_a_run_that_is_asked_to_end_saves_its_last_step(toy_parts, tiny_toml, tmp_path):
    """As Slurm asks at the end of the time: all processes of the job at once."""
    command = [sys.executable, "-c", PROGRAM, "train", "--data", str(toy_parts), "--device", "cpu"]
    command += ["--config", str(tiny_toml), "--out", str(tmp_path / "run")]
    command += ["--set", "data.clips_per_epoch=4000", "--set", "data.workers=1"]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as run:
        said = []
        for line in run.stderr:
            said.append(line)
            if line.startswith("step 2/"):
                os.killpg(run.pid, signal.SIGTERM)
    assert run.returncode == 128 + signal.SIGTERM, "".join(said)
    stopped = re.fullmatch(r"stopped at step (\d+); go on with --resume .*\n", said[-1])
    state = torch.load(tmp_path / "run" / "state.pt", weights_only=True)
    assert state["progress"]["step"] == int(stopped[1]) >= 2
    assert [path.name for path in (tmp_path / "run").glob(".*")] == []
