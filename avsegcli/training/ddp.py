"""Distributed data-parallel training: one process or several, on one device each.

Several are started by ``accelerate launch`` or ``torchrun`` and joined by Hugging Face's
accelerate; one alone needs nothing but torch.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from avsegcli.device import choose_device
from avsegcli.distributed import (
    SINGLE_PROCESS,
    Processes,
    check_launcher,
    check_rendezvous,
    launched_world_size,
)
from avsegcli.errors import AvsegError, install_hint
from avsegcli.model.qsd import QSD

LONGEST_WAIT = timedelta(hours=2)  # for each other, as while the main process saves


@dataclass(frozen=True)
class DDP:
    """The processes that train one model; each sees its share of every batch."""

    device: torch.device  # of this one
    processes: Processes = SINGLE_PROCESS
    accelerator: Any = None  # accelerate.Accelerator; None: this process is alone

    @property
    def is_main(self) -> bool:
        """Whether this process saves and reports."""
        return self.processes.is_main

    def to_device(self, model: QSD) -> QSD:
        """Move a model to the device, and let batch norms see the batches of all processes."""
        if self.processes.world_size > 1 and self.device.type == "cuda":
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
        model.to(self.device)
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # a gap in its stubs
        return model

    def wrap_ddp(self, model: nn.Module) -> nn.Module:
        """Return the model as it is to be called: gradients become the mean of all processes."""
        return model if self.accelerator is None else self.accelerator.prepare_model(model)

    def broadcast(self, model: QSD) -> QSD:
        """Give all the main process's model: on CPUs, statistics of batch norms differ."""
        if self.accelerator is not None:
            for value in model.state_dict().values():
                dist.broadcast(value, src=0)
        return model

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.accelerator is not None:
            self.accelerator.wait_for_everyone()

    def max_over_processes(self, number: int) -> int:
        """Find the largest of the numbers that the processes give."""
        if self.accelerator is None:
            return number
        value = torch.tensor(number, device=self.device)
        dist.all_reduce(value, op=dist.ReduceOp.MAX)
        return int(value.item())

    def peer_failed(self, error: RuntimeError) -> bool:
        """Tell whether an error means that another process has ended."""
        return self.accelerator is not None and (
            isinstance(error, dist.DistError) or "gloo" in str(error)
        )

    def shutdown(self) -> None:
        """Say goodbye to the other processes; nothing can be done together afterwards."""
        if self.accelerator is not None:
            self.accelerator.end_training()
            if dist.is_initialized():
                dist.destroy_process_group()


def init_ddp(device: str = "auto") -> DDP:
    """Find the other processes, if this one was started as one of several.

    Args:
        device: auto, cpu, cuda or mps; of several processes each takes a GPU of its own.

    Raises:
        AvsegError: if there are others, but accelerate is not installed.
        ConfigError: if they were not started or it does not find them, or if there is no such
            device.
    """
    chosen = choose_device(device)
    check_launcher()
    if launched_world_size() < 2:
        return DDP(chosen)
    try:
        from accelerate import Accelerator
        from accelerate.utils import (
            DistributedDataParallelKwargs,
            InitProcessGroupKwargs,
            gather_object,
        )
    except ImportError as error:
        raise AvsegError(
            "several processes need the package accelerate", install_hint("train")
        ) from error
    check_rendezvous()
    accelerator = Accelerator(
        cpu=chosen.type == "cpu",
        mixed_precision="no",  # the precision is a setting of ours
        kwargs_handlers=[
            # A batch without any object does not reach the heads for masks and boxes.
            DistributedDataParallelKwargs(find_unused_parameters=True),
            InitProcessGroupKwargs(timeout=LONGEST_WAIT),
        ],
    )
    # Its "cpu:0" is a place that tensors cannot be loaded to.
    own = accelerator.device if chosen.type == "cuda" else chosen
    processes = Processes(accelerator.process_index, accelerator.num_processes, gather_object)
    return DDP(own, processes, accelerator)


def mean_over_processes(value: Tensor) -> Tensor:
    """Compute the mean of a tensor over all processes, without a gradient."""
    if not (dist.is_available() and dist.is_initialized()):
        return value.detach()
    value = value.detach().clone()
    dist.all_reduce(value)
    return value / dist.get_world_size()
