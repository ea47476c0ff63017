import pytest
import torch
from torch import nn

from avsegcli.config import OptimConfig
from avsegcli.training.schedule import ModelEMA, lr_factor


def test_the_papers_steps_divide_by_ten_at_each_milestone():
    config = OptimConfig(epochs=13, milestones=(8, 11))
    factors = [lr_factor(config, epoch * 5, steps_per_epoch=5) for epoch in (0, 7, 8, 10, 11, 12)]
    assert factors == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


def test_cosine_warms_up_and_ends_at_one_percent():
    config = OptimConfig(epochs=2, schedule="cosine", warmup_steps=10)
    assert lr_factor(config, 0, 50) == pytest.approx(0.1)
    assert lr_factor(config, 50, 50) == pytest.approx(0.505)
    assert lr_factor(config, 100, 50) == pytest.approx(0.01)


def test_the_average_follows_the_weights_and_copies_what_is_no_float():
    model = nn.BatchNorm1d(2)
    average = ModelEMA(model, decay=0.9)
    with torch.no_grad():
        model.weight.fill_(3.0)
        model.num_batches_tracked.fill_(7)
    average.update(model)
    # The first decay is (1 + 1) / (10 + 1).
    assert torch.allclose(average.state["weight"], torch.tensor(2 / 11 * 1.0 + 9 / 11 * 3.0))
    assert average.state["num_batches_tracked"] == 7


def test_the_average_goes_on_from_its_saved_state():
    model = nn.Linear(2, 2)
    average, other = ModelEMA(model, 0.5), ModelEMA(nn.Linear(2, 2), 0.5)
    average.update(model)
    other.load_state_dict(average.state_dict())
    assert other.updates == 1
    assert torch.equal(other.state["weight"], average.state["weight"])
