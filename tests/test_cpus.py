import os

import pytest

from avsegcli.cpus import usable_cpus


@pytest.mark.parametrize(
    ("allowed", "processes", "expected"),
    [(8, None, 8), (8, "1", 8), (8, "3", 2), (2, "4", 1), (None, None, 6), (None, "2", 3)],
)
def test_what_this_process_may_not_use_does_not_count(monkeypatch, allowed, processes, expected):
    monkeypatch.setattr(os, "cpu_count", lambda: 6 if allowed is None else 64)
    if allowed is None:
        monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    else:
        cpus = set(range(allowed))
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: cpus, raising=False)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    if processes is not None:
        monkeypatch.setenv("LOCAL_WORLD_SIZE", processes)
    assert usable_cpus() == expected


def test_a_system_that_tells_nothing_has_one(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    assert usable_cpus() == 1
