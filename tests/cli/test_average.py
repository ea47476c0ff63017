import csv

import pytest
import torch
from safetensors.torch import load_file

from avsegcli.cli.main import main
from avsegcli.inference.checkpoint import load_checkpoint, read_header


@pytest.fixture(scope="module")
def run(toy_parts, tiny_toml, tmp_path_factory):
    """A run of the preset r50, scaled down, with a moving average and its two best epochs."""
    out = tmp_path_factory.mktemp("average") / "run"
    words = ["train", "--preset", "r50", "--data", str(toy_parts), "--out", str(out)]
    words += ["--config", str(tiny_toml), "--device", "cpu", "--keep-best", "2"]
    words += ["--set", "model.backbone=small", "--set", "model.attention=plain"]
    words += ["--set", "optim.ema_decay=0.9", "--set", "optim.epochs=3", "--log-with=tensorboard"]
    assert main(words) == 0
    return out


def test_the_best_epochs_are_kept(run):
    with (run / "val_log.csv").open(newline="") as file:
        scores = {
            int(row["epoch"]): float(row["avsbench_j"]) + float(row["miou_present"])
            for row in csv.DictReader(file)
        }
    kept = {read_header(path)["reached"]["epoch"] for path in (run / "epochs").iterdir()}
    assert len(kept) == 2
    assert sorted(scores[epoch] for epoch in kept) == pytest.approx(sorted(scores.values())[1:])


def test_the_moving_average_of_any_preset_is_what_is_validated_and_saved(run):
    state = torch.load(run / "state.pt", weights_only=True)
    saved = load_checkpoint(run / "last.safetensors").model.state_dict()
    averaged = state["average"]["state"]
    assert all(torch.equal(saved[key], averaged[key]) for key in saved)
    assert any(not torch.equal(saved[key], state["model"][key]) for key in saved)


def test_trackers_are_told_what_the_logs_say(run):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = next((run / "trackers").rglob("events*")).parent
    events = EventAccumulator(str(folder)).Reload()
    assert "val/avsbench_j" in events.Tags()["scalars"]
    with (run / "val_log.csv").open(newline="") as file:
        expected = [float(row["avsbench_j"]) for row in csv.DictReader(file)]
    found = [event.value for event in events.Scalars("val/avsbench_j")]
    assert found == pytest.approx(expected, abs=1e-6)


def test_the_average_of_a_run_is_the_mean_of_its_best_epochs(run, tmp_path, capsys):
    output = tmp_path / "mean.safetensors"
    assert main(["average", str(run), "-o", str(output)]) == 0
    mean = load_file(output)
    parts = [load_file(path) for path in (run / "epochs").iterdir()]
    for key, value in mean.items():
        if value.is_floating_point():
            expected = torch.stack([part[key].double() for part in parts]).mean(0)
            torch.testing.assert_close(value.double(), expected, rtol=1e-6, atol=1e-7)
    assert main(["average", str(run), "-o", str(output)]) == 1
    assert "exists already" in capsys.readouterr().err
    files = [str(path) for path in (run / "epochs").iterdir()]
    assert main(["average", *files, "-o", str(output), "--force"]) == 0


def test_what_has_no_average_is_refused(run, untrained, tmp_path, capsys):
    output = tmp_path / "mean.safetensors"
    for words, problem in (
        ([str(run / "last.safetensors")], "one checkpoint alone"),
        ([str(run / "last.safetensors"), str(untrained)], "is of another model"),
        ([str(run), "--best", "3"], "keeps 2 checkpoints"),
        ([str(run / "last.safetensors"), "--best", "2"], "--best is of the folder of a run"),
    ):
        assert main(["average", *words, "-o", str(output)]) in (1, 2)
        assert problem in capsys.readouterr().err
        assert not output.exists()


def test_a_run_is_plotted(run, tmp_path, capsys):
    assert main(["plot", str(run), "-o", str(tmp_path)]) == 0
    assert (tmp_path / "training.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "training.svg").exists()
    assert main(["plot", str(tmp_path), "-o", str(tmp_path / "b")]) == 1
    assert "has no logs of a run" in capsys.readouterr().err


def test_an_unknown_or_missing_tracker_is_told_before_anything_is_written(
    toy_parts, tmp_path, capsys
):
    words = ["train", "--data", str(toy_parts), "--out", str(tmp_path / "run"), "--log-with"]
    assert main([*words, "tensorbord"]) == 2
    assert "unknown tracker 'tensorbord'" in capsys.readouterr().err
    assert main([*words, "clearml"]) == 1
    assert "clearml is not installed" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
