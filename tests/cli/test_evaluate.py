import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import avsegcli.inference.predictor
from avsegcli.cli.main import main
from avsegcli.datasets.io import read_picture, write_picture
from avsegcli.errors import AvsegError
from avsegcli.evaluation.score_files import ScoreFiles
from avsegcli.synthesis.fake_avsbench import write_fake
from avsegcli.synthesis.toy import write_toy_parts
from avsegcli.synthesis.writer import write_avss

NAMED_IN = (".csv", ".json")  # what classes are named in


class PaintsRed:
    """A predictor for which what is red is the first class."""

    model_name = "paints-red"
    num_frames, threshold = 5, 0.5
    classes = ("background", "disc")

    def __init__(self, weights, device, engine):
        self.asked_for = weights, device, engine
        self.device_name = "paper" if engine == "auto" else engine

    def predict(self, frames, log_mel):
        red = np.stack(frames)[..., 0] / np.float32(255)
        return np.stack([1 - red, red], axis=1)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    root = tmp_path_factory.mktemp("eval")
    write_toy_parts(root / "parts")
    options = {"task": "semantic", "clips": 3, "seed": 1, "num_frames": 2, "size": 64}
    write_avss(root / "parts", root / "clips", splits=["test"], **options)
    return root / "clips"


@pytest.fixture(autouse=True)
def _predictor(monkeypatch):
    monkeypatch.setattr(avsegcli.inference.predictor, "open_predictor", PaintsRed)


def test_eval_prints_every_convention_and_writes_json(clips, tmp_path, capsys):
    json_file = tmp_path / "new" / "scores.json"
    assert main(["eval", "--data", str(clips), "--listen", "--json", str(json_file)]) == 0
    printed = capsys.readouterr()
    for word in ("avsbench", "avss", "pooled", "davis", "mute", "swap", "solo", "disc"):
        assert word in printed.out
    assert "paints-red on paper" in printed.err
    numbers = json.loads(json_file.read_text())
    assert (numbers["model"], numbers["split"]) == ("paints-red", "test")
    assert (numbers["weights"], len(numbers["sha256"])) == ("packaged", 64)
    assert numbers["summary"]["num_clips"] == 3
    assert numbers["listening"]["mute_clips"] == 3
    assert f"{numbers['avsbench']['j']:.4f}" in printed.out


def test_results_name_the_weights_by_file_and_content(clips, tmp_path):
    weights, file = tmp_path / "best.safetensors", tmp_path / "a.json"
    weights.write_bytes(b"abc")
    assert main(["eval", "--data", str(clips), "--weights", str(weights), "--json", str(file)]) == 0
    numbers = json.loads(file.read_text())
    assert numbers["weights"] == str(weights)
    assert numbers["sha256"].startswith("ba7816bf")


def test_listening_on_clips_without_classes_says_what_cannot_be_scored(fake_avsbench, capsys):
    words = ["eval", "--dataset", "ms3", "--data-root", str(fake_avsbench)]
    assert main([*words, "--listen"]) == 0
    assert "note: --listen gives mute only: swap and solo need classes" in capsys.readouterr().err
    assert main(words) == 0
    assert "note" not in capsys.readouterr().err


