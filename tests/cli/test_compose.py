import pytest

from avsegcli.cli.main import main


def test_compose_writes_a_data_set_and_says_how_many_clips(toy_parts, tmp_path, capsys):
    out = tmp_path / "clips"
    options = ["--clips", "2", "--frames", "2", "--size", "64", "--jobs", "1", "--seed", "4"]
    assert main(["compose", str(toy_parts), "-o", str(out), "--task", "multi", *options]) == 0
    printed = capsys.readouterr()
    assert printed.out == f"{out}: 2 clips\n"
    assert printed.err == ""
    assert (out / "metadata.csv").read_text().count("train_4_") == 2


def test_a_missing_parts_folder_is_refused_in_two_lines(tmp_path, capsys):
    assert main(["compose", str(tmp_path / "none"), "-o", str(tmp_path / "clips")]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == f"avseg: {tmp_path / 'none'}: no such parts folder"
    assert len(lines) == 2


@pytest.mark.parametrize("option", [["--task", "some"], ["--clips", "0"], ["--split", "dev"]])
def test_a_wrong_option_ends_with_code_2(tmp_path, capsys, option):
    assert main(["compose", str(tmp_path), "-o", str(tmp_path / "clips"), *option]) == 2


def test_the_help_ends_with_an_example(capsys):
    assert main(["compose", "--help"]) == 0
    assert "avseg compose parts -o clips" in capsys.readouterr().out


def test_a_folder_that_cannot_be_made_is_one_clear_line(toy_parts, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    out = tmp_path / "file" / "clips"
    assert main(["compose", str(toy_parts), "-o", str(out), "--clips", "1", "--jobs", "1"]) == 1
    told = capsys.readouterr().err.splitlines()
    assert told[0].startswith(f"avseg: cannot write {out}: ")
