import json

import numpy as np
import pytest
from drawn_clips import CLASSES, Clips, Sees, clip, squares

from avsegcli.errors import DataError
from avsegcli.evaluation.class_mapping import match_classes
from avsegcli.evaluation.evaluator import evaluate
from avsegcli.evaluation.prediction import predict_clip
from avsegcli.evaluation.report import score_tables
from avsegcli.inference.preprocess import resize_labels


@pytest.mark.parametrize("size", ["protocol", "native"])
def test_what_is_right_scores_1_by_every_convention(size):
    scores = evaluate(Sees(), Clips([clip("a", squares(1, 2, 0))]), size=size)
    numbers = scores.as_dict()
    for convention in ("avsbench", "avss", "pooled", "davis"):
        for name in {"j", "f", "j_and_f", "miou", "foreground_iou"} & set(numbers[convention]):
            assert numbers[convention][name] == pytest.approx(1, abs=0.03), (convention, name)
    assert (scores.summary.num_frames, scores.summary.silent_share) == (3, pytest.approx(1 / 3))


def test_the_wrong_class_is_right_for_binary_metrics_only():
    scores = evaluate(Sees(), Clips([clip("a", squares(1), shown=squares(2))]), size="native")
    assert scores.avsbench.j == scores.davis.j == 1
    assert scores.avss.class_iou == (1, 0, 0)
    assert scores.pooled.foreground_iou == 1


def test_frames_without_label_and_ignored_pixels_do_not_count():
    labels = squares(1, 1, 1)
    shown = squares(1, 2, 1)
    shown[2, 20:] = 2
    labels[1], labels[2, 20:] = 255, 255
    dataset = Clips([clip("a", labels, shown=shown, annotated=[True, False, True])])
    scores = evaluate(Sees(), dataset, size="native")
    assert scores.summary.num_frames == 2
    assert (scores.avsbench.j, scores.avss.miou_present) == (1, 1)


def test_a_frame_of_which_every_pixel_is_ignored_does_not_count():
    dataset = Clips([clip("a", squares(1, 1), shown=squares(1, 2))])
    dataset[0].labels[1] = 255
    assert evaluate(Sees(), dataset).summary.num_frames == 1


def test_protocol_is_224_squashed_and_native_the_stored_size():
    dataset = Clips([clip("a", squares(1, size=(40, 80)))])
    predictor = Sees()
    assert evaluate(predictor, dataset, size="protocol").size == "protocol"
    assert resize_labels(dataset[0].labels[0], (224, 224)).mean() == 0.25
    assert evaluate(predictor, dataset, size="native").avsbench.j == 1


def test_probabilities_are_upsampled_bilinearly():
    class Coarse(Sees):
        def predict(self, frames, log_mel):
            assert frames[0].shape == (4, 8, 3)
            return np.array([[[[0.0, 0]], [[1, 0]], [[0, 0.6]]]], np.float32)

    dataset = clip("a", np.zeros((1, 4, 8), np.uint8))
    mel = np.zeros((1, 96, 64), np.float32)
    result = predict_clip(Coarse(), dataset.frames, mel, size=(4, 8))
    cat = np.array([1, 1, 0.875, 0.625, 0.375, 0.125, 0, 0])
    expected = np.maximum(cat, 0.6 * cat[::-1])
    np.testing.assert_allclose(result.probs[0], np.tile(expected, (4, 1)), atol=1e-6)
    assert result.labels[0, 0].tolist() == [1, 1, 1, 1, 0, 2, 2, 2]


@pytest.mark.parametrize(("brightness", "found"), [(0.4, 0), (0.6, 1)])
def test_what_is_less_probable_than_a_half_has_no_class(brightness, found):
    dim = clip("a", squares(1))
    dim.frames[:] = dim.frames * brightness
    scores = evaluate(Sees(), Clips([dim]), size="native")
    assert scores.pooled.foreground_iou == scores.avsbench.j == found


def test_clips_of_up_to_ten_frames_are_seen_at_once_and_longer_ones_in_windows():
    predictor = Sees()
    evaluate(predictor, Clips([clip("a", squares(*[1] * 10)), clip("b", squares(*[1] * 12))]))
    assert predictor.windows == [10, 5, 5, 2]


def test_the_order_of_clips_changes_no_bit():
    random = np.random.default_rng(0)
    clips = [
        clip(
            f"clip {n}",
            random.integers(0, 3, (2, 24, 24)),
            shown=random.integers(0, 3, (2, 24, 24)),
        )
        for n in range(6)
    ]
    assert evaluate(Sees(), Clips(clips), listen=True) == evaluate(
        Sees(), Clips(clips[::-1]), listen=True
    )


def test_class_lists_that_differ_are_scored_by_the_names_of_the_data():
    dataset = Clips([clip("a", squares(1, 2, 3), shown=squares(1, 2, 1))])
    dataset.classes = ("background", "man", "dog", "owl")
    scores = evaluate(Sees(("background", "person", "dog")), dataset, size="native")
    assert scores.classes == ("background", "person", "dog", "owl")
    assert scores.unknown_classes == ("owl",)
    assert scores.avsbench.j == 1  # something is where the owl is
    assert scores.avss.class_iou == (1, 0.5, 1, 0)  # but no person
    assert scores.avss.class_frames == (3, 2, 1, 1)
    assert scores.avss.miou == pytest.approx(2.5 / 4)
    assert scores.avss.miou_known == pytest.approx(2.5 / 3)


@pytest.mark.parametrize(
    ("model", "data"),
    [(CLASSES, ("background", "object")), (("background", "object"), CLASSES)],
)
def test_without_a_shared_name_everything_is_an_object(model, data):
    shared = match_classes(model, data)
    assert shared.names == ("background", "object")
    assert shared.of_data[[0, 1, 2, 255]].tolist() == [0, 1, 1, 255]
    assert shared.of_model[[0, 1, 2]].tolist() == [0, 1, 1]


def test_persons_are_folded_only_where_one_list_is_coarser():
    fine = ("background", "man", "woman", "dog")
    coarse = ("background", "dog", "person")
    assert match_classes(fine, fine).names == fine
    assert match_classes(fine, coarse).of_model[:4].tolist() == [0, 2, 2, 1]
    assert match_classes(coarse, fine).of_data[:4].tolist() == [0, 1, 1, 2]


def test_progress_is_told():
    told = []
    clips = Clips([clip("a", squares(1)), clip("b", squares(2))])
    evaluate(Sees(), clips, progress=lambda *numbers: told.append(numbers))
    assert told == [(1, 2), (2, 2)]


def test_nothing_to_score_is_one_line():
    dataset = Clips([clip("a", squares(1), annotated=[False])])
    with pytest.raises(DataError, match="no clip of this split has an annotated frame"):
        evaluate(Sees(), dataset)


def test_scores_can_be_written_as_json_and_printed():
    scores = evaluate(Sees(), Clips([clip("a", squares(1))]), listen=True)
    numbers = json.loads(json.dumps(scores.as_dict(), allow_nan=False))
    assert numbers["avss"]["class_iou"][2] is None
    titles = [str(table.title) for table in score_tables(scores)]
    expected = ["Evaluation", "Scores by convention", "Audio dependence", "IoU by class"]
    assert titles == expected
