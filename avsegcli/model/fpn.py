"""Feature pyramid: recombined features and the fine backbone levels to mask features."""

import torch.nn.functional as F
from torch import Tensor, nn


def _smooth(dim: int, separable: bool) -> nn.Sequential:
    """A 3x3 convolution with GroupNorm and ReLU; depthwise and pointwise if `separable`."""
    if separable:
        layers: list[nn.Module] = [
            nn.Conv2d(dim, dim, 3, padding=1, groups=dim, bias=False),
            nn.Conv2d(dim, dim, 1, bias=False),
        ]
    else:
        layers = [nn.Conv2d(dim, dim, 3, padding=1, bias=False)]
    return nn.Sequential(*layers, nn.GroupNorm(min(32, dim // 4), dim), nn.ReLU(inplace=True))


class FeaturePyramid(nn.Module):
    """Merge the levels from coarse to fine, down to stride 4.

    Args:
        channels: of C2, C3, ... as far as they are finer than the encoder's finest level.
        dim: D of the encoder's levels.
        pyramid_dim: channels of the levels added here.
        mask_channels: channels of the mask features.
        separable: depthwise 3x3 convolutions instead of full ones.
    """

    def __init__(
        self,
        channels: tuple[int, ...],
        dim: int,
        pyramid_dim: int,
        mask_channels: int,
        *,
        separable: bool = False,
    ) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(dim, pyramid_dim, 1)
        self.lateral = nn.ModuleList(nn.Conv2d(width, pyramid_dim, 1) for width in channels)
        self.smooth = nn.ModuleList(_smooth(pyramid_dim, separable) for _ in channels)
        self.project = nn.Conv2d(pyramid_dim, mask_channels, 1)

    def forward(self, encoded: list[Tensor], backbone: list[Tensor]) -> Tensor:
        """Compute mask features.

        Args:
            encoded: F'_v, fine to coarse, ``(M, D, h, w)`` each.
            backbone: C2, C3, ... finer than those, fine to coarse.

        Returns:
            ``(M, mask_channels, H / 4, W / 4)``.
        """
        merged = encoded[-1]
        for level in reversed(encoded[:-1]):
            merged = level + _upsample(merged, level)
        merged = self.reduce(merged)
        steps = list(zip(backbone, self.lateral, self.smooth, strict=True))
        for features, lateral, smooth in reversed(steps):
            fine = lateral(features)
            merged = smooth(fine + _upsample(merged, fine))
        return self.project(merged)


def _upsample(coarse: Tensor, fine: Tensor) -> Tensor:
    return F.interpolate(coarse, size=fine.shape[-2:], mode="bilinear", align_corners=False)
