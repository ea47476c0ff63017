import os

import pytest

from avsegcli import device
from avsegcli.device import usable_cpus


@pytest.fixture(autouse=True)
def cpu_max(tmp_path, monkeypatch):
    """The file that tells a container's share; not there."""
    monkeypatch.setattr(device, "CPU_MAX", tmp_path / "cpu.max")
    return tmp_path / "cpu.max"


@pytest.mark.parametrize(
    ("allowed", "processes", "expected"),
    [(8, None, 8), (8, "1", 8), (8, "3", 2), (2, "4", 1), (None, None, 6), (None, "2", 3)],
)
def test_what_this_process_may_not_use_does_not_count(monkeypatch, allowed, processes, expected):
    monkeypatch.setattr(os, "cpu_count", lambda: 6 if allowed is None else 64)
    if allowed is None:
        monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    else:
        numbers = set(range(allowed))
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: numbers, raising=False)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    if processes is not None:
        monkeypatch.setenv("LOCAL_WORLD_SIZE", processes)
    assert usable_cpus() == expected


def test_a_system_that_tells_nothing_has_one(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    assert usable_cpus() == 1


@pytest.mark.parametrize(
    ("said", "expected"),
    [("200000 100000\n", 2), ("150000 100000\n", 2), ("10000 100000\n", 1), ("max 100000\n", 8)],
)
def test_what_a_container_may_not_use_does_not_count(cpu_max, monkeypatch, said, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    cpu_max.write_text(said, encoding="utf-8")
    assert usable_cpus() == expected
