import sys

import pytest
import torch
from torch import nn

from avsegcli.errors import AvsegError, ConfigError
from avsegcli.model.backbone import SmallBackbone, TransformersBackbone, build_backbone
from avsegcli.model.mobilenets import EfficientNetLite0, TwinBackbone

FAMILIES = {
    "ResNet": {"depths": [1, 1, 1, 1], "hidden_sizes": [8, 16, 32, 64], "embedding_size": 8},
    "Swin": {"depths": [2, 2, 2, 2], "embed_dim": 8, "num_heads": [1, 1, 2, 2]},
    "PvtV2": {"depths": [1, 1, 1, 1], "hidden_sizes": [8, 16, 20, 32]},
}


OURS = {"small": SmallBackbone, "efficientnet-lite0": EfficientNetLite0}
OURS |= {"lite0+deeplab": TwinBackbone}


@pytest.fixture(params=[*OURS, *FAMILIES])
def backbone(request: pytest.FixtureRequest) -> nn.Module:
    if request.param in OURS:
        return build_backbone(request.param).eval()
    pytest.importorskip("transformers")
    return TransformersBackbone(request.param, **FAMILIES[request.param]).eval()


@pytest.mark.parametrize("size", [(64, 96), (32, 32), (96, 160)])
def test_features_have_strides_4_to_32_for_any_multiple_of_32(backbone, size):
    with torch.no_grad():
        features = backbone(torch.randn(2, 3, *size))
    expected = [
        (2, width, size[0] // stride, size[1] // stride)
        for width, stride in zip(backbone.channels, (4, 8, 16, 32), strict=True)
    ]
    assert [tuple(f.shape) for f in features] == expected


def test_a_frame_has_the_same_features_alone_and_in_a_batch(backbone):
    frames = torch.randn(3, 3, 64, 64)
    with torch.no_grad():
        backbone(torch.randn(1, 3, 32, 96))  # another size before must leave no trace
        together, alone = backbone(frames), backbone(frames[1:2])
    for a, b in zip(together, alone, strict=True):
        torch.testing.assert_close(a[1:2], b, rtol=1e-4, atol=1e-5)


def test_gradients_reach_every_parameter(backbone, missing_gradients):
    assert missing_gradients(backbone, *backbone(torch.randn(1, 3, 64, 64))) == []


def test_stages_hold_every_parameter_once_and_follow_each_other(backbone):
    held = [p for stage in backbone.stages for p in stage.parameters()]
    norms = getattr(getattr(backbone, "network", None), "hidden_states_norms", None)
    held += list(norms.parameters()) if norms is not None else []
    assert len(held) == len(set(held)) == len(list(backbone.parameters()))
    frames = torch.randn(1, 3, 64, 64)
    for parameter in backbone.stages[3].parameters():
        parameter.data.mul_(3)
    with torch.no_grad():
        before = backbone(frames)
        for parameter in backbone.stages[3].parameters():
            parameter.data.zero_()
        after = backbone(frames)
    assert all(torch.equal(a, b) for a, b in zip(before[:2], after[:2], strict=True))


@pytest.mark.parametrize("name", OURS)
def test_a_backbone_is_built_by_its_name(name):
    assert type(build_backbone(name)) is OURS[name]


def test_an_unknown_backbone_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError) as caught:
        build_backbone("resnet51")
    assert "resnet50" in caught.value.hint


def test_without_transformers_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(AvsegError) as caught:
        build_backbone("resnet50")
    assert "pip install" in caught.value.hint
    assert '"transformers' in caught.value.hint
    assert caught.value.exit_code == 1
