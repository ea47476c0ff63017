"""Share the work of one evaluation among processes that `accelerate launch` or torchrun started."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from avsegcli.errors import AvsegError, ConfigError, install_hint

Value = TypeVar("Value")


def _alone(value: list[Value]) -> list[Value]:
    return value


class Processes(NamedTuple):
    """The processes that work together; every one of them has to make the same calls."""

    rank: int = 0
    world_size: int = 1
    collect: Callable[[list[object]], list[object]] = _alone  # the lists of all, by rank

    @property
    def is_main(self) -> bool:
        """Whether this one speaks to the user."""
        return self.rank == 0

    def share(self, tasks: int) -> range:
        """Give this process's share of the tasks 0 .. tasks - 1."""
        return range(self.rank, tasks, self.world_size)

    def gather(self, value: Value) -> list[Value]:
        """Exchange one value: that of every process, by rank."""
        return self.collect([value])  # type: ignore[return-value]

    def divide(self, tasks: int, task: Callable[[int], Value]) -> list[Value]:
        """Do tasks together: the results of all tasks, in order, for every process."""
        shares = self.gather([task(index) for index in self.share(tasks)])
        return [shares[index % self.world_size][index // self.world_size] for index in range(tasks)]


SINGLE_PROCESS = Processes()


def launched_processes() -> Processes | None:
    """Find the processes that this one was started with; None: it was started alone.

    Raises:
        AvsegError: if accelerate is not installed.
        ConfigError: if they cannot find each other.
    """
    check_launcher()
    if not os.environ.get("WORLD_SIZE"):
        return None
    import torch

    try:
        from accelerate import PartialState
        from accelerate.utils import gather_object
    except ImportError as error:
        raise AvsegError("--multi-gpu needs accelerate", install_hint("train")) from error
    check_rendezvous()
    state = PartialState(cpu=not torch.cuda.is_available())  # else it knows no group on CPUs
    return Processes(state.process_index, state.num_processes, gather_object)


def launched_world_size() -> int:
    """Say how many processes a launcher started, this one with them; 1 if none did."""
    said = os.environ.get("WORLD_SIZE", "")
    return int(said) if said.isdecimal() else 1


def check_launcher() -> None:
    """Raise a `ConfigError` if `accelerate launch` was asked for several processes and started one.

    On CPUs, and where there are not several GPUs, it leaves starting the others to MPI: it names
    the address where they are to meet, but not how many there are.
    """
    sizes = ("WORLD_SIZE", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
    launched = "ACCELERATE_MIXED_PRECISION" in os.environ and "MASTER_ADDR" in os.environ
    if launched and not any(size in os.environ for size in sizes):
        raise ConfigError(
            "accelerate launch started one process instead of several: it does so on CPUs",
            "torchrun --nproc_per_node 2 -m avsegcli ... starts two, or leave --num_processes out",
        )


def check_rendezvous() -> None:
    """Raise a `ConfigError` if this is to be one of several processes that cannot find each other.

    Accelerate raises a `ValueError` then.
    """
    if launched_world_size() > 1 and "MASTER_ADDR" not in os.environ:
        raise ConfigError(
            "WORLD_SIZE says that there are several processes, but MASTER_ADDR not where they meet",
            "Start them with accelerate launch or torchrun, or unset WORLD_SIZE.",
        )


def launch(arguments: Sequence[str]) -> int:
    """Run `avseg` with the same arguments once for each GPU.

    Returns:
        The exit code: 0 if all went well.

    Raises:
        ConfigError: if there are not several GPUs.
    """
    import torch

    number = torch.cuda.device_count()
    if number < 2:
        raise ConfigError(
            f"--multi-gpu, but this machine has {number} GPUs",
            "leave it out, or start the processes yourself: "
            "torchrun --nproc_per_node 2 -m avsegcli eval --multi-gpu ...",
        )
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", f"{number}"]
    return subprocess.call([*launcher, "-m", "avsegcli", *arguments])
