import dataclasses

import numpy as np
import pytest

from avsegcli.evaluation.metrics.avsbench import (
    THRESHOLDS,
    AvsBenchJF,
    ScoredFrame,
    SummaryMetric,
    f_curve,
)
from avsegcli.evaluation.metrics.davis import Davis, boundary, boundary_f
from avsegcli.evaluation.metrics.miou import Avss, Pooled

LEFT_HALF = np.tile(np.array([1, 1, 0, 0], np.uint8), (4, 1))
LEFT_THREE = np.tile(np.array([1, 1, 1, 0], np.uint8), (4, 1))
NOTHING = np.zeros((4, 4), np.uint8)
FOUR_PIXELS = np.pad(np.ones((2, 2), np.uint8), ((0, 2), (0, 2)))
EVENLY_HALF = np.full((4, 4), 0.5)


def frame(probs, target, *, clip="clip", index=0, labels=None):
    """A scored frame; without labels they are the probabilities above a half."""
    probs = np.asarray(probs, np.float32)
    labels = np.uint8(probs > 0.5) if labels is None else np.asarray(labels, np.uint8)
    return ScoredFrame(clip, index, probs, labels, np.asarray(target, np.uint8))


def compute(metric, frames):
    for one in frames:
        metric.update(one)
    return metric.compute()


def all_metrics():
    groups = [AvsBenchJF("video"), AvsBenchJF("frame"), AvsBenchJF("split")]
    return [*groups, Avss(4), Pooled(4), Davis(), SummaryMetric()]


@pytest.mark.parametrize(
    ("target", "probs", "avsbench_j", "avsbench_f", "davis_j", "davis_f"),
    [
        pytest.param(LEFT_HALF, LEFT_THREE, 0.6667, 0.7222, 0.6667, 1, id="one column too many"),
        pytest.param(NOTHING, FOUR_PIXELS, 0.75, 0, 0, 0, id="painted where nothing sounds"),
        pytest.param(NOTHING, NOTHING, 1, 0, 1, 1, id="both empty"),
        pytest.param(LEFT_HALF, NOTHING, 0, 0.5652, 0, 0, id="nothing painted"),
        pytest.param(LEFT_HALF, EVENLY_HALF, 0, 0.5652, 0, 0, id="a half is not above a half"),
    ],
)
def test_golden_values_of_tpavi_and_davis(target, probs, avsbench_j, avsbench_f, davis_j, davis_f):
    avsbench = compute(AvsBenchJF(), [frame(probs, target)])
    davis = compute(Davis(), [frame(probs, target)])
    assert (round(avsbench.j, 4), round(avsbench.f, 4)) == (avsbench_j, avsbench_f)
    assert (round(davis.j, 4), round(davis.f, 4)) == (davis_j, davis_f)
    assert davis.j_and_f == pytest.approx((davis.j + davis.f) / 2)


@pytest.mark.parametrize(("group", "f"), [("video", 0.7222), ("split", 0.7222), ("frame", 0.3611)])
def test_the_group_decides_whose_curves_are_averaged(group, f):
    frames = [frame(LEFT_THREE, LEFT_HALF), frame(FOUR_PIXELS, NOTHING, index=1)]
    scores = compute(AvsBenchJF(group), frames)
    assert (round(scores.j, 4), round(scores.f, 4)) == (0.7083, f)


def test_two_videos_are_two_groups_also_where_one_has_no_object():
    frames = [frame(LEFT_THREE, LEFT_HALF), frame(FOUR_PIXELS, NOTHING, clip="other")]
    scores = compute(AvsBenchJF("video"), frames)
    assert (round(scores.f, 4), scores.num_groups) == (0.3611, 2)


def test_a_constant_prediction_scores_the_floor_of_f():
    target = np.zeros((10, 10), np.uint8)
    target[:3] = 1
    scores = compute(AvsBenchJF(), [frame(np.full((10, 10), 0.7), target)])
    assert scores.f == pytest.approx(1.3 * 0.3 / (0.3 * 0.3 + 1))


def test_f_curve_equals_255_comparisons_also_on_the_thresholds_themselves():
    random = np.random.default_rng(0)
    near = np.nextafter(THRESHOLDS, random.choice(np.float32([0, 1]), 255))
    probs = np.concatenate([random.random(500, np.float32), THRESHOLDS, near])
    sounding = random.random(len(probs)) < 0.3
    expected = []
    for threshold in THRESHOLDS:
        painted = probs >= threshold
        hits = (painted & sounding).sum()
        precision, recall = hits / max(painted.sum(), 1), hits / sounding.sum()
        weight = 0.3 * precision + recall
        expected.append(1.3 * precision * recall / weight if weight else 0.0)
    np.testing.assert_allclose(f_curve(probs, sounding), expected, rtol=1e-12)
    assert (THRESHOLDS.dtype, THRESHOLDS[0], THRESHOLDS[-1]) == (np.float32, 0.0, 1.0)


def test_golden_values_of_the_class_metrics():
    frames = [
        frame(NOTHING[:2, :2], [[0, 0], [1, 1]], labels=[[0, 0], [1, 2]]),
        frame(NOTHING[:2, :2], [[0, 0], [0, 0]], labels=[[0, 0], [0, 2]], index=1),
    ]
    avss, pooled = compute(Avss(3), frames), compute(Pooled(3), frames)
    assert avss.class_frames == (2, 1, 2)
    np.testing.assert_allclose(np.multiply(avss.class_iou, avss.class_frames), [1.75, 0.5, 0])
    assert (round(avss.miou, 6), round(avss.f, 6)) == (0.458333, 0.592262)
    assert round(pooled.miou, 6) == 0.444444
    assert pooled.foreground_iou == pytest.approx(2 / 3)


