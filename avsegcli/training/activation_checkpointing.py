"""Training in less memory: activations are computed again in the backward pass, not kept."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from avsegcli.model.qsd import QSD


def checkpoint_activations(model: QSD) -> None:
    """Checkpoint the activations of the parts of a model that need most memory.

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
