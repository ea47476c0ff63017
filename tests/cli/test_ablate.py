import csv
import json
import sys
from types import SimpleNamespace

import pytest

from avsegcli.analysis import ablation
from avsegcli.analysis.separate_first import SeparateFirst
from avsegcli.cli.main import main
from avsegcli.inference.checkpoint import load_checkpoint
from avsegcli.synthesis.fake_avsbench import write_fake
from avsegcli.training import data, run


@pytest.fixture
def ablate(toy_parts, tiny_toml, tmp_path, monkeypatch):
    """Run `avseg ablate` on the toy parts with a tiny model; returns the exit code."""
    monkeypatch.setattr(ablation, "THRESHOLDS", (0.2, 0.5))
    monkeypatch.setattr(data, "VALIDATION_CLIPS", (1, 1))
    monkeypatch.setattr(run, "_packaged_efficientnet", lambda: None)
    command = ["ablate", "--data", str(toy_parts), "-o", str(tmp_path / "out"), "--clips", "1"]
    command += ["--config", str(tiny_toml), "--device", "cpu", "--seeds", "1"]
    command += [
        "--set",
        "model.backbone=small",
        "--set",
        "model.num_tokens=2",
        "--set",
        "data.clips_per_epoch=2",
    ]
    return lambda *words: main([*command, *words])


def test_every_row_is_trained_and_scored_beside_the_paper(ablate, tmp_path, capsys):
    assert ablate("--sets", "semantic", "--rows", "1", "2", "6") == 0
    printed = capsys.readouterr()
    assert "row 6 (+ calibration), semantic, seed 0" in printed.err
    for word in ("separate first", "61.6", "33.5"):
        assert word in printed.out
    results = json.loads((tmp_path / "out" / "ablation.json").read_text())
    assert [(result["row"], result["set"]) for result in results] == [
        (row, "semantic") for row in ("1", "2", "6")
    ]
    with (tmp_path / "out" / "ablation.csv").open() as file:
        assert [float(row["miou"]) for row in csv.DictReader(file)] == [
            result["miou"] for result in results
        ]
    runs = tmp_path / "out" / "semantic"
    switches = [
        [getattr(load_checkpoint(runs / run / "best.safetensors").config, name)
         for name in ablation.SWITCHES]
        for run in ("row1-seed0", "row6-seed0")
    ]  # fmt: skip
    assert switches == [[False] * 4, [True] * 4]
    assert not (runs / "row2-seed0" / "best.safetensors").exists()


def test_row_2_separates_and_each_row_has_the_threshold_that_is_best_on_val(
    ablate, tmp_path, monkeypatch
):
    evaluate, asked = ablation.evaluate, []

    def note(predictor, clips):
        separates = isinstance(predictor, SeparateFirst)
        model = predictor._predictor if separates else predictor
        asked.append((separates, model.config.class_threshold, clips[0].name.split("_")[0]))
        return evaluate(predictor, clips)

    found = iter((0.1, 0.7, 0.2, 0.4, 0.3, 0.5))  # of the thresholds, for row 1, then row 2
    monkeypatch.setattr(ablation, "evaluate", note)
    monkeypatch.setattr(ablation, "Trainer", SimpleNamespace(score=lambda _: next(found)))
    monkeypatch.setattr(ablation, "THRESHOLDS", (0.2, 0.3, 0.5))
    assert ablate("--sets", "semantic", "--rows", "1", "2") == 0
    assert asked == [
        *((False, threshold, "val") for threshold in (0.2, 0.3, 0.5)),
        (False, 0.3, "test"),
        *((True, threshold, "val") for threshold in (0.2, 0.3, 0.5)),
        (True, 0.5, "test"),
    ]
    results = json.loads((tmp_path / "out" / "ablation.json").read_text())
    assert [result["threshold"] for result in results] == [0.3, 0.5]