def test_a_class_never_seen_scores_0_in_the_mean_and_is_left_out_of_those_present():
    frames = [frame(NOTHING, LEFT_HALF, labels=LEFT_HALF)]
    avss, pooled = compute(Avss(4), frames), compute(Pooled(4), frames)
    assert (avss.miou, avss.miou_no_background, avss.miou_present) == (0.5, 1 / 3, 1)
    assert (pooled.miou, pooled.miou_present) == (0.5, 1)
    assert avss.class_iou == pooled.class_iou == (1, 1, None, None)


def test_a_class_that_is_not_scored_is_wrong_where_it_meets_one_that_is():
    frames = [frame(LEFT_HALF, LEFT_HALF, labels=np.where(LEFT_HALF == 1, 3, 0))]
    pooled = compute(Pooled(3), frames)
    assert pooled.class_iou == (1, 0, None)
    assert pooled.foreground_iou == 1


def test_pixels_to_ignore_change_no_number():
    random = np.random.default_rng(1)
    target = np.kron(random.integers(0, 4, (4, 4)), np.ones((6, 6), int)).astype(np.uint8)
    target[:, 5:12] = 255
    probs, labels = random.random((24, 24), np.float32), random.integers(0, 4, (24, 24))
    other_probs, other_labels = np.where(target == 255, 0.9, probs), labels.copy()
    other_labels[target == 255] = 3
    for one, other in zip(all_metrics(), all_metrics(), strict=True):
        scores = compute(one, [frame(probs, target, labels=labels)])
        assert scores == compute(other, [frame(other_probs, target, labels=other_labels)])


def test_the_order_of_frames_and_clips_changes_no_bit():
    random = np.random.default_rng(2)
    frames = [
        frame(
            random.random((16, 16), np.float32),
            random.integers(0, 4, (16, 16)) * (index > 0),
            clip=f"clip {number}",
            index=index,
            labels=random.integers(0, 4, (16, 16)),
        )
        for number in range(7)
        for index in range(3)
    ]
    shuffled = [frames[i] for i in random.permutation(len(frames))]
    for one, other in zip(all_metrics(), all_metrics(), strict=True):
        assert compute(one, frames) == compute(other, shuffled)


def test_boundary_is_that_of_davis():
    square = np.zeros((4, 4), bool)
    square[1:3, 1:3] = True
    expected = [[1, 1, 1, 0], [1, 0, 1, 0], [1, 1, 1, 0], [0, 0, 0, 0]]
    np.testing.assert_array_equal(boundary(square), expected)
    assert not boundary(np.ones((3, 3), bool)).any()
    corner = np.zeros((2, 2), bool)
    corner[1, 1] = True  # the last pixel itself is never boundary
    np.testing.assert_array_equal(boundary(corner), [[1, 1], [1, 0]])


def test_boundary_f_counts_what_is_within_reach_as_a_dilation_would():
    cv2 = pytest.importorskip("cv2")
    random = np.random.default_rng(3)
    noise = [cv2.resize(random.random((6, 6)), (240, 180)) > 0.55 for _ in range(2)]
    reach = 3  # ceil(0.008 * 300)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disk = np.uint8(x**2 + y**2 <= reach**2)
    edges = [boundary(mask) for mask in noise]
    wide = [cv2.dilate(np.uint8(edge), disk) > 0 for edge in edges]
    precision, recall = wide[1][edges[0]].mean(), wide[0][edges[1]].mean()
    expected = 2 * precision * recall / (precision + recall)
    assert boundary_f(*noise) == pytest.approx(expected)
    assert 0.05 < expected < 0.95


def test_the_summary_tells_silent_frames_from_others():
    frames = [
        frame(LEFT_THREE, LEFT_HALF),
        frame(FOUR_PIXELS, NOTHING, index=1),
        frame(NOTHING, NOTHING, clip="other"),
    ]
    summary = compute(SummaryMetric(), frames)
    assert (summary.num_clips, summary.num_frames) == (2, 3)
    assert summary.silent_share == pytest.approx(2 / 3)
    assert summary.j_object == pytest.approx(2 / 3)
    assert summary.silent_area == pytest.approx(1 / 8)


def test_what_rests_on_no_frame_is_none():
    assert compute(SummaryMetric(), [frame(NOTHING, NOTHING)]).j_object is None
    assert compute(SummaryMetric(), [frame(LEFT_HALF, LEFT_HALF)]).silent_area is None
    assert compute(Pooled(2), [frame(NOTHING, NOTHING)]).foreground_iou is None


def test_misuse_is_refused():
    metric = Davis()
    with pytest.raises(ValueError, match="no frame"):
        metric.compute()
    metric.update(frame(NOTHING, NOTHING))
    with pytest.raises(ValueError, match="frame 0 of clip 'clip' is scored twice"):
        metric.update(frame(NOTHING, NOTHING))
    with pytest.raises(ValueError, match="differ in shape"):
        frame(NOTHING, LEFT_HALF[:2])
    with pytest.raises(ValueError, match="no pixel has a truth"):
        frame(NOTHING, np.full((4, 4), 255))


def test_scores_are_frozen():
    scores = compute(Davis(), [frame(NOTHING, NOTHING)])
    with pytest.raises(dataclasses.FrozenInstanceError):
        scores.j = 0.5
