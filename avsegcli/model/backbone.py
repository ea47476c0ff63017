"""Frames to image features at strides 4, 8, 16 and 32.

Those of `mobilenets` are pretrained and frozen, `SmallBackbone` learns from nothing; both need
nothing but torch. The larger backbones come from `transformers`, imported only when one is asked
for.
"""

from importlib import import_module
from typing import Any

from torch import Tensor, nn

from avsegcli.errors import AvsegError, ConfigError, install_hint
from avsegcli.model.layers import SeparableBlock
from avsegcli.model.mobilenets import EfficientNetLite0, TwinBackbone
from avsegcli.plugins import BACKBONES, load_plugin, plugin_names


class SmallBackbone(nn.Module):
    """A separable convolution net that learns simple shapes in minutes on a CPU."""

    channels = (48, 96, 160, 256)  # C2..C5

    def __init__(self) -> None:
        super().__init__()
        stem = (
            nn.Conv2d(3, 32, 3, 2, padding=1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(inplace=True),
        )
        self.stages = nn.ModuleList()
        previous = 32
        for width in self.channels:
            blocks = SeparableBlock(previous, width, 2), SeparableBlock(width, width, 1)
            self.stages.append(nn.Sequential(*(stem if previous == 32 else ()), *blocks))
            previous = width

    def forward(self, frames: Tensor) -> list[Tensor]:
        """Encode frames ``(M, 3, H, W)``, ImageNet-normalised, H and W multiples of 32.

        Returns:
            C2..C5, ``(M, C, H / stride, W / stride)`` for strides 4, 8, 16, 32.
        """
        features, x = [], frames
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features


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
        """Stages C2, C3, C4 and C5, each applied to the output of the one before."""
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


_SMALL: dict[str, type[EfficientNetLite0 | TwinBackbone | SmallBackbone]] = {
    "small": SmallBackbone,
    "efficientnet-lite0": EfficientNetLite0,
    "lite0+deeplab": TwinBackbone,
}
Backbone = EfficientNetLite0 | TwinBackbone | SmallBackbone | TransformersBackbone


def build_backbone(name: str) -> Backbone:
    """Build a backbone by name, without weights.

    One of your own is a module in an entry point of the group ``avseg.backbones``. It has
    `channels`, the widths of C2..C5, and `stages`, the modules that make each of these from the
    one before; it is called as `EfficientNetLite0.forward` is. `--backbone-weights` loads a state
    dict of its own into it.

    Raises:
        ConfigError: if there is none of this name.
        AvsegError: if the package it comes from is missing, or it lacks `channels` or `stages`.
    """
    if name in _SMALL:
        return _SMALL[name]()
    if name in plugin_names(BACKBONES):
        return _build_own(name)
    if name not in _TRANSFORMERS:
        known = ", ".join([*_SMALL, *_TRANSFORMERS, *plugin_names(BACKBONES)])
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
