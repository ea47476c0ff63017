"""Make a trained network faster without changing its answer."""

from typing import TypeVar

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

Network = TypeVar("Network", bound=nn.Module)


def fuse_for_inference(model: Network) -> Network:
    """Fold batch norms into the convolutions before them, and order weights channels last.

    The model is changed in place: it can be trained no more, and its state dict has other names.
    A batch norm belongs to the convolution that stands just before it in the same module.

    Returns:
        The same model.

    Raises:
        ValueError: if the model is in training mode, where batch norm is no fixed linear map.
    """
    if model.training:
        raise ValueError("only a model in eval mode can be fused")
    for parent in list(model.modules()):
        before: tuple[str, nn.Module] | None = None
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm2d) and before is not None:
                convolution = before[1]
                if isinstance(convolution, nn.Conv2d):
                    setattr(parent, before[0], fuse_conv_bn_eval(convolution, child))
                    setattr(parent, name, nn.Identity())
            before = name, child
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model
