import json

import cv2
import numpy as np
import pytest

from avsegcli.datasets.clip import Clip
from avsegcli.datasets.io import write_picture
from avsegcli.datasets.label_colors import label_colours, labels_to_colours
from avsegcli.errors import DataError
from avsegcli.evaluation.evaluator import evaluate
from avsegcli.evaluation.saved_predictions import SavedPredictions
from avsegcli.files.indexed_png import encode_indexed_png
from avsegcli.inference.masks import Box, Masks, Region
from avsegcli.outputs.mask_folder import MaskFolder

CLASSES = ("background", "cat", "dog")
OWN = np.array([(0, 0, 0), (9, 8, 7), (200, 1, 1)], np.uint8)  # colours of no class
LABELS = np.zeros((2, 8, 12), np.uint8)
LABELS[0, :4, :6], LABELS[1, 2:6, 3:9] = 1, 2


class OneClip:
    def __init__(self, classes=CLASSES, labels=LABELS):
        self.classes, self.names = classes, ["one"]
        self.clip = Clip(
            "one",
            np.zeros((2, 8, 12, 3), np.uint8),
            np.zeros(32_000, np.float32),
            labels,
            np.ones(2, bool),
            None,
            None,
        )

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return self.clip


BINARY = OneClip(("background", "object"), (LABELS > 0).astype(np.uint8))


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def png(picture):
    bgr = picture[..., ::-1] if picture.ndim == 3 else picture
    return cv2.imencode(".png", np.ascontiguousarray(bgr))[1].tobytes()


def score(root, dataset):
    return evaluate(SavedPredictions(root, dataset), dataset, size="native")


@pytest.mark.parametrize("place", ["v1m/one/labels_rgb/{t}.png", "one/{t}.png"])
def test_coloured_pictures_are_classes(tmp_path, place):
    for t, labels in enumerate(LABELS):
        write(tmp_path / place.format(t=t), png(labels_to_colours(labels)))
    scores = score(tmp_path, OneClip())
    assert scores.avss.class_iou == (1, 1, 1)
    assert scores.avsbench.j == scores.davis.j_and_f == 1


def test_the_truth_scores_1_at_any_size(tmp_path):
    for t, labels in enumerate(LABELS):
        write(tmp_path / "one" / f"{t}.png", png(labels))
    dataset = OneClip()
    scores = evaluate(SavedPredictions(tmp_path, dataset), dataset, size="protocol")
    assert scores.avsbench.j == scores.avss.miou == 1


def test_indices_with_or_without_a_palette_are_classes(tmp_path):
    write(tmp_path / "one" / "0.png", png(LABELS[0]))
    write(tmp_path / "one" / "1.png", encode_indexed_png(LABELS[1], label_colours(2)))
    assert score(tmp_path, OneClip()).avss.class_iou == (1, 1, 1)


@pytest.mark.parametrize("place", ["test/dog/one/one_{n}.png", "one_{n}.png", "one/one_{n}.png"])
@pytest.mark.parametrize("highest", [1, 255])
def test_masks_of_s4_and_ms3_are_read_from_wherever_they_lie(tmp_path, place, highest):
    root = tmp_path / "one" if place.startswith("one_") else tmp_path
    for n, labels in enumerate(BINARY.clip.labels, start=1):
        write(root / place.format(n=n), png(labels * np.uint8(highest)))
    assert score(tmp_path, BINARY).avsbench.j == 1


def test_classes_whose_colour_is_grey_are_no_indices(tmp_path):
    labels = (LABELS > 0).astype(np.uint8) * np.uint8(7)
    for t in range(len(labels)):
        write(tmp_path / "one" / f"{t}.png", png(labels_to_colours(labels[t])))
    dataset = OneClip(("background", *"abcdefg"), labels)
    assert score(tmp_path, dataset).avss.class_iou[7] == 1


@pytest.mark.parametrize("channels", [3, 4])
def test_white_masks_may_have_channels_of_colours(tmp_path, channels):
    for t, labels in enumerate(BINARY.clip.labels):
        mask = np.repeat(labels[..., None] * np.uint8(255), channels, axis=2)
        mask[..., 3:] = 255
        write_picture(tmp_path / "one" / f"{t}.png", mask)
    assert score(tmp_path, BINARY).avsbench.j == 1


def test_grey_values_are_probabilities(tmp_path):
    for t, labels in enumerate(BINARY.clip.labels):
        write(tmp_path / "one" / f"{t}.png", png(labels * np.uint8(100) + np.uint8(20)))
    scores = score(tmp_path, BINARY)
    assert scores.avsbench.j == 0  # nowhere above a half
    assert scores.avsbench.f == pytest.approx(1)  # but right at another threshold


def test_a_frame_of_which_nothing_is_sure_is_no_mask(tmp_path):
    frames = np.full(LABELS.shape, 0, np.uint8)
    frames[0] = BINARY.clip.labels[0] * 255
    frames[1, :2] = 1  # of 255
    for t, values in enumerate(frames):
        write(tmp_path / "one" / f"{t}.png", png(values))
    assert score(tmp_path, BINARY).avsbench.j == 0.5  # the second has an object and is left empty


