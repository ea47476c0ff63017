import io
import ntpath
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from avsegcli.errors import ConfigError, MediaError
from avsegcli.segment.inputs import are_several, check_apart, find_inputs


@pytest.fixture
def tree(tmp_path, monkeypatch):
    for name in (
        "v/a.mp4",
        "v/b c.MOV",
        "v/deep/ä.webm",
        "v/deep/.hidden.mp4",
        "v/notes.txt",
        "v/photo.jpg",
        "v/phone.heic",
        "w/a.mp4",
        "-o.mp4",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(*words: str, **options) -> list[tuple[str, str]]:
    return [(str(path), str(name)) for path, name in find_inputs(words, **options)]


def test_a_folder_is_searched_for_videos_with_its_sub_folders(tree):
    assert names("v") == [("v/a.mp4", "a"), ("v/b c.MOV", "b c"), ("v/deep/ä.webm", "deep/ä")]
    assert {("v/photo.jpg", "photo"), ("v/phone.heic", "phone")} < {*names("v", pictures=True)}


def test_names_are_below_what_all_words_share(tree):
    assert names("v/a.mp4") == [("v/a.mp4", "a")]
    assert names("v/a.mp4", "w/a.mp4") == [("v/a.mp4", "v/a"), ("w/a.mp4", "w/a")]
    assert [name for _, name in names("v", "w")] == ["v/a", "v/b c", "v/deep/ä", "w/a"]


def test_names_that_would_be_alike_keep_their_suffix(tree):
    Path("v/a.mkv").touch()
    assert names("v/a.mp4", "v/a.mkv") == [("v/a.mp4", "a.mp4"), ("v/a.mkv", "a.mkv")]


def test_a_file_counts_once(tree):
    Path("link.mp4").symlink_to("v/a.mp4")
    assert len(names("v/a.mp4", "./v/a.mp4", "link.mp4")) == 1


def test_patterns_search_deep_but_a_file_of_that_name_is_meant_first(tree):
    assert names("v/**/*.webm") == [("v/deep/ä.webm", "deep/ä")]
    Path("clip[1].mp4").touch()
    assert names("clip[1].mp4") == [("clip[1].mp4", "clip[1]")]
    with pytest.raises(MediaError, match="no file matches"):
        find_inputs(["v/*.xyz"])


@pytest.mark.parametrize(
    ("end", "encoding"),
    [
        ("\n", "utf-8"),
        ("\r\n", "utf-8"),
        ("\0", "utf-8"),
        ("\n", "utf-8-sig"),
        ("\r\n", "utf-16"),
    ],
)
def test_a_list_on_standard_input(tree, monkeypatch, end, encoding):
    data = end.join(["v/a.mp4", "v/deep/ä.webm", ""]).encode(encoding)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), "utf-8"))
    assert names("-") == [("v/a.mp4", "a"), ("v/deep/ä.webm", "deep/ä")]


def test_an_empty_list_or_folder_is_refused(tree, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\n"), "utf-8"))
    with pytest.raises(MediaError, match="no input"):
        find_inputs(["-"])
    monkeypatch.setattr(sys, "stdin", None)  # closed by the shell: <&-
    with pytest.raises(MediaError, match="no input"):
        find_inputs(["-"])
    Path("empty").mkdir()
    with pytest.raises(MediaError, match="no video in empty"):
        find_inputs(["empty"])


def test_a_folder_on_standard_input_is_refused(tree, monkeypatch):
    for line in (".", "/", "v"):
        data = io.BytesIO(line.encode())
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(data, "utf-8"))
        with pytest.raises(MediaError, match=f"^{line} is a folder"):
            find_inputs(["-"])


@pytest.mark.parametrize("common", ["/", None])
def test_inputs_without_a_common_folder_keep_short_names(tree, monkeypatch, common):
    def commonpath(_):
        return common or ntpath.commonpath(["C:/v", "D:/v"])  # which raises

    monkeypatch.setattr(os.path, "commonpath", commonpath)
    for name in ("x/1/clip.mp4", "y/1/clip.mp4", "y/other.mp4"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).touch()
    words = [str(tree / "x" / "1"), str(tree / "y" / "other.mp4")]
    assert [str(one.name) for one in find_inputs(words)] == ["clip", "other"]
    words = [str(tree / "x" / "1" / "clip.mp4"), str(tree / "y" / "1" / "clip.mp4")]
    names = [str(one.name) for one in find_inputs(words)]
    assert names == [str(Path("x/1/clip")), str(Path("y/1/clip"))]


def test_linked_folders_are_followed_but_no_loops(tmp_path):
    folder = tmp_path / "videos"
    for name in ("videos/a.mp4", "elsewhere/b.mp4", "elsewhere/deep/c.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "again").symlink_to(tmp_path / "elsewhere" / "deep")
    (tmp_path / "elsewhere" / "loop").symlink_to(folder)
    found = find_inputs([str(folder)])
    assert sorted(one.path.name for one in found) == ["a.mp4", "b.mp4", "c.mp4"]
    assert str(found[0].name) == "a"


def test_outputs_inside_the_folder_are_no_inputs(tree):
    assert names("v", outside=[Path("v/deep")]) == [("v/a.mp4", "a"), ("v/b c.MOV", "b c")]


def test_outputs_are_apart_from_where_inputs_are_looked_for(tree):
    for name in ("v/out.mp4", "v/deep/new/out.gif", "w/../v/out.MOV"):
        with pytest.raises(ConfigError, match=r"would take .* for an input"):
            check_apart([Path(name)], ["w/a.mp4", "v"], outside=[Path("v")])
    with pytest.raises(ConfigError):
        check_apart([Path("v/out.png")], ["v"], pictures=True)
    for name in ("v/out.png", "v/.hidden/out.mp4", "v/deep/out.mp4", "out.mp4", "w/out.mp4"):
        check_apart([Path(name)], ["w/a.mp4", "v"], outside=[Path("v/deep")])


def test_one_file_is_one_and_everything_else_may_be_several(tree):
    assert not are_several(["v/a.mp4"])
    assert not are_several(["missing.mp4"])
    for words in (["v"], ["-"], ["v/*.mp4"], ["v/a.mp4", "w/a.mp4"]):
        assert are_several(words)


@pytest.mark.parametrize("url", ["https://x.org/v.mp4", "https://x.org/watch?v=a", "rtsp://cam/1"])
def test_an_address_on_the_network_is_to_be_downloaded_first(url):
    with pytest.raises(MediaError, match="is on the network") as caught:
        find_inputs([url])
    assert "Download it first" in caught.value.hint


def test_a_video_on_standard_input_is_no_list_of_names(monkeypatch):
    video = b"\0\0\0\x20ftypisom\0\0\2\0isomiso2avc1mp41\n/\n"
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(video)))
    with pytest.raises(MediaError, match="standard input holds a video or other data, but - reads"):
        find_inputs(["-"])
