"""Which parts of the model learn, and how fast."""

from typing import Any

import torch
from torch import nn

from avsegcli.config import OptimConfig
from avsegcli.model.qsd import QSD


def fixed_modules(model: QSD, optim: OptimConfig) -> list[nn.Module]:
    """List what is not trained at all: its running statistics do not move either."""
    fixed: list[nn.Module] = []
    if optim.frozen_stages:
        fixed += model.backbone.stages[: optim.frozen_stages]
    if not optim.backbone_lr_factor:
        fixed.append(model.backbone)
    if not optim.audio_lr_factor:
        fixed.append(model.audio_encoder)
    return fixed


def build_optimizer(model: QSD, optim: OptimConfig) -> torch.optim.Optimizer:
    """Group parameters by learning rate and by whether they decay (matrices do)."""
    factors = {"backbone": optim.backbone_lr_factor, "audio_encoder": optim.audio_lr_factor}
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for key, parameter in model.named_parameters():
        if parameter.requires_grad:
            factor = factors.get(key.split(".")[0], 1.0)
            groups.setdefault((factor, parameter.ndim > 1), []).append(parameter)
    described: list[dict[str, Any]] = [
        {"params": parameters, "factor": factor, "weight_decay": optim.weight_decay * decays}
        for (factor, decays), parameters in groups.items()
    ]
    kind = next(model.parameters()).device.type
    return torch.optim.AdamW(described, lr=optim.lr, fused=kind in ("cpu", "cuda"))
