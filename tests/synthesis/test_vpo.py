import json

import cv2
import numpy as np
import pytest
import soundfile

from avsegcli.cli.main import main
from avsegcli.errors import DataError
from avsegcli.synthesis.composer import Composer
from avsegcli.synthesis.parts import Parts
from avsegcli.synthesis.vpo import HELD_OUT, write_vpo_parts

CATEGORIES = {1: "dog", 2: "car", 3: "chair"}


@pytest.fixture
def coco(tmp_path):
    """Photos: three with a dog and a crowd of cars, three with a chair; sounds of dogs and cars."""
    images, annotations = [], []
    (tmp_path / "images").mkdir()
    for number in range(6):
        picture = np.random.default_rng(number).integers(0, 255, (120, 160, 3), np.uint8)
        cv2.imwrite(str(tmp_path / "images" / f"{number}.jpg"), picture)
        images.append({"id": number, "file_name": f"{number}.jpg", "height": 120, "width": 160})
        box = [20, 30, 100, 30, 100, 90, 20, 90]
        kind = 1 if number < 3 else 3
        annotations.append(
            {"id": number, "image_id": number, "category_id": kind, "segmentation": [box]}
        )
    runs = {"size": [120, 160], "counts": [0, 120 * 10, 120 * 150]}
    annotations.append(
        {"id": 9, "image_id": 0, "category_id": 2, "segmentation": runs, "iscrowd": 1}
    )
    content = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": n, "name": name} for n, name in CATEGORIES.items()],
    }
    (tmp_path / "ann.json").write_text(json.dumps(content))
    for folder in ("dog barking", "sports vehicle", "cat meowing"):
        (tmp_path / "sounds" / folder).mkdir(parents=True)
        for number in range(4):
            tone = 0.5 * np.sin(np.arange(16_000) * (0.1 + 0.01 * number))
            soundfile.write(tmp_path / "sounds" / folder / f"{number}.wav", tone, 16_000)
    return tmp_path


def options(root, **changes):
    words = {
        "--coco": root / "ann.json",
        "--images": root / "images",
        "--vggsound": root / "sounds",
        "-o": root / "parts",
    } | changes
    return [str(word) for pair in words.items() for word in pair]


@pytest.fixture
def all_train(monkeypatch):
    monkeypatch.setattr("avsegcli.synthesis.vpo.HELD_OUT", {})


def test_parts_are_made_that_clips_can_be_composed_of(coco, all_train, capsys):
    assert main(["data", "vpo", *options(coco)]) == 0
    printed = capsys.readouterr().out
    assert printed == f"{coco / 'parts'}: 1 class, 3 cutouts, 3 backgrounds, 4 sounds\n"
    parts = Parts(coco / "parts", "train")
    assert parts.classes == ("background", "dog")
    clip = Composer(parts, task="single", num_frames=2, size=64).compose(0, 0).clip
    assert (clip.labels == 1).any()


def test_a_folder_of_another_name_is_paired_by_hand(coco, all_train, capsys):
    assert main(["data", "vpo", *options(coco), "--pair", "sports vehicle=car"]) == 0
    mask = cv2.imread(str(coco / "parts/scenes/train-coco-0.png"), cv2.IMREAD_UNCHANGED)
    assert set(np.unique(mask)) == {0, 2, 255}  # a dog, and a crowd that is not scored
    cutout = cv2.imread(
        str(next((coco / "parts/objects/dog").glob("*-coco-0-*.webp"))), cv2.IMREAD_UNCHANGED
    )
    assert cutout.shape == (64, 84, 4)
    assert main(["data", "vpo", *options(coco), "--force", "--pair", "x=tuba"]) == 1
    assert main(["data", "vpo", *options(coco), "--force", "--pair", "barking=dog"]) == 1
    assert "sounds has no folder 'barking'" in capsys.readouterr().err
    assert main(["data", "vpo", *options(coco), "--force", "--pair", "tuba"]) == 2


def test_photos_and_recordings_keep_their_split(coco):
    assert sum(HELD_OUT.values()) < 100
    write_vpo_parts(coco / "ann.json", coco / "images", coco / "sounds", coco / "one")
    write_vpo_parts(coco / "ann.json", coco / "images", coco / "sounds", coco / "two")
    names = [sorted(p.name for p in (coco / out).rglob("*.*")) for out in ("one", "two")]
    assert names[0] == names[1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"--coco": "nowhere.json"}, "is missing"),
        ({"--coco": "text.json"}, "is no file of COCO's instances"),
        ({"--images": "sounds"}, "holds none of the photos"),
        ({"--vggsound": "nowhere"}, "is no folder"),
        ({"--vggsound": "images"}, "no category of"),
    ],
)
def test_what_cannot_be_used_is_one_line_and_leaves_nothing(coco, change, message, capsys):
    (coco / "text.json").write_text('{"categories": 3}')
    (option, name), *_ = change.items()
    assert main(["data", "vpo", *options(coco, **{option: coco / name})]) == 1
    assert message in capsys.readouterr().err.splitlines()[0]
    assert not (coco / "parts").exists()


def test_a_damaged_annotation_is_named(coco):
    content = json.loads((coco / "ann.json").read_text())
    content["annotations"][1]["segmentation"] = [[1, 2]]
    (coco / "ann.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match="annotation 1 is damaged"):
        write_vpo_parts(coco / "ann.json", coco / "images", coco / "sounds", coco / "parts")
    assert not (coco / "parts").exists()
