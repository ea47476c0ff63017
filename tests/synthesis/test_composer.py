import itertools
import json
import pickle
import shutil
from dataclasses import replace

import numpy as np
import pytest

from avsegcli.errors import DataError
from avsegcli.synthesis.camera import film
from avsegcli.synthesis.composer import ASPECTS, ComposedDataset, Composer
from avsegcli.synthesis.geometry import similarities
from avsegcli.synthesis.objects import Layer, paste
from avsegcli.synthesis.parts import Parts
from avsegcli.synthesis.ranges import (
    CompositionSettings,
    may_sound_off_screen,
    noise_may_go_with,
    things_to_avoid,
)

DEFAULT = CompositionSettings()


@pytest.fixture(scope="module")
def parts(toy_parts):
    return Parts(toy_parts, "train")


def compose_many(parts, number=40, **options):
    composer = Composer(parts, **{"num_frames": 3, "size": 64, **options})
    return [composer.compose(7, index) for index in range(number)]


def test_a_clip_has_the_shapes_and_types_of_its_contract(parts):
    clip = Composer(parts, num_frames=3, size=(48, 80)).compose(0, 0).clip
    assert clip.frames.shape == (3, 48, 80, 3)
    assert clip.labels.shape == clip.visible.shape == (3, 48, 80)
    assert clip.frames.dtype == clip.labels.dtype == clip.visible.dtype == np.uint8
    assert (clip.waveform.shape, clip.waveform.dtype) == ((48_000,), np.float32)
    assert clip.heard.shape == (3, len(parts.classes))
    assert clip.annotated.all()


def test_the_same_seed_and_index_give_the_same_bytes(toy_parts, parts):
    again = Parts(toy_parts, "train")
    for index in range(6):
        first = Composer(parts, size=64).compose(3, index)
        second = Composer(again, size=64).compose(3, index)
        assert first.record == second.record
        for a, b in zip(first.clip[1:7], second.clip[1:7], strict=True):
            assert a.tobytes() == b.tobytes()


def test_every_index_and_seed_gives_another_clip(parts):
    composer = Composer(parts, size=64)
    frames = [composer.compose(s, i).clip.frames.tobytes() for s in range(3) for i in range(3)]
    assert len(set(frames)) == 9


def test_the_size_of_the_frames_changes_nothing_in_the_sound(parts):
    small = Composer(parts, size=48).compose(1, 4).clip
    large = Composer(parts, size=96).compose(1, 4).clip
    assert (small.waveform == large.waveform).all()


def test_what_is_labelled_is_what_is_visible_and_heard(parts):
    labelled = 0
    for composition in compose_many(parts):
        clip = composition.clip
        for visible, labels, heard in zip(clip.visible, clip.labels, clip.heard, strict=True):
            known = visible != 255
            wanted = np.where(heard[np.where(known, visible, 0)], visible, 0)
            assert (labels == np.where(known, wanted, 255)).all()
            labelled += bool((wanted > 0).any())
    assert labelled > 40


def test_labels_follow_the_sound_from_second_to_second(parts):
    settings = replace(DEFAULT, whole=0.0, off_screen_clip=0.0, silent_clip=0.0, scene=0.0)
    changes = 0
    for composition in compose_many(parts, 20, num_frames=5, settings=settings):
        labelled = (composition.clip.labels % 255 > 0).any(axis=(1, 2))
        changes += bool(labelled.any() and not labelled.all())
    assert changes >= 8


def test_what_is_heard_from_off_screen_is_nowhere_in_the_picture(parts):
    seen_off_screen = 0
    for composition in compose_many(parts, settings=replace(DEFAULT, off_screen_clip=0.6)):
        for source in composition.record["sound"]["sources"]:
            if not source["on_screen"]:
                seen_off_screen += 1
                index = parts.classes.index(source["class"])
                assert not (composition.clip.visible == index).any()
    assert seen_off_screen > 10


def test_objects_of_one_class_all_sound_or_all_do_not(parts):
    twins = 0
    for composition in compose_many(parts, settings=replace(DEFAULT, twin=1.0)):
        sounding = {}
        for thing in composition.record["picture"]["objects"]:
            sounding.setdefault(thing["class"], set()).add(thing["sounding"])
        assert all(len(answers) == 1 for answers in sounding.values())
        twins += len(composition.record["picture"]["objects"]) > len(sounding)
    assert twins


def test_task_single_has_one_visible_class_that_sounds(parts):
    for composition in compose_many(parts, task="single"):
        (source,) = composition.record["sound"]["sources"]
        assert source["on_screen"]
        assert composition.record["picture"]["sounding"] == [source["class"]]
        assert source["class"] in composition.record["visible"]


def test_task_multi_has_two_to_four_visible_classes_that_sound(parts):
    numbers = {
        len(composition.record["picture"]["sounding"])
        for composition in compose_many(parts, task="multi")
    }
    assert min(numbers) == 2
    assert max(numbers) in (3, 4)


def test_task_multi_needs_two_classes(toy_parts, tmp_path):
    root = shutil.copytree(toy_parts, tmp_path / "parts")
    for name in ("square", "star", "triangle"):
        shutil.rmtree(root / "sounds" / name)
    with pytest.raises(DataError, match="task multi needs two classes"):
        Composer(Parts(root, "train"), task="multi")
    Composer(Parts(root, "train"), task="semantic").compose(0, 0)


