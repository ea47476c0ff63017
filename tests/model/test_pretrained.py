import pytest
import torch
from safetensors.torch import save_file

from avsegcli.errors import WeightsError
from avsegcli.model.audio_encoder import SmallAudioEncoder, VGGish
from avsegcli.model.backbone import EfficientNetLite0, TransformersBackbone
from avsegcli.model.pretrained import load_audio_weights, load_backbone_weights

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


def test_efficientnet_loads_from_a_file(tmp_path):
    source, target = EfficientNetLite0(), EfficientNetLite0()
    torch.save(source.state_dict(), tmp_path / "lite0.pth")
    load_backbone_weights(target, tmp_path / "lite0.pth")
    for a, b in zip(source.state_dict().values(), target.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_weights_of_another_network_are_refused_in_one_line(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(3)}, path)
    for network, load in (
        (EfficientNetLite0(), load_backbone_weights),
        (SmallAudioEncoder(), load_audio_weights),
    ):
        with pytest.raises(WeightsError) as caught:
            load(network, path)
        assert str(path) in caught.value.message
        assert "\n" not in caught.value.message


@pytest.mark.parametrize("name", ["damaged.safetensors", "damaged.pth", "missing.pth"])
def test_a_file_that_cannot_be_read_is_refused(name, tmp_path):
    if name.startswith("damaged"):
        (tmp_path / name).write_bytes(b"these are not weights")
    with pytest.raises(WeightsError, match=name):
        load_backbone_weights(EfficientNetLite0(), tmp_path / name)


def test_vggish_loads_the_file_of_torchvggish_without_its_pca(tmp_path):
    with torch.device("meta"):
        encoder = VGGish()
    state = {k: torch.full(v.shape, 0.01) for k, v in encoder.state_dict().items()}
    path = tmp_path / "vggish.pth"
    torch.save(state | {"pproc.pca_means": torch.zeros(128, 1)}, path)
    encoder.to_empty(device="cpu")
    load_audio_weights(encoder, path)
    assert all((v == 0.01).all() for v in encoder.state_dict().values())
