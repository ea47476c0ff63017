import shutil
from pathlib import Path

import pytest

from avsegcli.errors import AvsegError, DataError
from avsegcli.files.atomic import (
    atomic_folder,
    atomic_write,
    check_can_write,
    wrap_write_errors,
    write_atomically,
)


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    output = tmp_path / "a.mp4"

    def interrupted() -> None:
        with atomic_write(output) as part:
            part.write_text("half")
            assert part.suffix == ".mp4"
            assert part.name.startswith(".")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []
    with atomic_write(output) as part:
        part.write_text("whole")
        assert not output.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_a_file_that_is_broken_off_by_ctrl_c_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(path, content):
        path.touch()
        raise KeyboardInterrupt

    monkeypatch.setattr("pathlib.Path.write_bytes", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "new" / "a.json", "{}")
    assert list((tmp_path / "new").iterdir()) == []


def test_two_writers_of_one_file_do_not_meet(tmp_path):
    with atomic_write(tmp_path / "a") as first, atomic_write(tmp_path / "a") as second:
        first.write_text("first")
        second.write_text("second")
    assert (tmp_path / "a").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_what_a_link_points_to_is_replaced(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link.json").symlink_to(tmp_path / "there" / "a.json")
    write_atomically(tmp_path / "link.json", "{}")
    assert (tmp_path / "link.json").is_symlink()
    assert (tmp_path / "there" / "a.json").read_text() == "{}"


def test_what_cannot_be_written_is_told_with_the_name_that_was_given(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AvsegError) as caught:
        write_atomically(Path("file/a.json"), "{}")
    assert caught.value.message in (
        "cannot write file/a.json: not a directory",
        "cannot write file/a.json: file exists",
    )
    with pytest.raises(AvsegError, match=r"^cannot write folder: is a directory$"):
        write_atomically(Path("folder"), "{}")
    with (
        pytest.raises(DataError, match=r"^cannot write no/a: no such file or directory$"),
        atomic_write(Path("no/a"), DataError),
    ):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_neither_the_root_nor_a_drive_that_is_not_there_can_be_written(monkeypatch):
    with pytest.raises(AvsegError, match="cannot write /: it is a folder"):
        check_can_write(Path("/"))
    monkeypatch.setattr(Path, "exists", lambda _: False)
    monkeypatch.setattr(Path, "is_dir", lambda _: False)
    with pytest.raises(AvsegError, match=r"cannot write /z/a\.csv: / is no folder"):
        check_can_write(Path("/z/a.csv"))


def test_errors_of_the_block_stay_as_they_are(tmp_path):
    with pytest.raises(OSError, match="of another file"), atomic_write(tmp_path / "a"):
        raise OSError("of another file")
    assert list(tmp_path.iterdir()) == []


def test_what_another_library_raises_is_told_too():
    with (
        pytest.raises(DataError, match=r"^cannot write a: No space$"),
        wrap_write_errors("a", DataError, (LookupError,)),
    ):
        raise LookupError("No space")


def interrupted_once(monkeypatch, owner, name, call):
    """Let one call of a function end in Ctrl-C."""
    real, calls = getattr(owner, name), []

    def function(*arguments, **options):
        calls.append(name)
        if len(calls) == call:
            raise KeyboardInterrupt
        return real(*arguments, **options)

    monkeypatch.setattr(owner, name, function)


@pytest.mark.parametrize(
    ("owner", "name", "call", "left"),
    [
        (Path, "rename", 1, "old"),
        (Path, "rename", 2, "old"),
        (shutil, "rmtree", 1, "new"),
    ],
)
def test_of_two_folders_one_is_whole_when_replacing_is_broken_off(
    tmp_path, monkeypatch, owner, name, call, left
):
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "table").write_text("old")
    interrupted_once(monkeypatch, owner, name, call)
    with pytest.raises(KeyboardInterrupt), atomic_folder(folder, "table") as hidden:
        (hidden / "table").write_text("new")
    assert (folder / "table").read_text() == left
    assert list(tmp_path.iterdir()) == [folder]


def test_a_folder_that_exists_is_replaced_or_filled_but_a_file_never(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "old").touch()
    (tmp_path / "file").write_text("kept")
    for name in ("empty", "full", "missing/new"):
        with atomic_folder(tmp_path / name, "table") as hidden:
            (hidden / "table").touch()
        assert [path.name for path in (tmp_path / name).iterdir()] == ["table"]
    file = tmp_path / "file"
    with pytest.raises(DataError, match="cannot write"), atomic_folder(file, "", DataError):
        pass
    assert file.read_text() == "kept"
    assert {path.name for path in tmp_path.iterdir()} == {"empty", "full", "missing", "file"}
