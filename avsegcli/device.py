"""The device that a model runs on, and the CPUs that this process may use. No torch by itself."""

import math
import mmap
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from avsegcli.errors import ConfigError

if TYPE_CHECKING:
    import torch

ROOM = 1 << 28  # bytes; FFmpeg's decoders and encoders that had less tell of damage, or of nothing
CPU_MAX = Path("/sys/fs/cgroup/cpu.max")  # microseconds of CPU time in each period, or "max"


def is_memory_short() -> bool:
    """Tell whether a limit on the memory of this process (`ulimit -v`) is all but reached."""
    return memory_limit() is not None and not has_memory(ROOM)


def has_memory(size: int) -> bool:
    """Tell whether so many bytes can be had, which a limit (`ulimit -v`) may forbid."""
    try:
        mmap.mmap(-1, size).close()
    except OSError:
        return False
    return True


def memory_limit() -> int | None:
    """Return how many bytes this process may map (`ulimit -v`), None: any number."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if limit == resource.RLIM_INFINITY else limit


def choose_device(name: str = "auto") -> "torch.device":
    """Resolve `auto`, `cpu`, `cuda`, `cuda:1`, ... or `mps` to a device of this machine.

    Raises:
        ConfigError: if the machine has no such device.
    """
    import torch

    numbers = {
        "cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "mps": int(torch.backends.mps.is_available()),
        "cpu": 1,
    }
    usable = [kind for kind, number in numbers.items() if number]
    if name == "auto":
        return torch.device(usable[0])
    try:
        device = torch.device(name)
        there = (device.index or 0) < numbers.get(device.type, 0)
    except RuntimeError:
        there = False
    if not there:
        listed = ", ".join(usable)
        raise ConfigError(f"this machine has no device '{name}'", f"usable here: {listed}")
    return device


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