def test_an_instrument_that_sounds_can_be_held_by_a_silent_person(toy_parts, tmp_path):
    root = tmp_path / "parts"
    shutil.copytree(toy_parts, root, ignore=shutil.ignore_patterns("scenes"))
    for kind in ("objects", "sounds"):
        (root / kind / "disc").rename(root / kind / "guitar")
        (root / kind / "star").rename(root / kind / "person")
    settings = replace(DEFAULT, player=1.0, num_silent=(1.0,))
    held = 0
    for composition in compose_many(Parts(root, "train"), settings=settings):
        objects = composition.record["picture"]["objects"]
        for player, instrument in itertools.pairwise(objects):
            pair = player["class"], instrument["class"]
            if pair == ("person", "guitar") and not player["sounding"]:
                held += 1
                assert instrument["sounding"]
                left, top, right, bottom = player["box"]
                box = instrument["box"]
                assert left <= (box[0] + box[2]) / 2 <= right
                assert top <= (box[1] + box[3]) / 2 <= bottom
    assert held >= 3


def test_a_silent_clip_has_objects_but_no_label(parts):
    silent = replace(DEFAULT, silent_clip=1.0, background_noise=0.0)
    compositions = compose_many(parts, 20, settings=silent)
    for composition in compositions:
        assert not composition.clip.heard.any()
        assert not (composition.clip.labels % 255).any()
        assert np.abs(composition.clip.waveform).max() < 0.01
    assert sum(bool(composition.record["visible"]) for composition in compositions) > 8


def test_parts_without_scenes_or_without_cutouts_will_do(toy_parts, tmp_path):
    for without in ("scenes", "backgrounds", "noise", "objects/_silent"):
        root = shutil.copytree(toy_parts, tmp_path / without.replace("/", "-"))
        shutil.rmtree(root / without)
        kinds = {c.record["picture"]["kind"] for c in compose_many(Parts(root, "val"), 12)}
        expected = {"scenes": {"pasted"}, "backgrounds": {"scene"}}
        assert kinds == expected.get(without, {"pasted", "scene"})


def test_mixed_shapes_have_their_longest_side_at_the_size(parts):
    sizes = {
        composition.clip.frames.shape[1:3]
        for composition in compose_many(parts, num_frames=1, size=64, aspect="mixed")
    }
    assert sizes <= {(64 * h // max(w, h), 64 * w // max(w, h)) for w, h in ASPECTS}
    assert len(sizes) >= 4


@pytest.mark.parametrize("scale", [0.2, 0.5, 0.9])
def test_the_mask_of_a_filmed_photo_lies_on_what_it_shows(scale):
    y, x = np.mgrid[:800, :1200]
    mask = (np.hypot(x - 600, y - 400) < 250).astype(np.uint8)
    photo = np.repeat(mask[..., None] * np.uint8(255), 3, axis=2)
    centre, middle = np.array([600.0, 400]), np.array([112.0, 64])
    camera = similarities(np.array([scale]), np.zeros(1), centre, middle)
    frames, visible = film(photo, mask, camera, (128, 224))
    shown, labelled = frames[0, ..., 0] / 255, visible[0] == 1
    y, x = np.mgrid[:128, :224]
    for place in (x, y):
        centres = (shown * place).sum() / shown.sum(), place[labelled].mean()
        assert centres[0] == pytest.approx(centres[1], abs=0.05)


def test_a_cutout_is_visible_where_it_covers_more_than_half():
    rgba = np.zeros((20, 20, 4), np.uint8)
    rgba[..., :3] = 200
    rgba[2:18, 2:18, 3] = 255
    rgba[2:18, 2:6, 3] = 100  # a side through which what is behind shows
    frame, visible = np.full((30, 40, 3), 50, np.uint8), np.full((30, 40), 9, np.uint8)
    matrix = np.array([[1.0, 0, 10], [0, 1, 5], [0, 0, 1]])
    paste(frame, visible, Layer(rgba, matrix[None], class_index=3, shadow=0.0), matrix)
    expected = np.full((30, 40), 9)
    expected[7:23, 16:28] = 3
    assert (visible == expected).all()
    assert (frame[7:23, 16:28] == 200).all()
    assert abs(int(frame[10, 13, 0]) - (200 * 100 + 50 * 155) // 255) <= 1
    assert (frame[:7] == 50).all()


def test_a_cutout_outside_the_frame_leaves_it_alone():
    rgba = np.full((8, 8, 4), 255, np.uint8)
    frame, visible = np.zeros((10, 10, 3), np.uint8), np.zeros((10, 10), np.uint8)
    matrix = np.array([[1.0, 0, 50], [0, 1, 0], [0, 0, 1]])
    paste(frame, visible, Layer(rgba, matrix[None], 1, shadow=0.5), matrix)
    assert not frame.any()
    assert not visible.any()


def test_the_record_can_be_written_as_json_and_names_files_of_the_parts(parts):
    for composition in compose_many(parts, 8):
        record = json.loads(json.dumps(composition.record))
        assert record == composition.record
        assert (parts.root / record["picture"]["file"]).is_file()
        heard = [[parts.classes[i] for i in np.flatnonzero(row)] for row in composition.clip.heard]
        assert record["heard"] == heard


def test_a_composed_data_set_survives_the_way_to_another_process(parts):
    clips = ComposedDataset(Composer(parts, num_frames=2, size=48), seed=5, num_clips=3)
    sent = pickle.loads(pickle.dumps(clips))
    assert sent.classes == clips.classes
    assert (sent[2].frames == clips[2].frames).all()
    assert len(list(clips)) == 3


def test_things_and_noises_that_could_be_taken_for_a_class_keep_away_from_it():
    assert things_to_avoid(["car"]) == {"bus", "motorcycle", "train", "truck"}
    assert not noise_may_go_with("street_music", ["dog", "trumpet"])
    assert noise_may_go_with("rain", ["person"])
    assert not may_sound_off_screen("tuba", ["trombone"])
    assert may_sound_off_screen("tuba", ["dog"])
