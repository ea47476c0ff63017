import csv
import json
import shutil

import cv2
import numpy as np
import pytest
import soundfile

from avsegcli.datasets.avsbench import BINARY, AvsBench
from avsegcli.datasets.io import read_indices
from avsegcli.datasets.label_colors import labels_to_colours
from avsegcli.datasets.registry import open_clips
from avsegcli.errors import DataError
from avsegcli.files.indexed_png import encode_indexed_png
from avsegcli.synthesis.composer import Composer
from avsegcli.synthesis.parts import Parts
from avsegcli.synthesis.toy import write_toy_parts
from avsegcli.synthesis.writer import write_avss

SIZE = (24, 32)  # rows, columns of the drawn clips
MASK = np.zeros(SIZE, np.uint8)
MASK[4:12, 8:20] = 1


@pytest.fixture(scope="module")
def composed(tmp_path_factory):
    """A parts folder and what `avseg compose` makes of it."""
    root = tmp_path_factory.mktemp("composed")
    write_toy_parts(root / "parts")
    write_avss(
        root / "parts", root / "clips", task="semantic", clips=6, seed=3, splits=["test"], size=64
    )
    return root


def write_picture(path, picture):
    path.parent.mkdir(parents=True, exist_ok=True)
    bgr = picture[..., ::-1] if picture.ndim == 3 else picture
    path.write_bytes(cv2.imencode(path.suffix, bgr)[1])


