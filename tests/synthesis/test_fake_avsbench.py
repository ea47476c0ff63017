import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from avsegcli.cli.main import main
from avsegcli.datasets.avsbench import AvsBench
from avsegcli.datasets.avsbench_classes import CLASSES
from avsegcli.datasets.io import read_indices
from avsegcli.errors import DataError
from avsegcli.synthesis.fake_avsbench import write_fake

CLIPS = {"s4": 1, "ms3": 1, "avss": 3}  # of each split


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("fake")
    for subset, count in CLIPS.items():
        write_fake(root, subset, clips=count, splits=["train", "test"])
    return root


@pytest.mark.parametrize("subset", CLIPS)
def test_every_subset_is_read_back(root, subset):
    for split in ("train", "test"):
        dataset = AvsBench(root, split, subset=subset)
        assert len(dataset) == CLIPS[subset]
        assert dataset.notes == []
        clips = [dataset[index] for index in range(len(dataset))]
        assert any((clip.labels[clip.annotated] > 0).any() for clip in clips)
        assert all(len(clip.waveform) == 16_000 * len(clip.frames) for clip in clips)


def test_avss_has_71_classes_and_clips_of_each_label(root):
    dataset = AvsBench(root, "train", subset="avss")
    assert dataset.classes == CLASSES
    assert len(CLASSES) == 71
    assert [len(dataset[index].frames) for index in range(3)] == [5, 5, 10]
    assert [int(dataset[index].annotated.sum()) for index in range(3)] == [1, 5, 10]
    assert len(json.loads((root / "AVSS" / "label2idx.json").read_text())) == 71


@pytest.mark.parametrize("subset", ["s4", "ms3"])
def test_the_arithmetic_of_avsbench_finds_a_perfect_prediction_perfect(root, subset):
    masks = sorted(root.glob(f"*/{subset}_data/gt_masks/test/**/*.png"))
    assert masks
    for path in masks:
        truth = np.asarray(Image.open(path).convert("L")) / 255  # as its loader's ToTensor
        painted = AvsBench(root, "test", subset=subset)._read_mask(path)
        np.testing.assert_array_equal(truth, painted)
        inter, union = (painted * truth).sum(), np.maximum(painted, truth).sum()
        assert not truth.any() or inter / union == 1
        combo = np.asarray(Image.open(path).convert("L")) // 255  # as COMBO reads them
        np.testing.assert_array_equal(combo, painted)


def test_names_and_kinds_of_files_are_those_of_avsbench(root):
    def only(pattern):
        return sorted(root.glob(pattern))[0]

    with (root / "Single-source/s4_meta_data.csv").open() as file:
        row = next(csv.DictReader(file))
    place = f"train/{row['category']}/{row['name']}"
    assert (root / f"Single-source/s4_data/audio_log_mel/{place}.pkl").exists()
    s4 = root / f"Single-source/s4_data/gt_masks/{place}/{row['name']}_1.png"
    assert s4.read_bytes()[24:26] == bytes([1, 0])  # one bit, grey
    ms3 = only("Multi-sources/ms3_data/gt_masks/test/*/*_5.png")
    assert ms3.read_bytes()[24:26] == bytes([8, 3])  # eight bits, palette
    assert set(np.unique(read_indices(ms3))) == {0, 255}
    assert only("Multi-sources/ms3_data/visual_frames/*/*.mp4_1.png").parent.parent.name == (
        "visual_frames"
    )
    assert only("AVSS/v2/*/labels_rgb/9.png").exists()
    assert len(list(root.glob("AVSS/v1s/train_*/labels_rgb/*"))) == 1


def test_the_same_seed_makes_the_same_pictures_and_sounds(root, tmp_path):
    write_fake(tmp_path, "ms3", clips=1, splits=["train", "test"])
    for path in (root / "Multi-sources").rglob("*.*"):
        if path.is_file() and path.suffix != ".pkl":  # these hold torch's names of its storages
            assert path.read_bytes() == (tmp_path / path.relative_to(root)).read_bytes(), path


def test_what_is_there_is_replaced_only_by_force(tmp_path):
    write_fake(tmp_path, "s4", clips=1, splits=["test"])
    with pytest.raises(DataError, match="holds a data set already"):
        write_fake(tmp_path, "s4", clips=1, splits=["test"])
    assert write_fake(tmp_path, "s4", clips=1, splits=["val"], force=True) == 1
    (tmp_path / "AVSS").mkdir()
    (tmp_path / "AVSS" / "precious").write_text("")
    with pytest.raises(DataError, match="holds other files"):
        write_fake(tmp_path, "avss", force=True)


def test_an_interrupted_writing_leaves_nothing(tmp_path):
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_fake(tmp_path, "s4", on_progress=interrupt)
    assert list(Path(tmp_path).iterdir()) == []


def test_the_command_says_where_the_clips_are(tmp_path, capsys):
    assert main(["data", "fake", str(tmp_path), "--dataset", "ms3", "--clips", "1"]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'Multi-sources'}: 3 clips\n"
