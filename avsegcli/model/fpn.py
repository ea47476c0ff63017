"""Feature pyramid: recombined features and the fine backbone levels to mask features."""

import torch.nn.functional as F
from torch import Tensor, nn

from avsegcli.errors import ConfigError


class FeaturePyramid(nn.Module):
    """The pyramid of R2-VOS: a lateral and a smoothing convolution with GroupNorm at every level.

    Paper: Fig. 3, between the recombination and the mask decoder.

    Args:
        channels: of every level, fine to coarse: those of the backbone, then D for each of the
            encoder.
        pyramid_dim: channels of every level of the pyramid.
        mask_dim: channels of the mask features.
    """

    def __init__(self, channels: tuple[int, ...], pyramid_dim: int, mask_dim: int) -> None:
        super().__init__()
        groups = min(8, pyramid_dim // 4)
        self.lateral = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(width, pyramid_dim, 1, bias=False), nn.GroupNorm(groups, pyramid_dim)
            )
            for width in channels
        )
        self.smooth = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(pyramid_dim, pyramid_dim, 3, padding=1, bias=False),
                nn.GroupNorm(groups, pyramid_dim),
                nn.ReLU(inplace=True),
            )
            for _ in channels
        )
        self.project = nn.Conv2d(pyramid_dim, mask_dim, 3, padding=1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, a=1)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, encoded: list[Tensor], backbone: list[Tensor]) -> Tensor:
        """Compute mask features.

        Args:
            encoded: F'_v, fine to coarse, ``(M, D, h, w)`` each.
            backbone: C2, C3, ... finer than those, fine to coarse.

        Returns:
            ``(M, mask_dim, H / 4, W / 4)``.
        """
        levels = [
            lateral(features)
            for lateral, features in zip(self.lateral, [*backbone, *encoded], strict=True)
        ]
        merged = self.smooth[-1](levels[-1])
        for level, smooth in zip(reversed(levels[:-1]), reversed(self.smooth[:-1]), strict=True):
            merged = smooth(level + F.interpolate(merged, size=level.shape[-2:], mode="nearest"))
        return self.project(merged)


class LightPyramid(nn.Module):
    """A pyramid for a CPU: the encoder's levels are added up, the finer ones smoothed separably.

    Args:
        channels: of C2, C3, ... as far as they are finer than the encoder's finest level.
        dim: D of the encoder's levels.
        pyramid_dim: channels of the levels added here.
        mask_dim: channels of the mask features.
    """

    def __init__(
        self, channels: tuple[int, ...], dim: int, pyramid_dim: int, mask_dim: int
    ) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(dim, pyramid_dim, 1)
        self.lateral = nn.ModuleList(nn.Conv2d(width, pyramid_dim, 1) for width in channels)
        self.smooth = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(pyramid_dim, pyramid_dim, 3, padding=1, groups=pyramid_dim, bias=False),
                nn.Conv2d(pyramid_dim, pyramid_dim, 1, bias=False),
                nn.GroupNorm(min(32, pyramid_dim // 4), pyramid_dim),
                nn.ReLU(inplace=True),
            )
            for _ in channels
        )
        self.project = nn.Conv2d(pyramid_dim, mask_dim, 1)

    def forward(self, encoded: list[Tensor], backbone: list[Tensor]) -> Tensor:
        """Compute mask features as `FeaturePyramid.forward` does."""
        merged = encoded[-1]
        for level in reversed(encoded[:-1]):
            merged = level + _upsample(merged, level)
        merged = self.reduce(merged)
        steps = list(zip(backbone, self.lateral, self.smooth, strict=True))
        for features, lateral, smooth in reversed(steps):
            fine = lateral(features)
            merged = smooth(fine + _upsample(merged, fine))
        return self.project(merged)


def build_pyramid(
    name: str,
    channels: tuple[int, ...],
    num_encoded: int,
    dim: int,
    pyramid_dim: int,
    mask_dim: int,
) -> FeaturePyramid | LightPyramid:
    """Build a pyramid by name: `full` or `light`.

    Args:
        name: of the pyramid.
        channels: of the backbone's levels that are finer than the encoder's finest, fine first.
        num_encoded: levels of the encoder down to stride 32.
        dim: D of these.
        pyramid_dim: channels of the levels of the pyramid.
        mask_dim: channels of the mask features.

    Raises:
        ConfigError: if there is none of this name.
    """
    if name == "full":
        return FeaturePyramid((*channels, *[dim] * num_encoded), pyramid_dim, mask_dim)
    if name == "light":
        return LightPyramid(channels, dim, pyramid_dim, mask_dim)
    raise ConfigError(f"unknown pyramid '{name}'", "known: full, light")


def _upsample(coarse: Tensor, fine: Tensor) -> Tensor:
    return F.interpolate(coarse, size=fine.shape[-2:], mode="bilinear", align_corners=False)