def write_palette_png(path, indices):
    """Write indices with a palette of one colour only, which is not black."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_indexed_png(indices, np.full((256, 3), (48, 64, 80), np.uint8)))


def write_table(path, *rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def write_drawn_avss(root, *, label="v1m", split="test", num_frames=2, sound_s=2.0):
    """One clip with classes background, cat and dog; a dog sounds."""
    folder = root / label / "one"
    write_table(root / "metadata.csv", ["vid", "uid", "split", "label"], ["x", "one", split, label])
    indices = {"dog": 3, "background": 1, "cat": 2}
    (root / "label2idx.json").write_text(json.dumps(indices))
    for t in range(num_frames):
        write_picture(folder / "frames" / f"{t}.jpg", np.full((*SIZE, 3), 40 * t, np.uint8))
        write_picture(folder / "labels_rgb" / f"{t}.png", labels_to_colours(MASK * 2))
    soundfile.write(folder / "audio.wav", np.full((int(44_100 * sound_s), 2), 0.25), 44_100)
    return folder


def test_what_compose_writes_is_read_back(composed):
    dataset = AvsBench(composed / "clips")
    composer = Composer(Parts(composed / "parts", "test"), size=64, aspect="mixed")
    assert dataset.classes == composer.classes
    assert len(dataset) == 6
    assert dataset.notes == []
    for index in range(len(dataset)):
        read, drawn = dataset[index], composer.compose(3, index).clip
        assert read.name == drawn.name
        assert read.annotated.all()
        for name in ("labels", "visible", "heard"):
            np.testing.assert_array_equal(getattr(read, name), getattr(drawn, name), err_msg=name)
        assert np.abs(read.frames.astype(int) - drawn.frames).mean() < 4
        np.testing.assert_allclose(read.waveform, drawn.waveform, atol=1e-4)


def test_classes_are_in_the_order_of_their_indices(tmp_path):
    write_drawn_avss(tmp_path)
    clip = AvsBench(tmp_path)[0]
    assert AvsBench(tmp_path).classes == ("background", "cat", "dog")
    np.testing.assert_array_equal(clip.labels, [MASK * 2] * 2)
    assert (clip.visible, clip.heard) == (None, None)


def test_sound_is_resampled_and_mixed_to_one_channel(tmp_path):
    write_drawn_avss(tmp_path)
    waveform = AvsBench(tmp_path)[0].waveform
    assert (waveform.dtype, waveform.shape) == (np.float32, (32_000,))
    np.testing.assert_allclose(waveform[2_000:-2_000], 0.25, atol=1e-3)


@pytest.mark.parametrize(
    ("label", "split", "annotated"),
    [("v1s", "train", [True, False]), ("v1s", "test", [True] * 2), ("v1m", "train", [True] * 2)],
)
def test_only_the_first_frame_of_a_v1s_training_clip_is_annotated(
    tmp_path, label, split, annotated
):
    folder = write_drawn_avss(tmp_path, label=label, split=split)
    if not annotated[1]:
        (folder / "labels_rgb" / "1.png").unlink()
    clip = AvsBench(tmp_path, split)[0]
    assert clip.annotated.tolist() == annotated
    assert (clip.labels[1] == 255).all() == (not annotated[1])


def test_the_root_of_avsbench_will_do(tmp_path):
    write_drawn_avss(tmp_path / "AVSS")
    assert len(AvsBench(tmp_path)) == 1


def test_a_missing_sound_is_silence_and_noted_once(tmp_path):
    folder = write_drawn_avss(tmp_path)
    (folder / "audio.wav").unlink()
    dataset = AvsBench(tmp_path)
    assert not dataset[0].waveform.any()
    assert dataset[0].waveform.shape == (32_000,)
    assert dataset.notes == [
        f"1 of 1 clips have no sound file and are taken as silent; the first is {folder}/audio.wav"
    ]


def test_s4_is_read_with_masks_of_the_first_frame_only_in_train(tmp_path):
    data = tmp_path / "s4_data"
    rows = [["one", "0", "dog", "train"], ["two", "3", "dog", "test"]]
    write_table(tmp_path / "s4_meta_data.csv", ["name", "start", "category", "split"], *rows)
    for name, split, masked in (("one", "train", 1), ("two", "test", 5)):
        place = f"{split}/dog/{name}"
        for n in range(1, 6):
            picture = np.full((*SIZE, 3), n, np.uint8)
            write_picture(data / "visual_frames" / place / f"{name}_{n}.png", picture)
            if n <= masked:
                write_picture(data / "gt_masks" / place / f"{name}_{n}.png", MASK * 255)
        (data / f"audio_wav/{split}/dog").mkdir(parents=True)
        soundfile.write(data / f"audio_wav/{split}/dog/{name}.wav", np.zeros(80_000), 16_000)
    assert open_clips(tmp_path).classes == BINARY
    test, train = open_clips(tmp_path)[0], AvsBench(tmp_path, "train", subset="s4")[0]
    np.testing.assert_array_equal(test.labels, [MASK] * 5)
    np.testing.assert_array_equal(test.frames[:, 0, 0, 0], [1, 2, 3, 4, 5])
    assert train.annotated.tolist() == [True, False, False, False, False]


def test_ms3_is_read_with_its_odd_names_and_palette_masks(tmp_path):
    root = tmp_path / "Multi-sources"
    data = root / "ms3_data"
    write_table(root / "ms3_meta_data.csv", ["", "split"], ["one", "test"])
    for n in range(1, 6):
        picture = np.zeros((*SIZE, 3), np.uint8)
        write_picture(data / "visual_frames" / "one" / f"one.mp4_{n}.png", picture)
        write_palette_png(data / "gt_masks" / "test" / "one" / f"one_{n}.png", MASK * 7)
    dataset = AvsBench(tmp_path, subset="ms3")
    np.testing.assert_array_equal(dataset[0].labels, [MASK] * 5)
    assert len(dataset.notes) == 1


def test_clips_of_one_name_in_two_groups_are_told_apart(tmp_path):
    folder = write_drawn_avss(tmp_path)
    shutil.copytree(folder, tmp_path / "v2" / "one")
    (tmp_path / "metadata.csv").write_text(
        "uid,label,split\none,v1m,test\none,v2,test\none,v2,val\n"
    )
    assert [clip.name for clip in AvsBench(tmp_path)] == ["v1m_one", "v2_one"]
    assert AvsBench(tmp_path, "val")[0].name == "one"


def test_a_clip_that_is_named_again_counts_once_and_is_told_of(tmp_path):
    write_drawn_avss(tmp_path)
    (tmp_path / "metadata.csv").write_text("uid,label,split\n" + 3 * "one,v1m,test\n")
    clips = AvsBench(tmp_path)
    assert [clip.name for clip in clips] == ["one"]
    assert clips.notes == [
        f"{tmp_path / 'metadata.csv'} names 2 clips of split 'test' again: they count once"
    ]


def test_grey_and_palette_masks_give_indices_and_colours_are_refused(tmp_path):
    write_picture(tmp_path / "grey.png", MASK * 255)
    write_palette_png(tmp_path / "palette.png", MASK * 200)
    write_picture(tmp_path / "colour.png", np.uint8([[[1, 2, 3]]]))
    np.testing.assert_array_equal(read_indices(tmp_path / "grey.png"), MASK * 255)
    np.testing.assert_array_equal(read_indices(tmp_path / "palette.png"), MASK * 200)
    write_picture(tmp_path / "alike.png", np.repeat(MASK[..., None] * np.uint8(9), 3, axis=2))
    np.testing.assert_array_equal(read_indices(tmp_path / "alike.png"), MASK * 9)
    with pytest.raises(DataError, match=r"alike\.png has colours"):
        read_indices(tmp_path / "alike.png", grey_is_colour=True)
    write_picture(tmp_path / "deep.png", MASK.astype(np.uint16))
    with pytest.raises(DataError, match=r"deep\.png has more than 8 bits"):
        read_indices(tmp_path / "deep.png")
    with pytest.raises(DataError, match=r"colour\.png has colours"):
        read_indices(tmp_path / "colour.png")


def remove(name):
    return lambda root: (root / name).unlink()


def replace(name, text):
    return lambda root: (root / name).write_text(text)


def replace_bytes(name, content):
    return lambda root: (root / name).write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (remove("metadata.csv"), "has no metadata.csv"),
        (replace("metadata.csv", "uid,label\none,v1m\n"), "has no column 'split'"),
        (replace("metadata.csv", "uid,label,split\none\n"), "row 2, has 1 of 3 columns"),
        (replace("metadata.csv", "uid,label,split\none,v1m,val\n"), "no clip of split 'test'"),
        (replace("metadata.csv", ""), "has no column 'uid'"),
        (replace_bytes("metadata.csv", b"\xff\xfe\x00,"), "is no CSV table"),
        (replace("label2idx.json", '{"background": 1}'), "is of no class"),
        (replace("metadata.csv", "uid,label,split\ntwo,v1m,test\n"), "two/frames has no frames"),
        (remove("label2idx.json"), "label2idx.json is missing"),
        (replace("label2idx.json", "[1, 2"), "is no JSON object"),
        (replace("label2idx.json", '{"cat": 1, "background": 2}'), "with 'background' first"),
        (remove("v1m/one/frames/0.jpg"), "frames/0.jpg is missing"),
        (remove("v1m/one/frames/1.jpg"), "frames/1.jpg is missing"),
        (remove("v1m/one/labels_rgb/1.png"), "labels_rgb/1.png is missing"),
        (replace("v1m/one/frames/1.jpg", "no picture"), "1.jpg is no readable picture"),
        (replace("v1m/one/frames/1.jpg", ""), "1.jpg is no readable picture"),
        (replace("v1m/one/audio.wav", "no sound"), "audio.wav is no readable sound file"),
        (replace("v1m/one/composition.json", "{}"), "does not say what is heard"),
        (replace("v1m/one/composition.json", '{"heard": [["owl"]]}'), "does not say what is heard"),
    ],
)
def test_every_damage_is_one_line_with_the_file(tmp_path, damage, message):
    write_drawn_avss(tmp_path)
    damage(tmp_path)
    with pytest.raises(DataError) as caught:
        AvsBench(tmp_path)[0]
    assert message in caught.value.message
    assert str(tmp_path) in caught.value.message
    assert "\n" not in caught.value.message


def test_an_unknown_colour_is_an_error_with_its_file(tmp_path):
    folder = write_drawn_avss(tmp_path)
    path = folder / "labels_rgb" / "1.png"
    write_picture(path, labels_to_colours(MASK * 3))
    with pytest.raises(DataError, match="is of no class") as caught:
        AvsBench(tmp_path)[0]
    assert str(path) in caught.value.message


def test_pictures_of_different_sizes_are_refused(tmp_path):
    folder = write_drawn_avss(tmp_path)
    write_picture(folder / "labels_rgb" / "0.png", labels_to_colours(MASK[:8]))
    with pytest.raises(DataError, match="is 32 x 8, the clip's first frame 32 x 24"):
        AvsBench(tmp_path)[0]


def test_a_folder_of_no_known_layout_is_refused(tmp_path):
    with pytest.raises(DataError, match="is neither"):
        open_clips(tmp_path)
    with pytest.raises(DataError, match="is no folder"):
        open_clips(tmp_path / "missing")
    write_drawn_avss(tmp_path / "AVSS")
    with pytest.raises(DataError, match="holds subsets of AVSBench") as caught:
        open_clips(tmp_path)
    assert caught.value.hint == f"name one: --dataset avss --data-root {tmp_path}"


def test_ignored_pixels_and_visible_objects_are_read(tmp_path):
    folder = write_drawn_avss(tmp_path)
    for t in range(2):
        write_picture(folder / "ignore" / f"{t}.png", np.roll(MASK, 8, axis=1) * 255)
        write_picture(folder / "visible" / f"{t}.png", np.maximum(MASK * 2, 1))
    clip = AvsBench(tmp_path)[0]
    np.testing.assert_array_equal(clip.labels == 255, [np.roll(MASK, 8, axis=1) > 0] * 2)
    np.testing.assert_array_equal(clip.visible, [np.maximum(MASK * 2, 1)] * 2)
    shutil.rmtree(folder / "visible")
    assert AvsBench(tmp_path)[0].visible is None
