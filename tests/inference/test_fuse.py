import pytest
import torch
from torch import nn

from avsegcli.inference.fuse import fuse_for_inference
from avsegcli.model.audio_encoder import SmallAudioEncoder
from avsegcli.model.backbone import SmallBackbone, TransformersBackbone
from avsegcli.model.qsd import build_qsd


def count_norms(model: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())


@pytest.mark.parametrize("kind", [SmallBackbone, SmallAudioEncoder, "ResNet"])
def test_a_fused_network_gives_the_same_answer(kind, stir):
    if kind == "ResNet":
        pytest.importorskip("transformers")
        sizes = [8, 16, 32, 64]
        network = TransformersBackbone(
            "ResNet", depths=[1] * 4, hidden_sizes=sizes, embedding_size=8
        )
    else:
        network = kind()
    stir(network.eval())
    inputs = torch.randn(2, 1, 96, 64) if kind is SmallAudioEncoder else torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        before = network(inputs)
        after = fuse_for_inference(network)(inputs)
    before, after = (x if isinstance(x, list) else [x] for x in (before, after))
    for a, b in zip(before, after, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)
    # Only the one that normalises the log-mel input has no convolution before it.
    assert count_norms(network) == (1 if kind is SmallAudioEncoder else 0)


def test_the_whole_model_gives_the_same_answer(tiny):
    model = build_qsd(tiny, 4).eval()
    clip = torch.randn(1, 2, 3, 64, 64), torch.randn(1, 2, 1, 96, 64)
    with torch.no_grad():
        before = model(*clip)
        after = fuse_for_inference(model)(*clip)
    torch.testing.assert_close(after.mask_logits, before.mask_logits, rtol=1e-3, atol=1e-4)
    assert count_norms(model) == 3  # of the log-mel input and of the recombination's two levels


def test_a_model_in_training_is_refused():
    with pytest.raises(ValueError, match="eval mode"):
        fuse_for_inference(SmallBackbone())
