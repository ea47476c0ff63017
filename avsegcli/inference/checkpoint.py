"""Save and load a model together with the settings that built it.

A checkpoint is one safetensors file: the weights, in fp16 or fp32, and in its header the
settings, the classes and a name, and the settings of the run that trained it and where that stood,
as JSON. Nothing in it is code.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from avsegcli.config import Config, ModelConfig, config_from_dict
from avsegcli.errors import ConfigError, WeightsError
from avsegcli.files.atomic import atomic_write, wrap_write_errors
from avsegcli.files.weights import packaged_weights
from avsegcli.model.qsd import QSD, build_qsd

# What checkpoints do that do not say how their codebook is.
CODEBOOK_BEFORE = {"codebook_norm": True, "codebook_fill": True, "codebook_revival": 1000}
PICKLES = (".pth", ".pt", ".ckpt", ".bin")


class LoadedModel(NamedTuple):
    """A model ready to run, and what it knows."""

    model: QSD  # in eval mode
    config: ModelConfig
    classes: tuple[str, ...]  # classes[0] == "background"
    name: str


def save_checkpoint(
    path: Path,
    model: QSD,
    config: ModelConfig,
    classes: tuple[str, ...],
    *,
    name: str,
    half: bool = False,
    settings: Config | None = None,
    reached: Mapping[str, float] | None = None,
) -> None:
    """Write a checkpoint under a temporary name and rename it when complete.

    Args:
        path: ends in .safetensors.
        model: built with `config` for ``len(classes) - 1`` classes.
        config: settings of the model.
        classes: ``classes[0] == "background"``.
        name: what the model is called where it is used.
        half: store fp16; what does not fit its range is refused.
        settings: of the run that trained it, kept for whoever wants to know.
        reached: likewise, where that run stood: epoch, step and score.

    Raises:
        WeightsError: if a weight is not finite in the stored type, or the file cannot be written.
    """
    state = {}
    for key, value in model.state_dict().items():
        stored = value.half() if half and value.is_floating_point() else value
        if not torch.isfinite(stored.float()).all():
            raise WeightsError(f"{path} not written: '{key}' holds values that are not finite")
        state[key] = stored.contiguous().cpu()
    said = {"name": name, "classes": list(classes), "model": asdict(config)}
    if settings is not None:
        said["training"] = settings.to_dict()
    if reached is not None:
        said["reached"] = dict(reached)
    header = {"avseg": json.dumps(said)}  # one entry: the order of several is left to chance
    with (
        wrap_write_errors(path, WeightsError, (OSError, SafetensorError)),
        atomic_write(path, WeightsError) as part,
    ):
        mode = part.stat().st_mode
        save_file(state, part, metadata=header)
        part.chmod(mode)  # safetensors leaves what nobody else may read


def read_header(path: Path) -> dict[str, Any]:
    """Read what a checkpoint says of itself, without its weights.

    Raises:
        WeightsError: if it cannot be read, or is not a checkpoint of avseg.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header: dict[str, Any] = json.loads((file.metadata() or {})["avseg"])
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise WeightsError(f"{path} is not a checkpoint of avseg: {error}") from error
    return header


def load_checkpoint(path: Path | None = None, device: str | torch.device = "cpu") -> LoadedModel:
    """Load a checkpoint, by default the packaged one.

    Raises:
        WeightsError: if the file is missing, damaged or no checkpoint of avseg.
    """
    path = packaged_weights() if path is None else path
    if not path.is_file():
        raise WeightsError(f"no weights at {path}", "give the .safetensors file of a training run")
    if path.suffix.lower() in PICKLES:
        raise WeightsError(
            f"{path} is a file of PyTorch, and checkpoints of avseg are .safetensors",
            "give best.safetensors of a training run; weights of a backbone are for 'avseg train "
            "--backbone-weights'",
        )
    try:
        with safe_open(path, framework="pt") as file:
            header = (file.metadata() or {}).get("avseg")
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"cannot read {path} as safetensors: {error}") from error
    if header is None:
        raise WeightsError(f"{path} is no checkpoint of avseg: it does not say what it is")
    try:
        said = json.loads(header)
        if _is_of_earlier_network(said["model"]):
            raise WeightsError(
                f"{path} holds a network of an earlier avseg, whose pyramid and boxes were others",
                "train it anew with this version",
            )
        settings = CODEBOOK_BEFORE | dict(said["model"])
        config = config_from_dict({"model": settings}).model
        classes, name = tuple(said["classes"]), str(said["name"])
    except (ValueError, KeyError, TypeError, ConfigError) as error:
        raise WeightsError(
            f"{path} was written by another version of avseg: {error}", "update avseg"
        ) from error
    model = build_qsd(config, len(classes) - 1)
    state = {k: v.float() if v.is_floating_point() else v for k, v in state.items()}
    state = _norm_each_level(state, model)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip()
        raise WeightsError(f"{path} does not fit its own settings: {first}") from error
    return LoadedModel(model.to(device).eval(), config, classes, name)


def _is_of_earlier_network(settings: Mapping[str, Any]) -> bool:
    """Tell the settings of r50, swin-t and pvt-b5 as they were, which `mask_channels` gives away.

    `lite` is still as it was.
    """
    return "mask_channels" in settings and not (
        settings.get("attention") == "plain" and settings.get("separable_pyramid")
    )


def _norm_each_level(state: dict[str, Tensor], model: QSD) -> dict[str, Tensor]:
    """Give each level of the recombination the batch norm that all levels once shared."""
    shared = "recombination.norm."
    if model.recombination is None:
        return state
    renamed = {}
    for key, value in state.items():
        if key.startswith(shared):
            for level in range(len(model.recombination.norms)):
                renamed[f"recombination.norms.{level}.{key.removeprefix(shared)}"] = value
        else:
            renamed[key] = value
    return renamed
