"""Multi-scale deformable attention (Zhu et al. 2021) in plain PyTorch, and what is built of it.

A query looks at a few points of each level instead of at all cells. Where these points lie, and
what each is worth, is a linear function of the query. Written anew after Deformable DETR and
R2-VOS, without their compiled operator.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from avsegcli.model.layers import Attention, FeedForward
from avsegcli.model.visual_encoder import Level, flatten_levels, make_level, unflatten_levels

Size = tuple[int, int]  # h, w


class Memory(NamedTuple):
    """The cells of several levels in one sequence, and where each level lies in it."""

    features: Tensor  # (M, S, D)
    valid: Tensor | None  # bool (M, S), True = real; None: all are
    sizes: list[Size]  # (h, w) of each level; their products add up to S


class DeformableAttention(nn.Module):
    """Attend to `num_points` points in each level, for each head.

    At first the points of a head lie in a row, each head looks in another direction, and all
    points are worth the same, as in Deformable DETR.
    """

    def __init__(self, dim: int, num_heads: int, num_levels: int, num_points: int = 4) -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"dim {dim} is no multiple of num_heads {num_heads}")
        self.num_heads = num_heads
        self.points = (num_levels, num_points)
        self.offsets = nn.Linear(dim, num_heads * 2 * num_levels * num_points)
        self.weights = nn.Linear(dim, num_heads * num_levels * num_points)
        self.value = nn.Linear(dim, dim)
        self.out = nn.Linear(dim, dim)

        angle = torch.arange(num_heads) * (2 * math.pi / num_heads)
        direction = torch.stack([angle.cos(), angle.sin()], dim=1)  # (heads, 2)
        direction = direction / direction.abs().amax(1, keepdim=True)
        distance = torch.arange(1.0, num_points + 1).expand(num_levels, -1)
        with torch.no_grad():
            self.offsets.bias.copy_((direction[..., None, None] * distance).flatten())
        for weight in (self.offsets.weight, self.weights.weight, self.weights.bias):
            nn.init.zeros_(weight)
        for layer in (self.value, self.out):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, query: Tensor, reference: Tensor, memory: Memory) -> Tensor:
        """Attend from each query to points around its reference point.

        Args:
            query: ``(M, Q, D)``.
            reference: points (x, y) or boxes (cx, cy, w, h) in 0..1 of each level, padding
                included, ``(M, Q, levels or 1, 2 or 4)``. Offsets are in cells of each level from
                a point; from the centre of a box they are in shares of it, so that the points of a
                head at first reach from there to its edge.
            memory: what to look at; padding counts as zeros, like what lies outside.

        Returns:
            ``(M, Q, D)``.
        """
        value = self.value(memory.features)  # (M, S, D)
        if memory.valid is not None:
            value = value * memory.valid[..., None]
        value = value.reshape(*value.shape[:2], self.num_heads, -1)  # (M, S, heads, d)
        # Where a point lies is computed in fp32: bf16 cannot tell apart the cells of a fine level.
        extent = _extents(memory.sizes).to(reference.device)
        reference = reference.float()
        centre = (reference[..., :2] * extent).transpose(2, 3)  # (M, Q, 2, levels), in cells
        each = *query.shape[:2], self.num_heads
        offsets = self.offsets(query).float().reshape(*each, 2, *self.points)
        if reference.shape[-1] == 4:
            size = (reference[..., 2:] * extent).transpose(2, 3)  # (M, Q, 2, levels), in cells
            offsets = offsets * size[:, :, None, :, :, None] * (0.5 / self.points[1])
        points = centre[:, :, None, :, :, None] + offsets  # (M, Q, heads, 2, levels, points)
        weights = self.weights(query).float().reshape(*each, -1).softmax(-1)
        weights = weights.reshape(*each, *self.points)  # (M, Q, heads, levels, points)
        sample = _sample_grid
        if value.device.type == "cpu" and not (
            torch.is_grad_enabled() or torch.onnx.is_in_onnx_export()
        ):
            sample = _sample_bags
        return self.out(sample(value.float(), memory.sizes, points, weights).to(value.dtype))


def _sample_grid(value: Tensor, sizes: list[Size], points: Tensor, weights: Tensor) -> Tensor:
    """Sum what lies at the points, interpolated bilinearly.

    By operations that leave the sizes of levels free in an exported graph.

    Args:
        value: ``(M, S, heads, d)``.
        sizes: (h, w) of each level.
        points: (x, y) in cells from the corner of each level, ``(M, Q, heads, 2, levels, points)``.
        weights: ``(M, Q, heads, levels, points)``.

    Returns:
        ``(M, Q, heads * d)``.
    """
    heads, per_head = value.shape[2:]
    scales = (2 / _extents(sizes)).to(points)
    total = value.new_zeros(())
    start = 0
    for level, (height, width) in enumerate(sizes):
        piece = value[:, start : start + height * width]
        start = start + height * width
        image = piece.permute(0, 2, 3, 1).reshape(-1, per_head, height, width)
        grid = points[:, :, :, :, level].permute(0, 2, 1, 4, 3).flatten(0, 1)  # (.., Q, P, 2)
        grid = grid * scales[level] - 1
        seen = F.grid_sample(image.contiguous(), grid, align_corners=False)  # (M * heads, d, Q, P)
        weight = weights[:, :, :, level].transpose(1, 2).flatten(0, 1)  # (M * heads, Q, P)
        # Not by einsum: backward, on a CPU, it would be many thousands of tiny matrix products.
        total = total + (seen * weight[:, None]).sum(-1)  # (M * heads, d, Q)
    return total.reshape(-1, heads, *total.shape[1:]).permute(0, 3, 1, 2).flatten(2)


def _sample_bags(value: Tensor, sizes: list[Size], points: Tensor, weights: Tensor) -> Tensor:
    """Do what `_sample_grid` does, faster on a CPU, but only forward.

    What a head sees is a weighted sum of rows of `value`: four for each point, the cells around
    it. That is what `F.embedding_bag` computes, without the samples ever being stored.
    """
    clips, cells, heads, _ = value.shape
    queries = points.shape[1]
    num_points = points.shape[-1]

    def each_point(of_level: list[int]) -> Tensor:
        return torch.tensor(of_level, dtype=torch.int32).repeat_interleave(num_points)

    widths, heights = each_point([w for _, w in sizes]), each_point([h for h, _ in sizes])
    areas = [height * width for height, width in sizes]
    starts = each_point([sum(areas[:level]) for level in range(len(areas))])

    def corners(position: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
        """Find the cells on both sides, ``(M, Q, heads, 2, S)``, and the share of each."""
        low = position.floor()
        share = position - low
        cell = low.int()
        both = torch.stack([cell, cell + 1], dim=3)
        inside = (both >= 0) & (both < size)
        return both.clamp_(min=0).minimum(size - 1), torch.stack([1 - share, share], 3) * inside

    x, y = (points.flatten(-2) - 0.5).unbind(3)  # (M, Q, heads, levels * points)
    columns, share_x = corners(x, widths)
    rows, share_y = corners(y, heights)
    # Row of `value`: ((clip * S + start + row * width + column) * heads + head).
    first = torch.arange(clips, dtype=torch.int32)[:, None] * (cells * heads)
    first = first + torch.arange(heads, dtype=torch.int32)  # (M, heads)
    columns = columns * heads + first[:, None, :, None, None]
    rows = (rows * widths + starts) * heads
    index = rows[:, :, :, :, None] + columns[:, :, :, None]  # (M, Q, heads, 2, 2, levels * points)
    share_y = share_y * weights.flatten(-2)[:, :, :, None]
    share = share_y[:, :, :, :, None] * share_x[:, :, :, None]
    bags = clips * queries * heads
    seen = F.embedding_bag(
        index.view(bags, -1),
        value.reshape(clips * cells * heads, -1),
        per_sample_weights=share.view(bags, -1),
        mode="sum",
    )
    return seen.view(clips, queries, -1)


class _EncoderLayer(nn.Module):
    def __init__(
        self, dim: int, num_heads: int, num_levels: int, ffn_dim: int, dropout: float
    ) -> None:
        super().__init__()
        self.attention = DeformableAttention(dim, num_heads, num_levels)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(dim)
        self.feed_forward = FeedForward(dim, ffn_dim, dropout)

    def forward(self, memory: Memory, position: Tensor, reference: Tensor) -> Memory:
        features = memory.features
        attended = self.attention(features + position, reference, memory)
        features = self.norm(features + self.dropout(attended))
        return memory._replace(features=self.feed_forward(features))


class DeformableEncoder(nn.Module):
    """Deformable self-attention over C3, C4, C5 and a fourth level made from C5.

    Paper: Sec. 4.1, "a backbone with a transformer encoder on top"; numbers of R2-VOS.
    """

    strides = (8, 16, 32, 64)

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
        convolutions = [nn.Conv2d(width, dim, 1) for width in channels[1:]]
        convolutions.append(nn.Conv2d(channels[-1], dim, 3, stride=2, padding=1))
        self.project = nn.ModuleList(
            nn.Sequential(convolution, nn.GroupNorm(min(32, dim // 4), dim))
            for convolution in convolutions
        )
        self.level_embedding = nn.Parameter(torch.randn(len(self.strides), dim))
        self.layers = nn.ModuleList(
            _EncoderLayer(dim, num_heads, len(self.strides), ffn_dim, dropout)
            for _ in range(num_layers)
        )

    def forward(self, features: list[Tensor], valid: Tensor | None) -> list[Level]:
        """Encode the levels.

        Args:
            features: C2..C5, ``(M, C, h, w)`` each.
            valid: bool ``(M, H, W)`` at the size of the frames, True = real; None: all are.

        Returns:
            F_v: a level for each of `strides`, fine to coarse.
        """
        sources = [*features[1:], features[-1]]
        levels = [
            make_level(project(c), valid) for project, c in zip(self.project, sources, strict=True)
        ]
        tokens = flatten_levels(levels, self.level_embedding)
        memory = Memory(tokens.features, tokens.valid, level_sizes(levels))
        reference = _cell_centres(levels)
        for layer in self.layers:
            memory = layer(memory, tokens.position, reference)
        return unflatten_levels(memory.features, levels)


def level_sizes(levels: list[Level]) -> list[Size]:
    """Return (h, w) of each level."""
    return [(level.features.shape[-2], level.features.shape[-1]) for level in levels]


def _extents(sizes: list[Size]) -> Tensor:
    """Give (w, h) of each level as a tensor, ``(levels, 2)``; in a traced graph it stays free."""
    sides = [torch.as_tensor(side) for height, width in sizes for side in (width, height)]
    return torch.stack(sides).reshape(-1, 2).float()


def _cell_centres(levels: list[Level]) -> Tensor:
    """Compute where each cell lies in every level.

    A cell at a third of the valid part of its own level looks at a third of the valid part of all.

    Returns:
        (x, y) in 0..1 of the padded levels, ``(M or 1, S, levels or 1, 2)``.
    """
    whole = _extents(level_sizes(levels)).to(levels[0].features.device)
    centres, ratios = [], []
    for level, size in zip(levels, whole, strict=True):
        extent = size[None]  # (M or 1, 2)
        if level.valid is not None:
            extent = torch.stack([level.valid.any(1).sum(1), level.valid.any(2).sum(1)], dim=1)
            ratios.append(extent / size)
        ones = torch.ones_like(level.position[0, 0], dtype=torch.float32)  # (h, w)
        cells = torch.stack([ones.cumsum(1), ones.cumsum(0)], dim=2).flatten(0, 1) - 0.5  # (S_l, 2)
        centres.append(cells / extent[:, None].clamp(min=1))
    reference = torch.cat(centres, dim=1)[:, :, None]  # (M or 1, S, 1, 2)
    return reference * torch.stack(ratios, dim=1)[:, None] if ratios else reference


class DeformableQueryLayer(nn.Module):
    """A transformer decoder layer: queries attend to each other, then to points of the levels."""

    def __init__(
        self, dim: int, num_heads: int, num_levels: int, ffn_dim: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.self_attention = Attention(dim, num_heads, dropout)
        self.cross_attention = DeformableAttention(dim, num_heads, num_levels)
        self.dropout = nn.Dropout(dropout)
        self.self_norm = nn.LayerNorm(dim)
        self.cross_norm = nn.LayerNorm(dim)
        self.feed_forward = FeedForward(dim, ffn_dim, dropout)

    def forward(
        self, queries: Tensor, query_position: Tensor, reference: Tensor, memory: Memory
    ) -> Tensor:
        """Update queries ``(M, Q, D)`` that look around points or boxes ``(M, Q, 2 or 4)``."""
        positioned = queries + query_position
        attended = self.self_attention(positioned, positioned, queries)
        queries = self.self_norm(queries + self.dropout(attended))
        attended = self.cross_attention(queries + query_position, reference[:, :, None], memory)
        return self.feed_forward(self.cross_norm(queries + self.dropout(attended)))
