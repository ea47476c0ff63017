import pytest
import torch
import torch.nn.functional as F
from torch import nn

from avsegcli.model.mobilenets import (
    DeepLabMobileNetV2,
    EfficientNetLite0,
    SameConvolution,
    TwinBackbone,
)

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
DEVIATION = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
# EfficientNet-Lite0: outputs, kernel, stride, expansion, repeats of each group.
GROUPS = (
    (16, 3, 1, 1, 1),
    (24, 3, 2, 6, 2),
    (40, 5, 2, 6, 2),
    (80, 3, 2, 6, 3),
    (112, 5, 1, 6, 3),
    (192, 5, 2, 6, 4),
    (320, 3, 1, 6, 1),
)


def convolutions(net):
    return [module for module in net.modules() if isinstance(module, nn.Conv2d)]


def released_efficientnet():
    """Draw weights named and ordered as those of the package, each with a batch norm."""
    state = {}
    for number, layer in enumerate(convolutions(EfficientNetLite0())):
        width = len(layer.weight)
        bound = (2 / layer.weight[0].numel()) ** 0.5
        state[f"_{number}.conv.weight"] = torch.randn(layer.weight.shape) * bound
        state[f"_{number}.bn.weight"] = torch.rand(width) + 0.5
        state[f"_{number}.bn.bias"] = torch.randn(width) * 0.1
        state[f"_{number}.bn.running_mean"] = torch.randn(width) * 0.1
        state[f"_{number}.bn.running_var"] = torch.rand(width) + 0.5
        state[f"_{number}.bn.num_batches_tracked"] = torch.tensor(1)
    return state | {"_fc.weight": torch.zeros(1000, 1280), "_fc.bias": torch.zeros(1000)}


def same(x, kernel, stride):
    """Pad as TensorFlow does."""
    for axis in (-1, -2):
        size = x.shape[axis]
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        sides = (total // 2, total - total // 2)
        x = F.pad(x, sides if axis == -1 else (0, 0, *sides))
    return x


def reference_efficientnet(state, pixels):
    """EfficientNet-Lite0 with its batch norms, written out from the paper's table."""
    numbers = iter(range(len(state)))

    def layer(x, stride=1, groups=1, act=True):
        name = f"_{next(numbers)}"
        kernel = state[f"{name}.conv.weight"]
        x = F.conv2d(same(x, kernel.shape[-1], stride), kernel, stride=stride, groups=groups)
        norm = (state[f"{name}.bn.{key}"] for key in ("running_mean", "running_var"))
        affine = (state[f"{name}.bn.{key}"] for key in ("weight", "bias"))
        x = F.batch_norm(x, *norm, *affine, eps=1e-3)
        return x.clamp(0, 6) if act else x

    x = layer((pixels - 127) / 128, stride=2)
    levels = []
    for outputs, _, stride, expansion, repeats in GROUPS:
        for number in range(repeats):
            before, width = x, x.shape[1] * expansion
            x = layer(x) if expansion > 1 else x
            x = layer(x, stride if number == 0 else 1, groups=width)
            x = layer(x, act=False)
            x = x + before if before.shape == x.shape else x
        levels.append(x)
        assert x.shape[1] == outputs
    return [levels[1], levels[2], levels[4], layer(x)]


def test_folded_efficientnet_equals_the_network_with_batch_norms():
    state, net = released_efficientnet(), EfficientNetLite0().eval()
    net.load_imagenet(state)
    pixels = torch.randint(0, 256, (2, 3, 64, 96)).float()
    with torch.no_grad():
        found = net((pixels / 255 - MEAN) / DEVIATION)
        expected = reference_efficientnet(state, pixels)
    for one, other in zip(found, expected, strict=True):
        assert other.std() > 0.01
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("key", ["_3.conv.weight", "_3.bn.weight"])
def test_weights_of_another_network_are_refused(key):
    state = released_efficientnet()
    with pytest.raises((ValueError, RuntimeError)):
        EfficientNetLite0().load_imagenet(state | {key: torch.zeros(5, 5, 5, 5)})
    del state[key]
    with pytest.raises(ValueError, match="not the weights of EfficientNet-Lite0"):
        EfficientNetLite0().load_imagenet(state)


@pytest.mark.parametrize(
    ("network", "middle"), [(EfficientNetLite0, 127), (DeepLabMobileNetV2, 128)]
)
def test_the_normalisation_a_network_was_not_trained_with_is_undone(network, middle):
    net, seen = network().eval(), []
    net.stages[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    pixels = torch.randint(0, 256, (1, 3, 32, 32)).float()
    net((pixels / 255 - MEAN) / DEVIATION)
    torch.testing.assert_close(seen[0], (pixels - middle) / 128, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("kernel", "stride", "dilation"), [(3, 1, 1), (3, 2, 1), (5, 2, 1), (3, 1, 2)]
)
@pytest.mark.parametrize("size", [16, 17])
def test_a_convolution_pads_as_tensorflow_does(kernel, stride, dilation, size):
    layer = SameConvolution(2, 3, kernel, stride, dilation=dilation, act=False)
    x = torch.randn(1, 2, size, size)
    padded = same(x, dilation * (kernel - 1) + 1, stride)
    weights = layer.convolution.weight, layer.convolution.bias
    expected = F.conv2d(padded, *weights, stride=stride, dilation=dilation)
    torch.testing.assert_close(layer(x), expected)


def test_deeplab_sees_the_whole_picture_in_its_pooled_branch():
    net = DeepLabMobileNetV2().eval()
    for layer in convolutions(net.stages):
        nn.init.kaiming_normal_(layer.weight)
    with torch.no_grad():
        net.local.weight.zero_()
        features = net(torch.randn(1, 3, 64, 96))
    assert [tuple(x.shape) for x in features] == [
        (1, 24, 16, 24),
        (1, 32, 8, 12),
        (1, 256, 4, 6),
    ]
    # Without the local branch every cell has the same features.
    torch.testing.assert_close(features[2], features[2][..., :1, :1].expand_as(features[2]))


def test_deeplab_takes_the_released_convolutions_in_their_order():
    net, other = DeepLabMobileNetV2(), DeepLabMobileNetV2()
    released = [(layer.weight, layer.bias) for layer in convolutions(other)]
    net.load_released(released)
    frames = torch.randn(1, 3, 32, 32)
    for one, same_one in zip(net(frames), other(frames), strict=True):
        assert torch.equal(one, same_one)
    with pytest.raises(ValueError, match="zip"):
        net.load_released(released[:-1])


def test_the_twin_has_the_features_of_both_side_by_side():
    net, frames = TwinBackbone().eval(), torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        both, one, two = net(frames), net.efficientnet(frames), net.deeplab(frames)
    assert [x.shape[1] for x in both] == list(net.channels)
    for joined, first, second in zip(both[:3], one[:3], two, strict=True):
        assert torch.equal(joined, torch.cat([first, second], 1))
    assert torch.equal(both[3], one[3])
