"""Average the weights of several checkpoints of one model."""

from collections.abc import Sequence
from pathlib import Path

import torch

from avsegcli.errors import ConfigError, WeightsError
from avsegcli.inference.checkpoint import load_checkpoint, save_checkpoint


def average_checkpoints(paths: Sequence[Path], output: Path, name: str | None = None) -> None:
    """Write a checkpoint whose weights are the mean of those of others.

    The checkpoints should be of one run, or of runs from one beginning: weights that were learned
    apart, the codebook's above all, have nothing in common. Counters are those of the last.

    Args:
        paths: two or more checkpoints.
        output: ends in .safetensors.
        name: what the model is called; None: as the first one.

    Raises:
        ConfigError: if there are fewer than two, or `output` has another ending.
        WeightsError: if one cannot be read, or is of another model than the first.
    """
    if len(paths) < 2:
        raise ConfigError("one checkpoint alone has no average", "name two or more")
    if output.suffix != ".safetensors":
        raise ConfigError(f"{output} is not a checkpoint", "A checkpoint ends in .safetensors.")
    first = load_checkpoint(paths[0])
    sums = {
        key: value.double() if value.is_floating_point() else value
        for key, value in first.model.state_dict().items()
    }
    for path in paths[1:]:
        other = load_checkpoint(path)
        if (other.config, other.classes) != (first.config, first.classes):
            raise WeightsError(
                f"{path} is of another model than {paths[0]}", "average checkpoints of one run"
            )
        for key, value in other.model.state_dict().items():
            sums[key] = sums[key] + value.double() if value.is_floating_point() else value
    state = {
        key: (value / len(paths)).float() if value.is_floating_point() else value
        for key, value in sums.items()
    }
    with torch.no_grad():
        first.model.load_state_dict(state)
    save_checkpoint(output, first.model, first.config, first.classes, name=name or first.name)
