import json

import numpy as np
import pytest
from pycocotools import mask as coco

from avsegcli.datasets.clip import Clip
from avsegcli.errors import DataError
from avsegcli.evaluation.saved_predictions import SavedPredictions

LABELS = np.zeros((3, 8, 12), np.uint8)
LABELS[0, :4, :6], LABELS[1, 2:6, 3:9], LABELS[2, 5:, 5:] = 1, 1, 1


class Clips:
    names = ("a", "b")

    def __init__(self, classes=("background", "object")):
        self.classes = classes

    def __len__(self):
        return 2

    def __getitem__(self, index):
        frames, sound = np.zeros((3, 8, 12, 3), np.uint8), np.zeros(48_000, np.float32)
        return Clip(self.names[index], frames, sound, LABELS, np.ones(3, bool), None, None)


def runs(mask):
    coded = coco.encode(np.asfortranarray(mask))
    return {"size": coded["size"], "counts": coded["counts"].decode()}


def results(image_id="{clip}/{t}", **changed):
    return [
        {"image_id": str(image_id).format(clip=clip, t=t, n=t + 1), "category_id": 1}
        | {"segmentation": runs(LABELS[t])}
        | changed
        for clip in Clips.names
        for t in range(3)
    ]


def saved(path, content, clips=None, **options):
    path.write_text(json.dumps(content), **options)
    return SavedPredictions(path, clips or Clips())


def assert_right(masks):
    for index in range(2):
        np.testing.assert_array_equal(masks.predict(Clips()[index], (8, 12)).labels, LABELS)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_json_file_may_be_given_itself_with_a_byte_order_mark(tmp_path, encoding):
    masks = saved(tmp_path / "a.json", results(), encoding=encoding)
    assert_right(masks)
    assert masks.how == "COCO results, frames counted from 0"


@pytest.mark.parametrize(
    "image_id", ["{clip}/{n}", "{clip}/{clip}_{n}.png", "{clip}_{n}.png", "test/{clip}/{n:05}.jpg"]
)
def test_frames_are_counted_from_1_where_none_is_0(tmp_path, image_id):
    masks = saved(tmp_path / "a.json", results(image_id))
    assert_right(masks)
    assert masks.how == "COCO results, frames counted from 1"


def test_a_frame_that_the_clip_does_not_have_is_refused(tmp_path):
    content = [*results(), results("a/{n}")[2]]
    with pytest.raises(DataError, match="of frame 3 of clip 'a', whose frames are 0 to 2"):
        saved(tmp_path / "a.json", content).predict(Clips()[0], (8, 12))


def test_a_coco_dictionary_is_read_with_its_images_and_categories(tmp_path):
    names = [f"{clip}_{n}.png" for clip in Clips.names for n in (1, 2, 3)]
    images = [
        {"id": number, "file_name": name, "height": 8, "width": 12}
        for number, name in enumerate(names, start=70)
    ]
    annotations = [one | {"image_id": number} for number, one in enumerate(results(), start=70)]
    annotations[1] |= {"segmentation": [[3, 2, 9, 2, 9, 6, 3, 6]]}
    content = {"images": images, "annotations": annotations}
    assert_right(saved(tmp_path / "a.json", content))
    clips = Clips(("background", "cat", "dog"))
    content["categories"] = [{"id": 1, "name": "dog"}]
    labels = saved(tmp_path / "a.json", content, clips).predict(Clips()[0], (8, 12)).labels
    np.testing.assert_array_equal(labels, 2 * LABELS)
    annotations[0]["image_id"] = 7
    with pytest.raises(DataError, match="annotation 0: image_id 7 is not one of 'images'"):
        saved(tmp_path / "a.json", content)


def test_a_dictionary_whose_results_name_frames_themselves_is_read(tmp_path):
    images = [{"id": 0, "file_name": "a_1.png"}]
    assert_right(saved(tmp_path / "a.json", {"images": images, "annotations": results()}))


def test_every_category_is_an_object_where_the_clips_name_none(tmp_path):
    content = results(category_id="drum")
    content[0]["category_id"] = 18
    masks = saved(tmp_path / "a.json", content)
    assert_right(masks)
    assert masks.how == "COCO results, frames counted from 0, 2 categories as objects"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"segmentation": None}, "result 0 has no mask"),
        ({"segmentation": None, "bbox": [0, 0, 9, 9]}, "result 0 has a box, but no mask"),
        ({"image_id": "7"}, "image_id 7 is a number, and no 'images' say"),
        ({"category_id": "dg"}, "category 'dg' is not one of the classes; did you mean 'dog'?"),
        ({"category_id": 3}, "category 3 of 2 classes"),
        ({"category_id": 0}, "category 0 is the background"),
        ({"score": 2}, "score 2.0 is not between 0 and 1"),
    ],
)
def test_what_is_wrong_is_said_of_the_first_result(tmp_path, changed, message):
    with pytest.raises(DataError) as caught:
        saved(tmp_path / "a.json", results(**changed), Clips(("background", "cat", "dog")))
    assert message in caught.value.message
    assert caught.value.message.startswith(str(tmp_path / "a.json"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([7], "result 0: 7 is not an object"),
        ([{"image_id": "a/0"}], "result 0 has no 'category_id'"),
        ({"annotations": []}, "not a COCO dictionary: it has no 'images'"),
        ({"cat": 1}, "does not hold COCO results"),
        ({"frames": [], "events": [], "classes": []}, "is of 'avseg segment --json'"),
    ],
)
def test_json_of_another_shape_is_told(tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        saved(tmp_path / "a.json", content)


def test_results_of_unknown_clips_are_told(tmp_path):
    content = [*results()[:3], *results("c/{t}")]
    masks = saved(tmp_path / "a.json", content)
    assert masks.warnings == [
        "the results name no object in 1 of 2 clips, as 'b'",
        "6 results are left out, of frames such as 'c/0': no clip is called so",
    ]
    with pytest.raises(DataError, match="names no object in 2 of 2 clips") as caught:
        saved(tmp_path / "a.json", results("c/{t}"))
    assert caught.value.hint == "\"image_id\" is to be as 'a/0', but 'c/0'"


def test_results_and_pictures_in_one_folder_are_refused(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "0.png").touch()
    (tmp_path / "r.json").write_text(json.dumps(results()))
    with pytest.raises(DataError, match="holds both masks and COCO results"):
        SavedPredictions(tmp_path, Clips())