def test_coco_results_are_classes_by_index_or_name(tmp_path):
    def runs(mask):
        flat = np.concatenate([[0], mask.T.ravel(), [0]]).astype(int)
        edges = np.flatnonzero(np.diff(flat))
        counts = np.diff(np.concatenate([[0], edges, [mask.size]])).tolist()
        return {"size": list(mask.shape), "counts": counts}

    results = [
        {"image_id": "one/0", "category_id": 1, "segmentation": runs(LABELS[0] == 1)},
        {"image_id": "one/1", "category_id": "dog", "segmentation": runs(LABELS[1] == 2)},
        {
            "image_id": "one/1",
            "category_id": 1,
            "segmentation": runs(LABELS[1] == 2),
            "score": 0.4,
        },
    ]
    write(tmp_path / "results.json", json.dumps(results).encode())
    write(tmp_path / "classes.json", json.dumps({"cat": 1}).encode())
    scores = score(tmp_path, OneClip())
    assert scores.avss.class_iou == (1, 1, 1)
    assert score(tmp_path, OneClip()).summary.num_frames == 2


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (None, b"", "does not exist"),
        ("notes.npy", b"", "holds no masks of clip 'one', but .npy files"),
        ("two/0.png", png(LABELS[0]), "no masks of clip 'one'"),
        ("one/0.png", png(LABELS[0]), "no mask 1 of clip 'one'"),
        ("one/0.png", png(LABELS[0] * 9), "index 9 of 3 classes"),
        ("one/0.png", b"no picture", "is not a readable picture"),
        ("one/0.png", png(np.full((8, 12, 3), 7, np.uint8)), "are RGB, but grey, and no class is"),
        ("one/0.png", png(np.full((8, 12, 3), (9, 7, 7), np.uint8)), "is of no class"),
        ("a.json", b"{", "cannot be read as JSON"),
        (
            "a.json",
            b'[{"image_id": "one/0", "category_id": 9, "segmentation": []}]',
            "result 0: category 9 of 2 classes",
        ),
        *(
            (
                "a.json",
                b'[{"image_id": "one/0", "category_id": 1, "segmentation": [], "score": %s}]'
                % score,
                "result 0: ",
            )
            for score in (b'"high"', b"null", b"NaN", b"7.5")
        ),
        (
            "a.json",
            b'[{"image_id": "one/0", "category_id": 1, '
            b'"segmentation": {"size": [8, 12], "counts": [5]}}]',
            "mask 0 of clip 'one' is damaged",
        ),
    ],
)
def test_what_cannot_be_scored_is_one_line(tmp_path, name, content, message):
    root = tmp_path / "masks"
    if name is not None:
        write(root / name, content)
    with pytest.raises(DataError, match=message) as caught:
        score(root, OneClip())
    assert "\n" not in caught.value.message


def test_masks_of_avseg_itself_are_read_by_their_times_and_classes(tmp_path):
    folder, names = tmp_path / "one", ("background", "dog", "owl", "cat")
    folder.mkdir()
    masks = MaskFolder(folder, names, label_colours(3)[1:].tolist())
    for index, time in enumerate((0.0, 0.4, 0.8, 1.2, 1.6)):
        labels = np.array([0, 3, 1], np.uint8)[LABELS[int(time)]]
        regions = [_region(labels == index, index) for index in np.unique(labels[labels > 0])]
        masks.add(10 * index, time, Masks(12, 8, regions))
    scores = score(tmp_path, OneClip())
    assert scores.avss.class_iou == (1, 1, 1)
    how = SavedPredictions(tmp_path, OneClip()).how
    assert how == (
        "palette PNG, indices 0 to 3 as classes; of each second the frame in its middle, by "
        "times.csv; classes of their own classes.json"
    )
    (folder / "times.csv").unlink()
    with pytest.raises(DataError, match="has a mask 40, but the frames of clip 'one' are 0 to 1"):
        score(tmp_path, OneClip())


def _region(mask, index):
    box = Box(0, 0, 12, 8)
    return Region(index, 1.0, int(mask.sum()), box, mask, [], box, (0, 0))


def test_masks_of_avseg_are_objects_where_the_clips_name_no_classes(tmp_path):
    write(tmp_path / "one" / "classes.json", json.dumps({"background": 0, "dog": 1, "owl": 2}))
    for t, labels in enumerate(LABELS):
        write(tmp_path / "one" / f"{t:06}.png", encode_indexed_png(labels, OWN))
    assert score(tmp_path, BINARY).avsbench.j == 1


def test_a_clip_without_masks_is_refused_before_anything_is_scored(tmp_path):
    write(tmp_path / "one" / "0.png", png(LABELS[0]))
    clips = OneClip()
    clips.names = ["one", "two", "three"]
    with pytest.raises(DataError, match="has no masks of 2 of 3 clips, as 'two'"):
        SavedPredictions(tmp_path, clips)
