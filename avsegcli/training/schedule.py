"""Learning-rate schedules and the moving average of the weights."""

import math

import torch
from torch import Tensor, nn

from avsegcli.config import OptimConfig


def lr_factor(config: OptimConfig, step: int, steps_per_epoch: int) -> float:
    """Compute the factor of the learning rate at a step.

    Warm-up is linear over `warmup_steps`; then "step" is the paper's (Sec. 4): x 0.1 at each
    milestone; "cosine" falls to 1 % at the end of the last epoch.

    Example:
        >>> lr_factor(OptimConfig(epochs=2, milestones=(1,)), 10, steps_per_epoch=10)
        0.1
    """
    warmup = min(1.0, (step + 1) / config.warmup_steps) if config.warmup_steps else 1.0
    if config.schedule == "cosine":
        done = min(1.0, step / (config.epochs * steps_per_epoch))
        return warmup * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * done)))
    passed = sum(step >= epoch * steps_per_epoch for epoch in config.milestones)
    return float(warmup * 0.1**passed)


class ModelEMA:
    """Exponential moving average of a model's state, batch-norm statistics and codebook included.

    The decay starts low, ``(1 + n) / (10 + n)``, so that the first weights are soon forgotten.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.state = {key: value.detach().clone() for key, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move towards the model's present state; integers are copied."""
        self.updates += 1
        weight = 1 - min(self.decay, (1 + self.updates) / (10 + self.updates))
        averaged, present = [], []
        frozen = {key for key, value in model.named_parameters() if not value.requires_grad}
        for key, value in model.state_dict().items():
            if key in frozen:
                continue
            if value.is_floating_point():
                averaged.append(self.state[key])
                present.append(value)
            else:
                self.state[key].copy_(value)
        torch._foreach_lerp_(averaged, present, weight)

    def state_dict(self) -> dict[str, int | dict[str, Tensor]]:
        """Return all that `load_state_dict` needs to go on."""
        return {"updates": self.updates, "state": self.state}

    def load_state_dict(self, saved: dict[str, int | dict[str, Tensor]]) -> None:
        """Go on from what `state_dict` returned."""
        updates, state = saved["updates"], saved["state"]
        assert isinstance(updates, int)
        assert isinstance(state, dict)
        self.updates = updates
        for key, value in state.items():
            self.state[key].copy_(value)
