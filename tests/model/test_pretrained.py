import re
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

from avsegcli.errors import WeightsError
from avsegcli.model.audio_encoder import SmallAudioEncoder, VGGish
from avsegcli.model.backbone import TransformersBackbone
from avsegcli.model.mobilenets import EfficientNetLite0, TwinBackbone
from avsegcli.model.pretrained import load_audio_weights, load_backbone_weights
from avsegcli.model.yamnet import YAMNet

FAMILIES = {
    "ResNet": {"depths": [1, 1, 1, 1], "hidden_sizes": [8, 16, 32, 64], "embedding_size": 8},
    "Swin": {"depths": [1, 1, 1, 1], "embed_dim": 8, "num_heads": [1, 1, 2, 2]},
    "PvtV2": {"depths": [1, 1, 1, 1], "hidden_sizes": [8, 16, 20, 32]},
}
BEFORE_VERSION_5 = {
    "attention.q_proj": "attention.self.query",
    "attention.k_proj": "attention.self.key",
    "attention.v_proj": "attention.self.value",
    "attention.relative_position_bias.": "attention.self.",
    "attention.o_proj": "attention.output.dense",
    "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
}

CLASSES = nn.Linear(128, 3)  # of a model whose audio weights bring no classes


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
def test_a_classifier_of_transformers_gives_its_weights(family, suffix, tmp_path):
    transformers = pytest.importorskip("transformers")
    config = getattr(transformers, f"{family}Config")(**FAMILIES[family])
    classifier = getattr(transformers, f"{family}ForImageClassification")(config)
    state = classifier.state_dict()
    if suffix == ".bin":
        for new, old in BEFORE_VERSION_5.items():
            state = {key.replace(new, old): value for key, value in state.items()}
    path = tmp_path / f"model{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    backbone = TransformersBackbone(family, **FAMILIES[family])
    load_backbone_weights(backbone, path)
    ours, theirs = backbone.network.state_dict(), classifier.state_dict()
    prefix = {"ResNet": "resnet.", "Swin": "", "PvtV2": "pvt_v2."}[family]
    for key, value in ours.items():
        if not key.startswith("hidden_states_norms."):  # of the backbone alone
            assert torch.equal(value, theirs[prefix + key]), key


def torchvision_resnet(state, frames):
    """Run torchvision's ResNet with one bottleneck a stage, written out, on its own names."""

    def norm(x, name):
        mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        return F.batch_norm(x, mean, var, state[f"{name}.weight"], state[f"{name}.bias"])

    x = norm(F.conv2d(frames, state["conv1.weight"], stride=2, padding=3), "bn1").relu()
    x = F.max_pool2d(x, 3, 2, 1)
    levels = []
    for stage in range(1, 5):
        name, stride = f"layer{stage}.0", 1 if stage == 1 else 2
        y = norm(F.conv2d(x, state[f"{name}.conv1.weight"]), f"{name}.bn1").relu()
        y = F.conv2d(y, state[f"{name}.conv2.weight"], stride=stride, padding=1)
        y = norm(y, f"{name}.bn2").relu()
        y = norm(F.conv2d(y, state[f"{name}.conv3.weight"]), f"{name}.bn3")
        if f"{name}.downsample.0.weight" in state:
            x = F.conv2d(x, state[f"{name}.downsample.0.weight"], stride=stride)
            x = norm(x, f"{name}.downsample.1")
        x = (x + y).relu()
        levels.append(x)
    return levels


