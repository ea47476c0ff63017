"""Names of weights: from torchvision's and Swin's own to those of `transformers`."""

import re

from torch import Tensor

State = dict[str, Tensor]

# torchvision's ResNet.
_RESNET = (
    (r"^conv1\.", "embedder.embedder.convolution."),
    (r"^bn1\.", "embedder.embedder.normalization."),
    (r"^layer(\d)\.(\d+)\.downsample\.0\.", r"layer\1.\2.shortcut.convolution."),
    (r"^layer(\d)\.(\d+)\.downsample\.1\.", r"layer\1.\2.shortcut.normalization."),
    (r"^layer(\d)\.(\d+)\.conv(\d)\.", r"layer\1.\2.layer.\3.convolution."),
    (r"^layer(\d)\.(\d+)\.bn(\d)\.", r"layer\1.\2.layer.\3.normalization."),
)
# torchvision's Swin to Swin's own names: stages and the reductions after them alternate.
_TORCHVISION_SWIN = (
    (r"^features\.0\.0\.", "patch_embed.proj."),
    (r"^features\.0\.2\.", "patch_embed.norm."),
    (r"\.mlp\.0\.", ".mlp.fc1."),
    (r"\.mlp\.3\.", ".mlp.fc2."),
)
# Swin's own.
_SWIN = (
    (r"^patch_embed\.proj\.", "embeddings.patch_embeddings.projection."),
    (r"^patch_embed\.norm\.", "embeddings.norm."),
    (r"^layers\.", "encoder.layers."),
    (r"\.norm1\.", ".layernorm_before."),
    (r"\.norm2\.", ".layernorm_after."),
    (r"\.attn\.proj\.", ".attention.o_proj."),
    (
        r"\.attn\.relative_position_bias_table$",
        ".attention.relative_position_bias.relative_position_bias_table",
    ),
)
# Not weights, or the classifier's.
_LEFT_OUT = re.compile(r"^(fc|head|norm)\.|\.attn_mask$|relative_position_index$")


def rename_weights(state: State) -> State:
    """Call weights as `transformers` does; weights of networks that are not known stay as they are.

    Known are torchvision's ResNets and Swins, and the Swins of microsoft/Swin-Transformer.
    """
    if "layer1.0.conv1.weight" in state:
        return {_resnet_name(key): value for key, value in _without_head(state).items()}
    if "features.0.0.weight" in state and "features.1.0.attn.qkv.weight" in state:
        state = {_swin_name(key): value for key, value in state.items()}
    if "patch_embed.proj.weight" in state and "layers.0.blocks.0.attn.qkv.weight" in state:
        split = _split_attention(_without_head(state))
        return {_replace(key, _SWIN): value for key, value in split.items()}
    return state


def _without_head(state: State) -> State:
    return {key: value for key, value in state.items() if not _LEFT_OUT.search(key)}


def _resnet_name(key: str) -> str:
    """Count stages and convolutions from 0.

    Example:
        >>> _resnet_name("layer1.2.conv3.weight")
        'encoder.stages.0.layers.2.layer.2.convolution.weight'
    """
    key = _replace(key, _RESNET)
    key = re.sub(r"\.layer\.(\d)\.", lambda m: f".layer.{int(m[1]) - 1}.", key)
    return re.sub(r"^layer(\d)\.", lambda m: f"encoder.stages.{int(m[1]) - 1}.layers.", key)


def _swin_name(key: str) -> str:
    """Call a weight of torchvision's Swin as Swin's own repository does.

    Example:
        >>> _swin_name("features.5.1.mlp.0.bias"), _swin_name("features.2.norm.bias")
        ('layers.2.blocks.1.mlp.fc1.bias', 'layers.0.downsample.norm.bias')
    """
    key = _replace(key, _TORCHVISION_SWIN)
    found = re.match(r"^features\.(\d+)\.(.*)$", key)
    if found is None:
        return key
    place, rest = int(found[1]), found[2]
    inner = "blocks" if place % 2 else "downsample"
    return f"layers.{(place - 1) // 2}.{inner}.{rest}"


def _split_attention(state: State) -> State:
    """Give queries, keys and values, which lie above each other, names of their own."""
    split: State = {}
    for key, value in state.items():
        before, qkv, after = key.partition(".attn.qkv.")
        if qkv:
            for name, part in zip("qkv", value.chunk(3), strict=True):
                split[f"{before}.attention.{name}_proj.{after}"] = part.clone()
        else:
            split[key] = value
    return split


def _replace(key: str, rules: tuple[tuple[str, str], ...]) -> str:
    for pattern, replacement in rules:
        key = re.sub(pattern, replacement, key)
    return key
