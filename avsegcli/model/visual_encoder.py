"""The transformer encoder on top of the backbone: each frame by itself, over several levels."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from avsegcli.model.layers import Attention, FeedForward, scale_valid, sine_position


class Level(NamedTuple):
    """One level of a feature pyramid."""

    features: Tensor  # (M, D, h, w)
    position: Tensor  # (M or 1, D, h, w), sine encoding, without the level embedding
    valid: Tensor | None  # bool (M, h, w), True = real; None: all are


class Cells(NamedTuple):
    """The cells of one or several levels as one sequence."""

    features: Tensor  # (M, S, D)
    position: Tensor  # (M or 1, S, D), with the level embedding
    valid: Tensor | None  # bool (M, S)


def flatten_levels(levels: list[Level], level_embedding: Tensor) -> Cells:
    """Put the cells of several levels in one sequence, fine level first.

    Args:
        levels: any number, of the same M and D.
        level_embedding: ``(number of levels, D)``, added to the position encoding.
    """
    features, valid = flatten_features(levels)
    position = torch.cat(
        [
            level.position.flatten(2).transpose(1, 2) + embedding
            for level, embedding in zip(levels, level_embedding, strict=True)
        ],
        dim=1,
    )
    return Cells(features, position, valid)


def flatten_features(levels: list[Level]) -> tuple[Tensor, Tensor | None]:
    """Put features ``(M, S, D)`` and validity ``(M, S)`` of several levels in one sequence."""
    valid = None
    if levels[0].valid is not None:
        valid = torch.cat([v.flatten(1) for level in levels if (v := level.valid) is not None], 1)
    features = torch.cat([level.features.flatten(2).transpose(1, 2) for level in levels], dim=1)
    return features, valid


def unflatten_levels(features: Tensor, like: list[Level]) -> list[Level]:
    """Undo `flatten_levels` for new features ``(M, S, D)``."""
    levels, begin = [], 0
    for level in like:
        height, width = level.features.shape[-2:]
        piece = features[:, begin : begin + height * width].transpose(1, 2)  # (M, D, h * w)
        levels.append(level._replace(features=piece.reshape(*piece.shape[:2], height, width)))
        begin = begin + height * width
    return levels


def make_level(features: Tensor, valid: Tensor | None) -> Level:
    """Attach position encodings and validity to a feature map ``(M, D, h, w)``.

    Args:
        features: the map; what lies in the padding is set to 0.
        valid: bool ``(M, H, W)`` at the size of the frames, or None.
    """
    if valid is None:
        everything = features.new_ones((1, *features.shape[-2:]), dtype=torch.bool)
        return Level(
            features, sine_position(everything, features.shape[1]).to(features.dtype), None
        )
    scaled = scale_valid(valid, features.shape[-2:])
    position = sine_position(scaled, features.shape[1]).to(features.dtype)
    return Level(features * scaled[:, None], position, scaled)


class _EncoderLayer(nn.Module):
    def __init__(self, dim: int, num_heads: int, ffn_dim: int, dropout: float) -> None:
        super().__init__()
        self.attention = Attention(dim, num_heads, dropout)
        self.norm = nn.LayerNorm(dim)
        self.feed_forward = FeedForward(dim, ffn_dim, dropout)

    def forward(self, cells: Cells) -> Cells:
        positioned = cells.features + cells.position
        attended = self.attention(positioned, positioned, cells.features, cells.valid)
        return cells._replace(features=self.feed_forward(self.norm(cells.features + attended)))


class PlainEncoder(nn.Module):
    """Full self-attention over C4 and C5: cheap, since both have few cells."""

    strides = (16, 32)

    def __init__(
        self,
        channels: tuple[int, ...],
        dim: int,
        num_layers: int,
        num_heads: int,
        ffn_dim: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.project = nn.ModuleList(
            nn.Sequential(nn.Conv2d(width, dim, 1), nn.GroupNorm(min(32, dim // 4), dim))
            for width in channels[2:]
        )
        self.level_embedding = nn.Parameter(torch.randn(len(self.strides), dim) * 0.1)
        self.layers = nn.ModuleList(
            _EncoderLayer(dim, num_heads, ffn_dim, dropout) for _ in range(num_layers)
        )

    def forward(self, features: list[Tensor], valid: Tensor | None) -> list[Level]:
        """Encode the two coarsest levels.

        Args:
            features: C2..C5, ``(M, C, h, w)`` each.
            valid: bool ``(M, H, W)`` at the size of the frames, True = real; None: all are.

        Returns:
            F_v: a level for each of `strides`, fine to coarse.
        """
        levels = [
            make_level(project(c), valid)
            for project, c in zip(self.project, features[2:], strict=True)
        ]
        cells = flatten_levels(levels, self.level_embedding)
        for layer in self.layers:
            cells = layer(cells)
        return unflatten_levels(cells.features, levels)
