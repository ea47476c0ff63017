import numpy as np
import pytest

from avsegcli.inference.masks import MaskFinder
from avsegcli.outputs.timeline import Timeline


def regions(*classes: int):
    probs = np.zeros((3, 8, 8), np.float32)
    for index in classes:
        probs[index, 4 * (index - 1) : 4 * index] = 0.8
    return MaskFinder(64, 64)(probs).regions


def test_events_bridge_short_gaps_only():
    timeline = Timeline(("background", "dog", "cat"))
    for tenth in range(40):
        sounding = [1] if tenth < 10 or 12 <= tenth < 20 or tenth >= 30 else []
        timeline.add(tenth / 10, (tenth + 1) / 10, regions(*sounding, *([2] if tenth == 5 else [])))
    events = timeline.events()
    assert [event.class_name for event in events] == ["dog", "cat", "dog"]
    assert [(event.start, event.end) for event in events] == [
        pytest.approx(span) for span in ((0, 2), (0.5, 0.6), (3, 4))
    ]
    assert events[0].score == pytest.approx(0.8)


def test_a_single_short_frame_is_no_event():
    timeline = Timeline(("background", "dog", "cat"))
    timeline.add(1.0, 1.03, regions(1))
    assert timeline.events() == []
