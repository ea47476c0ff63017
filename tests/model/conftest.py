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
