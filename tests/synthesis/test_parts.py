import pickle
import shutil

import cv2
import numpy as np
import pytest
import soundfile

from avsegcli.errors import DataError
from avsegcli.files.indexed_png import encode_indexed_png
from avsegcli.synthesis.parts import Parts, splits_of


@pytest.fixture
def own_parts(toy_parts, tmp_path):
    """A copy that a test may change."""
    return shutil.copytree(toy_parts, tmp_path / "parts")


def test_the_classes_are_the_folders_in_alphabetical_order(toy_parts):
    parts = Parts(toy_parts, "train")
    assert parts.classes == ("background", "disc", "square", "star", "triangle")
    assert sorted(parts.things) == ["cross", "ring"]
    assert list(parts.noises) == ["hum"]


def test_a_list_of_classes_says_which_folders_are_classes_and_names_silent_things_too(own_parts):
    for path in sorted((own_parts / "sounds" / "disc").glob("train-*"))[2:]:
        path.unlink()
    parts = Parts(own_parts, "train", ["star", "disc", "cross"])
    assert parts.classes == ("background", "cross", "disc", "star")
    assert sorted(parts.things) == ["ring"]
    assert len(parts.objects[1]) == 5  # cutouts of the cross
    # Two recordings are too few to learn a class by, and the cross has none.
    assert (parts.unrecorded, sorted(parts.sounds)) == ((1, 2), [3])
    assert pickle.loads(pickle.dumps(parts)).classes == parts.classes


def test_a_split_has_only_its_own_files(toy_parts):
    for split in splits_of(toy_parts):
        parts = Parts(toy_parts, split)
        groups = [*parts.objects.values(), *parts.sounds.values(), *parts.scenes.values()]
        files = [path for group in (*groups, parts.backgrounds) for path in group]
        assert files
        assert all(path.name.startswith(f"{split}-") for path in files)


def test_every_split_has_the_same_classes(own_parts):
    for path in (own_parts / "objects" / "disc").glob("val-*"):
        path.unlink()
    assert Parts(own_parts, "val").classes == Parts(own_parts, "train").classes


def test_the_splits_are_named_in_their_order(toy_parts):
    assert splits_of(toy_parts) == ("train", "val", "test")


def test_a_missing_folder_is_refused_with_a_hint(tmp_path):
    with pytest.raises(DataError, match="no such parts folder") as caught:
        Parts(tmp_path / "nowhere", "train")
    assert "objects/<class>/" in caught.value.hint


def test_a_split_without_files_is_refused(toy_parts):
    with pytest.raises(DataError, match="no class has both a picture and a sound in split 'dev'"):
        Parts(toy_parts, "dev")


def test_a_damaged_picture_is_named(own_parts):
    parts = Parts(own_parts, "train")
    path = parts.objects[1][0]
    path.write_bytes(b"no picture")
    with pytest.raises(DataError, match=f"{path} is no readable picture"):
        parts.cutout(path)


def test_a_cutout_without_alpha_is_named(own_parts):
    parts = Parts(own_parts, "train")
    path = parts.objects[1][0]
    cv2.imwrite(str(path), np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(DataError, match="needs an alpha channel"):
        parts.cutout(path)


def test_a_cutout_may_have_16_bits(own_parts):
    cutout = np.zeros((8, 8, 4), np.uint16)
    cutout[2:6] = np.array([200, 100, 50, 255]) * 257  # BGRA
    path = own_parts / "objects" / "disc" / "train-own-1.png"
    cv2.imwrite(str(path), cutout)
    assert Parts(own_parts, "train").cutout(path)[3, 3].tolist() == [50, 100, 200, 255]


def test_a_damaged_sound_is_named(own_parts):
    parts = Parts(own_parts, "train")
    path = parts.sounds[1][0]
    path.write_bytes(b"no sound")
    with pytest.raises(DataError, match=f"{path} is no readable sound file"):
        parts.recording(path)


def test_a_recording_comes_as_mono_at_16_khz(own_parts):
    path = own_parts / "sounds" / "disc" / "train-own-1.wav"
    soundfile.write(path, np.full((44_100, 2), 0.5), 44_100)
    recording = Parts(own_parts, "train").recording(path)
    assert recording.samples.shape == (16_000,)
    assert recording.loud == pytest.approx(0.25, rel=0.05)


def test_masks_are_translated_to_the_classes_of_the_folder(own_parts):
    before = Parts(own_parts, "train")
    (own_parts / "objects" / "ant").mkdir()  # moves every other class up by one
    after = Parts(own_parts, "train")
    assert after.classes[1] == "ant"
    photo = before.scenes[1][0]
    assert 255 in before.scene(photo).mask
    moved = np.where(before.scene(photo).mask == 1, 2, before.scene(photo).mask)
    assert (after.scene(photo).mask == moved).all()


def test_a_mask_may_have_a_palette(own_parts):
    before = Parts(own_parts, "train")
    photo = before.scenes[1][0]
    mask = before.scene(photo).mask
    colours = np.random.default_rng(0).integers(0, 255, (256, 3), np.uint8)
    photo.with_suffix(".png").write_bytes(encode_indexed_png(mask, colours))
    assert (Parts(own_parts, "train").scene(photo).mask == mask).all()


def test_scenes_without_a_list_of_their_classes_are_refused(own_parts):
    (own_parts / "scenes" / "classes.json").unlink()
    with pytest.raises(DataError, match=r"classes\.json: cannot be read as JSON"):
        Parts(own_parts, "train")


def test_what_is_transparent_has_the_colour_of_the_object_nearby(toy_parts):
    parts = Parts(toy_parts, "train")
    cutout = parts.cutout(parts.objects[parts.classes.index("disc")][0])
    solid = cutout[cutout[..., 3] > 230][:, :3].astype(float)
    outside = cutout[cutout[..., 3] == 0][:, :3].astype(float)
    assert np.abs(outside.mean(axis=0) - solid.mean(axis=0)).max() < 25


def test_only_the_place_of_the_folder_goes_to_another_process(toy_parts):
    parts = Parts(toy_parts, "train")
    parts.preload()
    sent = pickle.dumps(parts)
    assert len(sent) < 1_000
    assert pickle.loads(sent).objects == parts.objects
