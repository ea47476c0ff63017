"""Training in less memory: activations are computed again in the backward pass, not kept.

And what is said where there is too little.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from avsegcli.errors import AvsegError
from avsegcli.model.qsd import QSD


@contextmanager
def told_as_too_little() -> Iterator[None]:
    """Turn what is raised for want of memory into a line that says what needs less.

    Raises:
        AvsegError: if the memory of the GPU or the computer was not enough, or a process that loads
            clips was killed.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        said = str(error)
        short = ". ".join(said.partition("\n")[0].split(". ")[:2])
        if re.match(r"DataLoader worker \(pid", said):
            raise AvsegError(
                f"a process that loads clips was lost: {short}",
                "if memory was short, fewer of them need less: --set data.workers=1",
            ) from error
        if isinstance(error, MemoryError) or re.search("out of memory|can't allocate memory", said):
            raise AvsegError(
                f"not enough memory: {short}",
                "lower data.batch_size and raise optim.accumulate as much, "
                "or --set optim.checkpointing=true",
            ) from error
        raise


def recompute_activations(model: QSD) -> None:
    """Let the parts of a model that keep most forget what is inside them.

    What goes in and comes out of each backbone stage, encoder layer and smoothing convolution is
    still kept. Batch norms inside must be fixed: a second pass would move their statistics again.
    """
    for part in _parts(model):
        _wrap(part)


def _parts(model: QSD) -> Iterator[nn.Module]:
    for stage in model.backbone.stages:
        yield from stage if isinstance(stage, nn.ModuleList) else [stage]
    yield from model.visual_encoder.layers
    yield from model.pyramid.smooth


def _wrap(module: nn.Module) -> None:
    forward = module.forward

    def forgetful(*arguments: Any, **named: Any) -> Any:
        if not torch.is_grad_enabled():
            return forward(*arguments, **named)
        return checkpoint(forward, *arguments, use_reentrant=False, **named)

    module.forward = forgetful
