"""How many CPUs this process may use."""

import math
import os
import sys
from pathlib import Path

CPU_MAX = Path("/sys/fs/cgroup/cpu.max")  # microseconds of CPU time in each period, or "max"


def usable_cpus() -> int:
    """Count the CPUs that this process may use, its share where torchrun started several.

    At least 1. What taskset, a scheduler of jobs or a container's set or share of CPUs keeps from
    it does not count, where the system tells.
    """
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # as torchrun and accelerate say
    return max(1, min(count, _share()) // processes)


def _share() -> int:
    """Read how many CPUs a container (cgroup v2) may keep busy; of a part of one it has a whole."""
    try:
        time, period = CPU_MAX.read_text(encoding="utf-8").split()
        return math.ceil(int(time) / int(period))
    except (OSError, ValueError):  # no container, or no limit
        return sys.maxsize
