from pathlib import Path

import pytest

from avsegcli.errors import DataError
from avsegcli.evaluation.mask_files import find_masks

NAMES = ["a_1", "b"]


def make(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@pytest.mark.parametrize(
    ("place", "first"),
    [
        ("{clip}/{t}.png", 0),
        ("{clip}/{t:05}.png", 0),
        ("v1m/{clip}/labels_rgb/{t}.png", 0),
        ("test/dog/{clip}/{clip}_{n}.png", 1),
        ("{clip}_{n}.png", 1),
        ("{clip}.mp4_{n}.png", 1),
        ("all/{clip}_{n}.jpg", 1),
        ("{clip}/{n}_video_mask.png", 1),
        ("{clip}/{n}_mask.png", 1),
        ("{clip}/frame_{n}.png", 1),
    ],
)
def test_clips_and_frames_are_read_from_names(tmp_path, place, first):
    make(tmp_path, *(place.format(clip=clip, t=t, n=t + 1) for clip in NAMES for t in range(3)))
    masks = find_masks(tmp_path, NAMES)
    assert {clip: sorted(found.files) for clip, found in masks.items()} == {
        clip: [first, first + 1, first + 2] for clip in NAMES
    }
    expected = tmp_path / place.format(clip="b", t=1, n=2)
    assert masks["b"].find_frame(1, 3) == expected


def test_a_clip_in_two_folders_is_refused(tmp_path):
    make(tmp_path, "gt/b/0.png", "ours/b/0.png")
    with pytest.raises(DataError, match=r"clip 'b' has masks in .*gt/b and in .*ours/b"):
        find_masks(tmp_path, NAMES)


def test_two_masks_of_one_frame_are_refused_but_pictures_beside_them_are_not_read(tmp_path):
    make(tmp_path, "b/0.png", "b/0.jpg", "b/._0.png", "b/notes.png", "frames/0.png")
    assert find_masks(tmp_path, NAMES)["b"].files == {0: tmp_path / "b" / "0.png"}
    make(tmp_path, "b/overlay_0.png")
    with pytest.raises(DataError, match=r"0.png and .*overlay_0.png are both mask 0 of clip 'b'"):
        find_masks(tmp_path, NAMES)


def test_clips_of_one_name_are_told_apart_by_their_category(tmp_path):
    make(tmp_path, "dog/x/x_1.png", "cat/x/x_1.png")
    masks = find_masks(tmp_path, ["dog_x", "cat_x"])
    assert masks["cat_x"].folder == tmp_path / "cat" / "x"


@pytest.mark.parametrize("numbers", [range(4), range(1, 5), (0, 3), (7, 9)])
def test_frames_that_a_clip_does_not_have_are_refused(tmp_path, numbers):
    make(tmp_path, *(f"b/{number}.png" for number in numbers))
    with pytest.raises(DataError, match=f"has a mask {max(numbers)}, but the frames of clip 'b'"):
        find_masks(tmp_path, NAMES)["b"].find_frame(0, 3)


def test_times_say_which_frame_is_of_which_second(tmp_path):
    make(tmp_path, *(f"b/{number:06}.png" for number in range(0, 60, 6)))
    rows = [f"{number},{number / 24}" for number in range(0, 60, 6)]
    (tmp_path / "b" / "times.csv").write_text("\n".join(["frame,seconds", *rows]))
    masks = find_masks(tmp_path, NAMES)["b"]
    assert [masks.find_frame(t, 2).name for t in (0, 1)] == ["000012.png", "000036.png"]
    with pytest.raises(DataError, match="no mask of second 3 of clip 'b'"):
        masks.find_frame(3, 4)
    (tmp_path / "b" / "times.csv").write_text("frame\n0\n")
    with pytest.raises(DataError, match=r"times.csv does not say when each frame is shown"):
        masks.find_frame(0, 2)


def test_masks_of_the_folder_itself_are_those_of_the_clip_of_its_name(tmp_path, monkeypatch):
    make(tmp_path, "b/0.png")
    monkeypatch.chdir(tmp_path / "b")
    assert find_masks(Path(), NAMES)["b"].files == {0: Path("0.png")}
