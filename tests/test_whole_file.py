from pathlib import Path

import pytest

from avsegcli.errors import AvsegError, DataError
from avsegcli.whole_file import told_as_cannot_write, write_whole, written_whole


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    output = tmp_path / "a.mp4"

    def interrupted() -> None:
        with written_whole(output) as part:
            part.write_text("half")
            assert part.suffix == ".mp4"
            assert part.name.startswith(".")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []
    with written_whole(output) as part:
        part.write_text("whole")
        assert not output.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_a_file_that_is_broken_off_by_ctrl_c_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(path, content):
        path.touch()
        raise KeyboardInterrupt

    monkeypatch.setattr("pathlib.Path.write_bytes", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_whole(tmp_path / "new" / "a.json", "{}")
    assert list((tmp_path / "new").iterdir()) == []


def test_two_writers_of_one_file_do_not_meet(tmp_path):
    with written_whole(tmp_path / "a") as first, written_whole(tmp_path / "a") as second:
        first.write_text("first")
        second.write_text("second")
    assert (tmp_path / "a").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_what_a_link_points_to_is_replaced(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link.json").symlink_to(tmp_path / "there" / "a.json")
    write_whole(tmp_path / "link.json", "{}")
    assert (tmp_path / "link.json").is_symlink()
    assert (tmp_path / "there" / "a.json").read_text() == "{}"


def test_what_cannot_be_written_is_told_with_the_name_that_was_given(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AvsegError) as caught:
        write_whole(Path("file/a.json"), "{}")
    assert caught.value.message in (
        "cannot write file/a.json: not a directory",
        "cannot write file/a.json: file exists",
    )
    with pytest.raises(AvsegError, match=r"^cannot write folder: is a directory$"):
        write_whole(Path("folder"), "{}")
    with (
        pytest.raises(DataError, match=r"^cannot write no/a: no such file or directory$"),
        written_whole(Path("no/a"), DataError),
    ):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_errors_of_the_block_stay_as_they_are(tmp_path):
    with pytest.raises(OSError, match="of another file"), written_whole(tmp_path / "a"):
        raise OSError("of another file")
    assert list(tmp_path.iterdir()) == []


def test_what_another_library_raises_is_told_too():
    with (
        pytest.raises(DataError, match=r"^cannot write a: No space$"),
        told_as_cannot_write("a", DataError, (LookupError,)),
    ):
        raise LookupError("No space")
