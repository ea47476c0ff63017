import csv
import io
import json
import shutil

import pytest

from avsegcli.cli.main import main
from avsegcli.inference.checkpoint import load_checkpoint, save_checkpoint
from avsegcli.synthesis.fake_avsbench import write_fake


@pytest.fixture(scope="module")
def scored(untrained, tmp_path_factory):
    """Two models and their scores on four clips; not to be changed."""
    folder = tmp_path_factory.mktemp("scored")
    write_fake(folder / "AVSBench", "s4", clips=4, splits=["test"])
    loaded = load_checkpoint(untrained)
    save_checkpoint(folder / "b.safetensors", loaded.model, loaded.config, loaded.classes, name="b")
    shutil.copy(untrained, folder / "a.safetensors")
    for name in "ab":
        words = ["eval", "--weights", str(folder / f"{name}.safetensors"), "--dataset", "s4"]
        words += ["--data-root", str(folder / "AVSBench"), "--device", "cpu", "--bootstrap", "10"]
        assert main([*words, "--json", str(folder / f"{name}.json")]) == 0
    values = json.loads((folder / "b.json").read_text())
    for clip in values["clips"]:  # a model that is better by 0.1 in every frame, and more in one
        gain = 0.3 if clip["name"] == values["clips"][2]["name"] else 0.1
        clip["avsbench_j"] += gain
        clip["sums"]["avsbench.j"][0] += gain * clip["sums"]["avsbench.j"][1]
    values["avsbench"]["j"] += 0.15
    (folder / "better.json").write_text(json.dumps(values))
    return folder


def test_a_difference_comes_with_the_interval_of_a_paired_bootstrap(scored, tmp_path, capsys):
    a, better = scored / "a.json", scored / "better.json"
    assert main(["compare", str(a), str(better), "--json", str(tmp_path / "c.json")]) == 0
    printed = capsys.readouterr().out
    said = json.loads((tmp_path / "c.json").read_text())
    j = said["differences"][0]["avsbench.j"]
    assert j["difference"] == pytest.approx(0.15)
    low, high = j["interval"]
    assert low == pytest.approx(0.1)
    assert 0.2 < high < 0.3
    assert said["differences"][0]["davis.j"] == {"difference": 0, "interval": [0, 0]}
    assert "+0.1500 *" in printed
    assert f"{low:+.4f} to {high:+.4f}" in printed
    names = [clip["name"] for clip in json.loads(a.read_text())["clips"]]
    assert said["clips"][0][0]["clip"] == names[2]
    assert f"│ {names[2]} │ 0.0000 │ 0.3000 │    +0.3000 │" in printed


def test_scores_of_an_earlier_version_are_read(scored, tmp_path, capsys):
    older = tmp_path / "b.json"
    older.write_text((scored / "b.json").read_text().replace('"avsbench', '"tpavi'))
    assert '"tpavi_j"' in older.read_text()
    assert main(["compare", str(older), str(scored / "better.json"), "--clips", "0"]) == 0
    assert "+0.1500 *" in capsys.readouterr().out


@pytest.mark.parametrize("form", ["markdown", "latex", "csv"])
def test_tables_are_printed_for_papers(scored, capsys, form):
    words = ["compare", str(scored / "a.json"), str(scored / "better.json"), "--clips", "0"]
    assert main([*words, "--format", form]) == 0
    printed = capsys.readouterr().out
    if form == "csv":
        header, *rows = csv.reader(io.StringIO(printed))
        assert header == ["metric", "a", "better", "difference", "95 % interval"]
        assert [row[3] for row in rows if row[0] == "avsbench J"] == ["+0.1500 *"]
    elif form == "markdown":
        assert "| metric | a | better | difference | 95 % interval |" in printed
        assert "|---|---:|---:|---:|---:|" in printed
    else:
        assert r"\begin{tabular}{lrrrr}" in printed
        assert r"davis J\&F & " in printed
        assert r"avsbench J\&F & " in printed
        assert r"95 \% interval" in printed


def test_eval_prints_its_tables_for_papers_too(scored, capsys):
    words = ["eval", "--weights", str(scored / "a.safetensors"), "--dataset", "s4"]
    words += ["--data-root", str(scored / "AVSBench"), "--device", "cpu", "--bootstrap", "10"]
    assert main([*words, "--format", "latex"]) == 0
    printed = capsys.readouterr().out
    assert r"convention & metric & value & 95 \% interval \\" in printed


def test_the_clips_that_changed_most_are_drawn(scored, tmp_path, capsys):
    sheet = tmp_path / "sheet.png"
    words = ["compare", str(scored / "a.json"), str(scored / "better.json"), "--clips", "2"]
    words += ["--data-root", str(scored / "AVSBench"), "--device", "cpu", "--sheet", str(sheet)]
    assert main(words) == 0
    assert sheet.read_bytes().startswith(b"\x89PNG")
    before = sheet.read_bytes()
    assert main(words) == 1
    assert "exists already" in capsys.readouterr().err
    assert sheet.read_bytes() == before


def test_weights_that_have_changed_are_not_asked(scored, tmp_path, capsys):
    other = tmp_path / "a.json"
    values = json.loads((scored / "a.json").read_text()) | {"sha256": "0" * 64}
    other.write_text(json.dumps(values))
    sheet = tmp_path / "sheet.png"
    words = ["compare", str(other), str(scored / "better.json"), "--device", "cpu"]
    assert main([*words, "--sheet", str(sheet)]) == 2
    assert "has changed since" in capsys.readouterr().err
    assert not sheet.exists()


def test_what_cannot_be_compared_is_refused(scored, tmp_path, capsys):
    values = json.loads((scored / "a.json").read_text())
    native, fewer = tmp_path / "native.json", tmp_path / "fewer.json"
    native.write_text(json.dumps(values | {"size": "native"}))
    fewer.write_text(json.dumps(values | {"clips": values["clips"][1:]}))
    empty = tmp_path / "empty.json"
    empty.write_text("{}")
    for file, problem in (
        (native, "is scored at size"),
        (fewer, "are not of the same clips"),
        (empty, "has no scores"),
        (scored / "a.json", "is given twice"),
    ):
        assert main(["compare", str(scored / "a.json"), str(file)]) in (1, 2)
        assert problem in capsys.readouterr().err
    assert main(["compare", str(scored / "a.json")]) == 2


def test_scores_of_an_older_version_have_no_intervals(scored, tmp_path, capsys):
    values = json.loads((scored / "a.json").read_text())
    for clip in values["clips"]:
        del clip["sums"], clip["classes"]
    old = tmp_path / "old.json"
    old.write_text(json.dumps(values))
    assert main(["compare", str(old), str(scored / "better.json")]) == 0
    printed = capsys.readouterr()
    assert "no intervals" in printed.err
    assert "+0.1500" in printed.out