def test_rows_are_scored_on_other_clips_too_and_not_trained_again(ablate, tmp_path, capsys):
    words = ["--sets", "semantic", "--rows", "1"]
    assert ablate(*words) == 0
    weights = tmp_path / "out" / "semantic" / "row1-seed0" / "best.safetensors"
    before = weights.stat().st_mtime_ns
    capsys.readouterr()
    assert ablate(*words, "--score-on", "single", "semantic") == 0
    assert weights.stat().st_mtime_ns == before
    results = json.loads((tmp_path / "out" / "ablation.json").read_text())
    assert [(result["set"], result["scored_on"]) for result in results] == [
        ("semantic", "semantic"),
        ("semantic", "single"),
    ]
    table = capsys.readouterr().out.split("trained on semantic clips, scored on single")[1]
    line = next(line for line in table.splitlines() if "no decomposition" in line)
    cells = [cell.strip() for cell in line.strip("│").split("│")]
    scores = [f"{results[1][name]:.1f}" for name in ("j_and_f", "j", "f", "miou")]
    assert cells == ["1", "no decomposition", *scores]


def test_every_row_begins_with_the_encoders_of_a_checkpoint(ablate, tmp_path):
    assert ablate("--sets", "multi", "--rows", "6", "--set", "optim.seed=1") == 0
    earlier = tmp_path / "out" / "multi" / "row6-seed0" / "best.safetensors"
    words = ["--sets", "semantic", "--rows", "1", "--init", str(earlier)]
    words += ["-o", str(tmp_path / "later")]
    frozen = ["--set", "optim.backbone_lr_factor=0.0", "--set", "optim.audio_lr_factor=0.0"]
    assert ablate(*words, *frozen, "--set", "optim.warmup_steps=1000000") == 0
    later = tmp_path / "later" / "semantic" / "row1-seed0" / "best.safetensors"
    first, second = (load_checkpoint(path).model.state_dict() for path in (earlier, later))
    gaps = {
        key: float((first[key] - second[key]).abs().max())
        for key in second
        if first[key].is_floating_point() and key.endswith("weight")
    }
    encoders = {key for key in gaps if key.split(".")[0] in ablation.ENCODERS}
    assert max(gaps[key] for key in encoders) < 1e-6
    assert max(gaps[key] for key in gaps.keys() - encoders) > 1e-2


def test_what_is_done_is_not_done_again(ablate, tmp_path, monkeypatch, capsys):
    train = ablation.start_training
    runs = []

    def interrupted(config, parts, out, **options):
        runs.append((out.name, options["resume"]))
        train(config, parts, out, **options)
        if runs == [("row1-seed0", False)]:
            raise KeyboardInterrupt

    monkeypatch.setattr(ablation, "start_training", interrupted)
    words = ["--sets", "multi", "--rows", "1", "3"]
    assert ablate(*words) == 130
    assert ablate(*words) == 0
    assert runs == [("row1-seed0", False), ("row1-seed0", True), ("row3-seed0", False)]
    assert ablate(*words) == 0
    assert len(runs) == 3


def test_models_whose_state_is_gone_are_scored_not_trained_anew(ablate, tmp_path):
    words = ["--sets", "semantic", "--rows", "1"]
    assert ablate(*words) == 0
    run = tmp_path / "out" / "semantic" / "row1-seed0"
    (run / "state.pt").unlink()
    before = (run / "best.safetensors").stat().st_mtime_ns
    assert ablate(*words, "--clips", "2") == 0
    assert (run / "best.safetensors").stat().st_mtime_ns == before
    results = json.loads((tmp_path / "out" / "ablation.json").read_text())
    assert [result["clips"] for result in results] == [2]


