import csv
import io
import json

import cv2
import numpy as np
import pytest
from drawn_clips import Clips, Sees, clip, squares

from avsegcli.errors import AvsegError, ConfigError
from avsegcli.evaluation.evaluator import evaluate
from avsegcli.evaluation.gallery import BestAndWorst, caption, draw_example, draw_examples
from avsegcli.evaluation.score_files import ScoreFiles, score_csv

RIGHT, WRONG = squares(1, 1), squares(2, 2)


@pytest.fixture(scope="module")
def result():
    gallery = BestAndWorst(count=1)
    clips = [
        clip("right", RIGHT),
        clip("half", RIGHT, shown=squares(1, 0)),
        clip("missed <b>", RIGHT, shown=squares(0, 0)),
        clip("empty", squares(0, 0)),
    ]
    scores = evaluate(
        Sees(), Clips(clips), size="native", gallery=gallery, listen=True, bootstrap=100
    )
    return scores, gallery


def test_a_sheet_of_no_clip_says_so():
    sheet = draw_examples(BestAndWorst(), ("background", "dog"))
    assert sheet.shape[1] > 400
    assert (sheet < 128).any()


def test_the_gallery_keeps_the_worst_and_the_best(result):
    _, gallery = result
    assert [exhibit.name for exhibit in gallery.worst()] == ["missed <b>"]
    assert [exhibit.name for exhibit in gallery.best()] == ["right"]


def test_what_is_painted_where_nothing_sounds_is_the_worst():
    gallery = BestAndWorst(count=1)
    clips = [clip("silent", squares(0, 0), shown=squares(1, 1)), clip("half", squares(1, 0))]
    evaluate(Sees(), Clips([*clips, clip("right", RIGHT)]), gallery=gallery)
    (exhibit,) = gallery.worst()
    assert (exhibit.name, exhibit.j) == ("silent", 0)


def test_a_gallery_of_few_clips_shows_none_twice():
    gallery = BestAndWorst(count=3)
    for name, j in (("a", 0.2), ("b", 0.9), ("c", 0.5)):
        gallery.offer(clip(name, RIGHT), j, RIGHT, RIGHT)
    assert [e.name for e in gallery.worst()] == ["a", "c"]
    assert [e.name for e in gallery.best()] == ["b"]


def test_a_clip_of_any_shape_is_shown():
    gallery = BestAndWorst()
    labels = np.ones((1, 1200, 4), np.uint8)
    tall = clip("tall", labels)
    gallery.offer(tall, 0.5, labels, labels)
    (exhibit,) = gallery.worst()
    assert exhibit.frames.shape[2] == 1


def test_a_strip_shows_frame_truth_and_prediction_in_colour():
    gallery = BestAndWorst()
    gallery.offer(clip("one", RIGHT), 0.5, RIGHT, WRONG)
    (exhibit,) = gallery.worst()
    frame, truth, predicted = np.split(draw_example(exhibit), 3)
    assert (frame != truth).any()
    assert (truth != predicted).any()
    said = caption(exhibit, ("background", "cat", "dog"))
    assert said == "one   J 0.500   truth: cat; predicted: dog"


def test_the_sheet_is_one_picture_with_all_strips(result):
    scores, gallery = result
    sheet = draw_examples(gallery, scores.classes)
    assert sheet.dtype == np.uint8
    assert sheet.shape[0] > 2 * draw_example(gallery.best()[0]).shape[0]


def test_the_csv_has_a_number_a_row_for_split_classes_and_clips(result):
    scores, _ = result
    rows = list(csv.DictReader(io.StringIO(score_csv(scores))))
    found = {(row["scope"], row["name"], row["convention"], row["metric"]) for row in rows}
    assert len(found) == len(rows)
    assert ("split", "", "avss", "mIoU") in found
    assert ("class", "cat", "pooled", "IoU") in found
    assert ("clip", "right", "davis", "F of boundaries") in found
    assert ("clip", "empty", "avsbench", "F") not in found  # nothing sounds in it
    values = {row["value"] for row in rows if (row["name"], row["metric"]) == ("half", "J")}
    assert values == {"0.5"}


def test_every_number_of_the_json_is_in_the_csv(result):
    def numbers(value):
        if isinstance(value, dict | tuple | list):
            inner = value.values() if isinstance(value, dict) else value
            return set().union(*map(numbers, inner))
        return {value} if isinstance(value, int | float) else set()

    scores, _ = result
    rows = csv.DictReader(io.StringIO(score_csv(scores)))
    values = scores.as_dict()
    for entry in values["clips"]:  # of use to a program only
        del entry["sums"], entry["classes"]
    assert numbers(values) <= {float(row["value"]) for row in rows}
    found = {row["metric"]: row["value"] for row in csv.DictReader(io.StringIO(score_csv(scores)))}
    assert (found["clips"], found["share of silent frames"]) == ("4", "0.25")
    assert found["clips of mute"] == "4"
    assert "mIoU of classes that the model knows" in found


def test_every_file_is_written(result, tmp_path):
    files = ScoreFiles(
        *(tmp_path / "new" / f"a{end}" for end in (".json", ".csv", ".png", ".html"))
    )
    files.check()
    files.write(*result, {"model": "toy & co"})
    scores, gallery = result
    numbers = json.loads(files.json.read_text())
    assert numbers["model"] == "toy & co"
    assert numbers["clips"][0]["name"] == "empty"
    assert cv2.imread(str(files.sheet)).shape == draw_examples(gallery, scores.classes).shape
    page = files.report.read_text()
    assert page.count("<img") == 2
    assert "toy &amp; co" in page
    assert "missed &lt;b&gt;" in page
    assert "missed <b>" not in page
    for word in ("avsbench", "avss", "pooled", "davis", "mute", "cat", f"{scores.avsbench.j:.4f}"):
        assert word in page
    assert "http" not in page  # it needs no other file
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        "a.csv",
        "a.html",
        "a.json",
        "a.png",
    ]


def test_files_are_checked_before_the_work(tmp_path):
    with pytest.raises(ConfigError, match="is no picture"):
        ScoreFiles(sheet=tmp_path / "a.txt").check()
    (tmp_path / "a.csv").write_text("precious")
    with pytest.raises(AvsegError, match="exists already"):
        ScoreFiles(csv=tmp_path / "a.csv").check()
    ScoreFiles(csv=tmp_path / "a.csv").check(force=True)
