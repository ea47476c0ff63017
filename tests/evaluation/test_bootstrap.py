import itertools
import time

import numpy as np
import pytest
from drawn_clips import Clips, Sees, clip

from avsegcli.evaluation.bootstrap import (
    ClipTable,
    confidence_intervals,
    difference_intervals,
)
from avsegcli.evaluation.evaluator import evaluate
from avsegcli.evaluation.metrics.miou import ClassSums
from avsegcli.evaluation.metrics.registry import BUILT_IN, read_number


def random_clips(count=6, seed=0):
    random = np.random.default_rng(seed)
    return Clips(
        clip(
            f"clip {n}",
            random.integers(0, 3 if n else 1, (2, 24, 24)),
            shown=random.integers(0, 3, (2, 24, 24)),
        )
        for n in range(count)
    )


def table_of(scores):
    return ClipTable(
        [entry.sums for entry in scores.clips],
        [entry.classes for entry in scores.clips],
        len(scores.classes),
        range(len(scores.classes)),
    )


@pytest.mark.parametrize("group", ["video", "frame"])
def test_all_clips_taken_once_give_the_scores_themselves(group):
    scores = evaluate(Sees(), random_clips(), size="native", group=group)
    numbers = table_of(scores).numbers(np.ones((1, 6)))
    expected = {number.key for metric in BUILT_IN for number in metric.numbers}
    assert set(numbers) == expected
    for key in expected:
        assert numbers[key][0] == pytest.approx(read_number(scores, key), abs=1e-12), key


def test_clips_that_are_drawn_twice_count_twice():
    clips = random_clips(3)
    weights = np.array([[2.0, 0, 1]])
    doubled = Clips([clips[0], clips[0]._replace(name="again"), clips[2]])
    expected = evaluate(Sees(), doubled, size="native")
    numbers = table_of(evaluate(Sees(), clips, size="native")).numbers(weights)
    for key, values in numbers.items():
        assert values[0] == pytest.approx(read_number(expected, key), abs=1e-12), key


def test_the_interval_is_that_of_all_ways_to_draw_the_clips():
    values = np.array([0.1, 0.5, 0.6])
    table = ClipTable([{"own.x": (value, 1)} for value in values], [()] * 3, 1, [0])
    means = [np.mean(drawn) for drawn in itertools.product(values, repeat=3)]
    interval = confidence_intervals(table)["own.x"]
    assert interval == pytest.approx(
        tuple(np.quantile(means, [0.025, 0.975], method="inverted_cdf"))
    )
    assert confidence_intervals(table, seed=0) == confidence_intervals(table, seed=0)


def test_a_difference_that_every_clip_has_is_certain():
    first = [{"own.x": (value, 1)} for value in (0.1, 0.5, 0.6)]
    second = [{"own.x": (value + 0.1, 1)} for value in (0.1, 0.5, 0.6)]
    tables = (ClipTable(sums, [()] * 3, 1, [0]) for sums in (first, second))
    assert difference_intervals(*tables)["own.x"] == pytest.approx((0.1, 0.1))


def test_one_clip_and_one_group_for_all_have_no_interval():
    alone = evaluate(Sees(), random_clips(1), size="native", bootstrap=100)
    assert alone.intervals == {}
    split = evaluate(Sees(), random_clips(), size="native", group="split", bootstrap=100)
    assert "avsbench.f" not in split.intervals
    low, high = split.intervals["avsbench.j"]
    assert low < split.avsbench.j < high


def test_ten_thousand_resamples_of_avsbench_take_seconds():
    random = np.random.default_rng(0)
    sums, classes = [], []
    for _ in range(740):
        sums.append({f"x.{n}": (random.random(), 1.0) for n in range(8)})
        indices = random.choice(71, 3, replace=False).tolist()
        classes.append(tuple(ClassSums(i, 5, 2.5, 2.5, 100, 200) for i in indices))
    began = time.process_time()
    intervals = confidence_intervals(ClipTable(sums, classes, 71, range(71)))
    assert time.process_time() - began < 30  # about 1.5 s where nothing else runs
    assert intervals["avss.miou_present"] == pytest.approx((0.5, 0.5))