def test_a_resnet_of_torchvision_gives_the_same_features(tmp_path):
    pytest.importorskip("transformers")
    widths, state = [8, 16, 32, 64], {}

    def layer(conv, bn, outputs, inputs, kernel=1):
        state[f"{conv}.weight"] = torch.randn(outputs, inputs, kernel, kernel) / kernel
        for name in ("weight", "bias", "running_mean", "running_var"):
            state[f"{bn}.{name}"] = torch.rand(outputs) + 0.5
        state[f"{bn}.num_batches_tracked"] = torch.tensor(7)

    layer("conv1", "bn1", 8, 3, 7)
    for stage, (inputs, width) in enumerate(zip([8, *widths], widths, strict=False), start=1):
        name = f"layer{stage}.0"
        layer(f"{name}.conv1", f"{name}.bn1", width // 4, inputs)
        layer(f"{name}.conv2", f"{name}.bn2", width // 4, width // 4, 3)
        layer(f"{name}.conv3", f"{name}.bn3", width, width // 4)
        if stage > 1:
            layer(f"{name}.downsample.0", f"{name}.downsample.1", width, inputs)
    state |= {"fc.weight": torch.zeros(1000, 64), "fc.bias": torch.zeros(1000)}
    torch.save(state, tmp_path / "resnet.pth")
    backbone = TransformersBackbone("ResNet", **FAMILIES["ResNet"]).eval()
    load_backbone_weights(backbone, tmp_path / "resnet.pth")
    frames = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        for ours, theirs in zip(backbone(frames), torchvision_resnet(state, frames), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-3)


SWIN_NAMES = {  # of transformers: of Swin's own repository, of torchvision
    "embeddings.patch_embeddings.projection": ("patch_embed.proj", "features.0.0"),
    "embeddings.norm": ("patch_embed.norm", "features.0.2"),
    "layernorm_before": ("norm1", "norm1"),
    "layernorm_after": ("norm2", "norm2"),
    "mlp.fc1": ("mlp.fc1", "mlp.0"),
    "mlp.fc2": ("mlp.fc2", "mlp.3"),
    "attention.o_proj": ("attn.proj", "attn.proj"),
    "attention.relative_position_bias.": ("attn.", "attn."),
}


def other_swin_name(key, source):
    """Call a weight of transformers' Swin with one block a stage as others do."""
    for name, others in SWIN_NAMES.items():
        key = key.replace(name, others[source])
    stage = re.match(r"encoder\.layers\.(\d)\.", key)
    if stage is None:
        return key
    rest, number = key[stage.end() :], int(stage[1])
    if source == 0:
        return f"layers.{number}.{rest}"
    rest = rest.replace("blocks.", "").replace("downsample.", "")
    return f"features.{2 * number + (1 if 'blocks' in key else 2)}.{rest}"


@pytest.mark.parametrize("source", [0, 1])
def test_a_swin_of_other_sources_gives_its_weights(source, tmp_path):
    pytest.importorskip("transformers")
    backbone = TransformersBackbone("Swin", **FAMILIES["Swin"])
    expected = {key: torch.randn_like(v) for key, v in backbone.network.state_dict().items()}
    state = {"norm.weight": torch.zeros(64), "head.weight": torch.zeros(10, 64)}
    for key, value in expected.items():
        if key.startswith("hidden_states_norms.") or re.search(r"\.[kv]_proj\.", key):
            continue
        name = other_swin_name(key.removeprefix("swin."), source)
        if ".q_proj." in key:  # theirs lie above each other
            parts = [expected[key.replace("q_proj", f"{part}_proj")] for part in "qkv"]
            name, value = name.replace("attention.q_proj", "attn.qkv"), torch.cat(parts)
        state[name] = value
    state["layers.0.blocks.0.attn.relative_position_index"] = torch.zeros(3)
    torch.save([{"model": state}, state][source], tmp_path / "swin.pth")
    load_backbone_weights(backbone, tmp_path / "swin.pth")
    for key, value in backbone.network.state_dict().items():
        if not key.startswith("hidden_states_norms."):  # of the backbone alone
            assert torch.equal(value, expected[key]), key


def test_the_weights_of_two_backbones_load_from_one_file(tmp_path):
    source, target = TwinBackbone(), TwinBackbone()
    state = {f"backbone.{key}": value for key, value in source.state_dict().items()}
    save_file(state | {"other": torch.zeros(1)}, tmp_path / "backbones.safetensors")
    load_backbone_weights(target, tmp_path / "backbones.safetensors")
    for a, b in zip(source.state_dict().values(), target.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_yamnet_loads_with_the_classifier_it_was_trained_with(tmp_path):
    source, target, path = YAMNet(), YAMNet(), tmp_path / "audio.safetensors"
    classes, others = nn.Linear(8, 3), nn.Linear(8, 3)
    state = {f"encoder.{key}": value for key, value in source.state_dict().items()}
    state |= {f"classes.{key}": value for key, value in classes.state_dict().items()}
    save_file(state, path)
    load_audio_weights(target, others, path)
    assert torch.equal(others.weight, classes.weight)
    for a, b in zip(source.state_dict().values(), target.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    with pytest.raises(WeightsError, match="has the shape"):
        load_audio_weights(target, nn.Linear(8, 4), path)


def test_weights_of_another_network_are_refused_in_one_line(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(3)}, path)
    for load in (
        partial(load_backbone_weights, EfficientNetLite0()),
        partial(load_backbone_weights, TwinBackbone()),
        partial(load_audio_weights, SmallAudioEncoder(), CLASSES),
        partial(load_audio_weights, YAMNet(), CLASSES),
    ):
        with pytest.raises(WeightsError) as caught:
            load(path)
        assert str(path) in caught.value.message
        assert "\n" not in caught.value.message


@pytest.mark.parametrize("name", ["damaged.safetensors", "damaged.pth", "missing.pth"])
def test_a_file_that_cannot_be_read_is_refused(name, tmp_path):
    if name.startswith("damaged"):
        (tmp_path / name).write_bytes(b"these are not weights")
    with pytest.raises(WeightsError, match=name) as caught:
        load_backbone_weights(EfficientNetLite0(), tmp_path / name)
    assert "weights_only" not in caught.value.message


@pytest.mark.parametrize("noise", [b"K", b"h.", b"X\1\0\0\0\xff.", b"M", b"}]]s."])
def test_weights_of_any_noise_are_refused(noise, tmp_path):
    (tmp_path / "noise.pth").write_bytes(noise)
    with pytest.raises(WeightsError, match=r"cannot read the weights .*noise\.pth"):
        load_audio_weights(SmallAudioEncoder(), CLASSES, tmp_path / "noise.pth")


def test_vggish_loads_the_file_of_torchvggish_without_its_pca(tmp_path):
    with torch.device("meta"):
        encoder = VGGish()
    state = {k: torch.full(v.shape, 0.01) for k, v in encoder.state_dict().items()}
    path = tmp_path / "vggish.pth"
    torch.save(state | {"pproc.pca_means": torch.zeros(128, 1)}, path)
    encoder.to_empty(device="cpu")
    load_audio_weights(encoder, CLASSES, path)
    assert all((v == 0.01).all() for v in encoder.state_dict().values())
