"""Optimizer: parameter groups, frozen modules and learning rates of parts."""

from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from avsegcli.config import OptimConfig
from avsegcli.model.qsd import QSD


def fixed_modules(model: QSD, optim: OptimConfig) -> list[nn.Module]:
    """List the frozen modules; their running statistics do not move either."""
    fixed: list[nn.Module] = []
    if optim.frozen_stages:
        fixed += model.backbone.stages[: optim.frozen_stages]
    if optim.frozen_norm and optim.frozen_affine:
        fixed += [m for m in model.backbone.modules() if isinstance(m, _BatchNorm)]
    if not optim.backbone_lr_factor:
        fixed.append(model.backbone)
    if not optim.audio_lr_factor:
        fixed.append(model.audio_encoder)
    return fixed


def build_optimizer(model: QSD, optim: OptimConfig) -> torch.optim.Optimizer:
    """Group parameters by part of the model and by whether they decay (matrices do).

    The groups do not depend on the learning rates, so that a run can go on with others.
    """
    factors = {"backbone": optim.backbone_lr_factor, "audio_encoder": optim.audio_lr_factor}
    groups: dict[tuple[str, bool], list[nn.Parameter]] = {}
    for key, parameter in model.named_parameters():
        if parameter.requires_grad:
            part = key.split(".")[0]
            group = part if part in factors else "", parameter.ndim > 1
            groups.setdefault(group, []).append(parameter)
    described: list[dict[str, Any]] = [
        {
            "params": parameters,
            "factor": factors.get(part, 1.0),
            "weight_decay": optim.weight_decay * decays,
        }
        for (part, decays), parameters in groups.items()
    ]
    kind = next(model.parameters()).device.type
    return torch.optim.AdamW(described, lr=optim.lr, fused=kind in ("cpu", "cuda"))