def test_names_of_classes_are_printed_as_they_are(clips, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(PaintsRed, "classes", ("background", "disc [/x] :car:"))
    shutil.copytree(clips, tmp_path / "clips")
    for path in (path for path in (tmp_path / "clips").rglob("*") if path.suffix in NAMED_IN):
        path.write_text(path.read_text().replace("disc", "disc [/x] :car:"))
    assert main(["eval", "--data", str(tmp_path / "clips")]) == 0
    assert "disc [/x] :car:" in capsys.readouterr().out


def test_the_engine_is_the_one_asked_for(clips, capsys):
    assert main(["eval", "--data", str(clips), "--engine", "openvino"]) == 0
    assert "paints-red on openvino" in capsys.readouterr().err


def test_listening_is_not_scored_unless_asked_for(clips, capsys):
    assert main(["eval", "--data", str(clips), "--f-group", "split", "--size", "native"]) == 0
    printed = capsys.readouterr().out
    assert "mute" not in printed
    assert "best threshold of the split" in printed


def test_an_older_json_file_is_replaced_only_by_force(clips, tmp_path, capsys):
    json_file = tmp_path / "scores.json"
    json_file.write_text("precious")
    arguments = ["eval", "--data", str(clips), "--json", str(json_file)]
    assert main(arguments) == 1
    assert capsys.readouterr().err == (
        f"avseg: {json_file} exists already\n       Add --force to replace it.\n"
    )
    assert json_file.read_text() == "precious"
    assert main([*arguments, "--force"]) == 0
    assert "avsbench" in json.loads(json_file.read_text())


def test_a_file_that_cannot_be_written_is_refused_before_anything_is_scored(
    clips, tmp_path, capsys
):
    in_the_way = tmp_path / "text"
    in_the_way.write_text("precious")
    file = in_the_way / "scores.json"
    assert main(["eval", "--data", str(clips), "--json", str(file)]) == 1
    told = capsys.readouterr()
    assert told.err.splitlines()[0] == f"avseg: cannot write {file}: {in_the_way} is no folder"
    assert told.out == ""
    assert main(["eval", "--data", str(clips), "--csv", str(tmp_path), "--force"]) == 1
    assert capsys.readouterr().err.splitlines()[0].endswith("it is a folder")


def test_a_missing_folder_and_an_empty_split_are_two_lines_and_exit_code_1(clips, capsys):
    assert main(["eval", "--data", str(clips / "missing")]) == 1
    assert capsys.readouterr().err.startswith(f"avseg: {clips / 'missing'} is no folder, and no")
    assert main(["eval", "--data", str(clips), "--split", "val"]) == 1
    assert capsys.readouterr().err == (
        f"avseg: {clips / 'metadata.csv'} has no clip of split 'val'\n       Splits it has: test.\n"
    )


@pytest.fixture(scope="module")
def fake_avsbench(tmp_path_factory):
    root = tmp_path_factory.mktemp("avsbench")
    write_fake(root, "ms3", clips=2, splits=["test"])
    return root


def test_a_subset_is_opened_by_name_below_the_data_root(fake_avsbench, monkeypatch, capsys):
    assert main(["eval", "--dataset", "ms3", "--data-root", str(fake_avsbench)]) == 0
    by_option = capsys.readouterr().out
    monkeypatch.setenv("AVSEG_DATA", str(fake_avsbench))
    assert main(["eval", "--dataset", "ms3"]) == 0
    assert capsys.readouterr().out == by_option
    assert main(["eval", "--dataset", "ms3", "--convention", "avsbench"]) == 0


def test_missing_data_says_where_to_ask_for_them_and_how_to_try_without(
    fake_avsbench, monkeypatch, capsys
):
    monkeypatch.delenv("AVSEG_DATA", raising=False)
    hint = "AVSBench is handed out on request: http"
    assert main(["eval", "--dataset", "ms3"]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first == "avseg: 'ms3' needs AVSBench: say where with --data-root or AVSEG_DATA"
    assert hint in second
    assert "avseg data fake" in second
    for root, said in {"nowhere": "is no folder", ".": "has no ms3_meta_data.csv"}.items():
        assert main(["eval", "--dataset", "ms3", "--data-root", root]) == 1
        first, second = capsys.readouterr().err.splitlines()
        assert said in first
        assert hint in second


def test_every_file_is_written_and_none_replaced(clips, tmp_path, capsys):
    endings = {"--json": "json", "--csv": "csv", "--sheet": "png", "--report": "html"}
    options = [word for option, end in endings.items() for word in (option, f"{tmp_path}/a.{end}")]
    assert main(["eval", "--dataset", str(clips), *options]) == 0
    assert {path.suffix[1:] for path in tmp_path.iterdir()} == set(endings.values())
    assert main(["eval", "--dataset", str(clips), "--report", f"{tmp_path}/a.html"]) == 1


def test_scores_are_printed_even_if_no_file_can_be_written(clips, tmp_path, monkeypatch, capsys):
    def write(*_):
        raise AvsegError("cannot write: no space left on device")

    monkeypatch.setattr(ScoreFiles, "write", write)
    assert main(["eval", "--dataset", str(clips), "--json", str(tmp_path / "a.json")]) == 1
    printed = capsys.readouterr()
    assert "avsbench" in printed.out
    assert printed.err.splitlines()[-1] == "avseg: cannot write: no space left on device"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_files_are_written_even_if_nothing_can_be_printed(clips, tmp_path, monkeypatch, capsys):
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        monkeypatch.setattr("sys.stdout", full)
        file = tmp_path / "a.json"
        assert main(["eval", "--dataset", str(clips), "--json", str(file)]) == 1
    assert "cannot write to standard output" in capsys.readouterr().err
    assert "avsbench" in json.loads(file.read_text())


def test_two_files_are_not_written_to_one_place(clips, tmp_path, capsys):
    words = ["--json", f"{tmp_path}/a", "--csv", f"{tmp_path}/no/../a"]
    assert main(["eval", "--dataset", str(clips), *words, "--force"]) == 2
    assert f"two files would be written to {tmp_path}/no/../a" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_masks_of_another_system_are_scored(clips, tmp_path, capsys):
    assert main(["eval", "--dataset", str(clips), "--import-preds", str(clips)]) == 0
    printed = capsys.readouterr()
    how = "RGB PNG in AVSBench's colours; frames counted from 0"
    assert printed.err.splitlines()[0] == f"masks of {clips}: {how}"
    assert "1.0000" in printed.out  # its own truth
    assert main(["eval", "--dataset", str(clips), "--import-preds", str(tmp_path)]) == 1
    for option in (
        ["--weights", "a"],
        ["--device", "cpu"],
        ["--engine", "torch"],
        ["--convention", "stored"],
        ["--listen"],
        ["--multi-gpu"],
    ):
        assert main(["eval", "--dataset", str(clips), "--import-preds", str(clips), *option]) == 2
        assert f"{option[0]} would have no effect" in capsys.readouterr().err


def test_results_of_another_system_name_no_weights_and_no_convention(clips, tmp_path):
    file = tmp_path / "a.json"
    words = ["eval", "--dataset", str(clips), "--import-preds", str(clips), "--json", str(file)]
    assert main(words) == 0
    numbers = json.loads(file.read_text())
    assert numbers["model"] == f"masks of {clips}"
    assert numbers["read_as"].startswith("RGB PNG")
    assert not {"weights", "convention"} & {*numbers}


def test_blended_colours_are_counted_if_the_nearest_is_taken(clips, tmp_path, capsys):
    shutil.copytree(clips, tmp_path / "preds")
    path = sorted((tmp_path / "preds").rglob("labels_rgb/0.png"))[0]
    labels = read_picture(path)
    labels[0, 0] = (0, 17, 0)
    write_picture(path, labels)
    words = ["eval", "--dataset", str(clips), "--import-preds", str(tmp_path / "preds")]
    assert main(words) == 1
    assert "RESIZE_PRED_MASK" in capsys.readouterr().err
    assert main([*words, "--nearest-colour", "--json", str(tmp_path / "a.json")]) == 0
    said = "pixels (0.01%) had a colour of no class"
    assert capsys.readouterr().err.splitlines()[-1].startswith("--nearest-colour: 1 of ")
    assert json.loads((tmp_path / "a.json").read_text())["nearest_colour"].endswith(said)
    assert main(["eval", "--dataset", str(clips), "--nearest-colour"]) == 2


def test_clips_without_a_coco_result_have_no_object(clips, tmp_path, capsys):
    names = sorted(path.name for path in (clips / "v1m").iterdir())
    words = ["eval", "--dataset", str(clips), "--import-preds", str(tmp_path)]
    result = {"category_id": 1, "segmentation": [[0, 0, 9, 0, 9, 9]]}
    for image, code in (f"{names[0]}/0", 0), ("another/0", 1):
        (tmp_path / "a.json").write_text(json.dumps([{**result, "image_id": image}]))
        assert main(words) == code
        others = names[1:] if code == 0 else names
        said = f"object in {len(others)} of {len(names)} clips, as '{others[0]}'"
        assert said in capsys.readouterr().err


def test_several_gpus_are_refused_where_there_are_none(clips, monkeypatch, capsys):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert main(["eval", "--dataset", str(clips), "--multi-gpu"]) == 2
    assert "torchrun" in capsys.readouterr().err


def test_processes_that_would_all_do_the_same_are_refused(clips, monkeypatch, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    assert main(["eval", "--dataset", str(clips)]) == 2
    assert "--multi-gpu shares the clips among them" in capsys.readouterr().err


def test_two_processes_write_what_one_writes(fake_avsbench, tmp_path):
    pytest.importorskip("accelerate")
    eval_words = ["-m", "avsegcli", "eval", "--dataset", "ms3", "--data-root", str(fake_avsbench)]
    launcher = ["-m", "torch.distributed.run", "--nproc_per_node", "2"]
    for name, before, after in (("one", [], []), ("two", launcher, ["--multi-gpu"])):
        file = tmp_path / f"{name}.json"
        words = [sys.executable, *before, *eval_words, *after, "--device", "cpu", "--json", file]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stderr.count("lite on cpu") == done.stdout.count("Evaluation") == 1
    assert (tmp_path / "two.json").read_text() == (tmp_path / "one.json").read_text()


DAMAGE = {
    "a damaged mask": ("ms3_data/gt_masks/test/*/*_2.png", b"no picture", "_2.png is no readable"),
    "a damaged frame": ("ms3_data/visual_frames/*/*_3.png", b"", "_3.png is no readable picture"),
    "a damaged sound": ("ms3_data/audio_wav/test/*.wav", b"x", ".wav is no readable sound file"),
    "a missing mask": ("ms3_data/gt_masks/test/*/*_1.png", None, "_1.png is missing"),
    "a table of something else": ("*.csv", b"\xff\xfe", "is no CSV table"),
    "no clips": ("*.csv", b"name,split\n", "has no clip of split 'test'"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_one_line_and_nothing_half_written(fake_avsbench, tmp_path, damage, capsys):
    shutil.copytree(fake_avsbench, tmp_path / "data")
    pattern, content, said = DAMAGE[damage]
    path = sorted((tmp_path / "data" / "Multi-sources").glob(pattern))[0]
    path.unlink() if content is None else path.write_bytes(content)
    arguments = ["eval", "--dataset", "ms3", "--data-root", str(tmp_path / "data")]
    assert main([*arguments, "--json", str(tmp_path / "out" / "a.json")]) == 1
    message = capsys.readouterr().err.replace("paints-red on paper\n", "").splitlines()
    assert said in message[0]
    assert len(message) <= 2  # and a hint
    assert not (tmp_path / "out").exists()


def test_a_wrong_option_is_exit_code_2(clips):
    assert main(["eval", "--data", str(clips), "--f-group", "clip"]) == 2


def test_every_headline_number_has_an_interval_in_table_json_csv_and_report(tmp_path, capsys):
    files = [tmp_path / f"scores.{kind}" for kind in ("json", "csv", "html")]
    options = [
        f"--{option}={file}" for option, file in zip(("json", "csv", "report"), files, strict=True)
    ]
    words = ["eval", "--bootstrap", "500", "--device", "cpu", *options]
    assert main(words) == 0
    printed = capsys.readouterr().out
    saved = json.loads(files[0].read_text())
    low, high = saved["intervals"]["avsbench.j"]
    assert low < saved["avsbench"]["j"] < high
    assert f"{low:.4f} to {high:.4f}" in printed
    assert f'avsbench,"J, 2.5 %",{low}' in files[1].read_text()
    assert f"{low:.4f} to {high:.4f}" in files[2].read_text()
    assert "500 resamples of 40 clips" in printed
