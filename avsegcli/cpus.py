"""How many CPUs this process may use."""

import os


def usable_cpus() -> int:
    """Count the CPUs that this process may use, its share where torchrun started several.

    At least 1. What taskset, a scheduler of jobs or a container's set of CPUs keeps from it does
    not count, where the system tells.
    """
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # as torchrun and accelerate say
    return max(1, count // processes)
