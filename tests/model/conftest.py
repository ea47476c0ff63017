from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def missing_gradients() -> Callable[..., list[str]]:
    """Names of the parameters that the sum of some outputs, weighted at random, does not reach."""

    def find(module: nn.Module, *outputs: Tensor) -> list[str]:
        module.zero_grad(set_to_none=True)
        total = sum((output.float() * torch.randn_like(output.float())).sum() for output in outputs)
        assert isinstance(total, Tensor)
        total.backward()
        return [name for name, p in module.named_parameters() if p.grad is None]

    return find


@pytest.fixture
def stir() -> Callable[[nn.Module], None]:
    """Move every parameter and batch norm away from its simple initial value."""

    def shake(module: nn.Module) -> None:
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.05)
            for child in module.modules():
                if isinstance(child, nn.BatchNorm2d):
                    assert child.running_mean is not None
                    assert child.running_var is not None
                    child.running_mean.normal_(std=0.1)
                    child.running_var.uniform_(0.5, 2.0)

    return shake