def test_rows_that_began_otherwise_are_refused(ablate, tmp_path, capsys):
    words = ["--sets", "semantic", "--rows", "1"]
    assert ablate(*words) == 0
    capsys.readouterr()
    assert ablate(*words, "--set", "optim.lr=0.5") == 2
    run = tmp_path / "out" / "semantic" / "row1-seed0"
    assert (
        capsys.readouterr().err.splitlines()[0] == f"avseg: {run}: optim.lr was 0.0005, is now 0.5"
    )
    best = run / "best.safetensors"
    assert ablate(*words, "--init", str(best)) == 2
    message = f"avseg: {tmp_path / 'out'}: init was None, is now {best}"
    assert capsys.readouterr().err.splitlines()[0] == message


def test_a_row_that_is_named_twice_is_one_row(ablate, tmp_path):
    assert ablate("--sets", "semantic", "semantic", "--rows", "1", "1") == 0
    assert len(json.loads((tmp_path / "out" / "ablation.json").read_text())) == 1


def test_without_scikit_learn_row_2_is_refused_before_anything_is_trained(
    ablate, tmp_path, monkeypatch, capsys
):
    monkeypatch.setitem(sys.modules, "sklearn.decomposition", None)
    assert ablate("--rows", "1", "2") == 1
    assert capsys.readouterr().err.splitlines()[0] == "avseg: separation needs scikit-learn"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("rows", "message"),
    [(["2", "6"], "row 2 asks the model of row 1"), (["1", "7"], "Table 2 has no row 7")],
)
def test_rows_that_cannot_be_had_are_refused(ablate, tmp_path, rows, message, capsys):
    assert ablate("--rows", *rows) == 2
    assert capsys.readouterr().err.splitlines()[0] == f"avseg: {message}"
    assert not (tmp_path / "out").exists()


def test_what_is_no_parts_folder_is_refused_before_anything_is_trained(ablate, tmp_path, capsys):
    assert ablate("--data", str(tmp_path / "none")) == 1
    assert (
        capsys.readouterr().err.splitlines()[0]
        == f"avseg: {tmp_path / 'none'}: no such parts folder"
    )
    assert not (tmp_path / "out").exists()


def test_what_is_no_checkpoint_is_refused_before_anything_is_trained(ablate, tmp_path, capsys):
    assert ablate("--init", str(tmp_path / "none.safetensors")) == 1
    assert "none.safetensors" in capsys.readouterr().err.splitlines()[0]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("dataset", ["s4+ms3", "avss"])
def test_rows_are_trained_and_scored_on_avsbench(tiny_toml, tmp_path, monkeypatch, capsys, dataset):
    monkeypatch.setattr(ablation, "THRESHOLDS", (0.2, 0.5))
    root, out, parts = tmp_path / "AVSBench", tmp_path / "out", dataset.split("+")
    for subset in parts:
        write_fake(root, subset, clips=3)
    command = ["ablate", "--dataset", dataset, "--data-root", str(root), "-o", str(out)]
    command += ["--rows", "1", "3", "3b", "--seeds", "1"]
    command += ["--config", str(tiny_toml), "--set", "data.repeats=[1,1]", "--device", "cpu"]
    assert main(command) == 0
    printed = capsys.readouterr()
    for word in ("33.5", "39.4", "all but quantization", "3b"):
        assert word in printed.out
    results = json.loads((out / "ablation.json").read_text())
    assert [(r["row"], r["scored_on"], r["clips"]) for r in results] == [
        (row, subset, 3) for row in ("1", "3", "3b") for subset in parts
    ]
    on = {}
    for row in ("3", "3b"):
        best = out / dataset / f"row{row}-seed0" / "best.safetensors"
        on[row] = [getattr(load_checkpoint(best).config, name) for name in ablation.SWITCHES]
    assert on == {"3": [True, False, False, False], "3b": [True, False, True, True]}
    model = out / dataset / "row1-seed0" / "best.safetensors"
    score = ["eval", "--dataset", parts[0], "--data-root", str(root), "--weights", str(model)]
    scores = tmp_path / "row2.json"
    assert main([*score, "--separate-first", "2", "--json", str(scores), "--device", "cpu"]) == 0
    assert "separate_first" in scores.read_text()
