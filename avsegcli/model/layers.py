"""Attention, feed-forward layers and position encodings that several parts share."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Attention(nn.Module):
    """Multi-head attention with one projection each for queries, keys and values."""

    def __init__(self, dim: int, num_heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        if dim % num_heads:
            raise ValueError(f"dim {dim} is no multiple of num_heads {num_heads}")
        self.num_heads = num_heads
        self.dropout = dropout
        self.query = nn.Linear(dim, dim)
        self.key = nn.Linear(dim, dim)
        self.value = nn.Linear(dim, dim)
        self.out = nn.Linear(dim, dim)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, valid: Tensor | None = None
    ) -> Tensor:
        """Attend from each query to all valid keys.

        Args:
            query: ``(B, Q, D)``.
            key: ``(B, S, D)``.
            value: ``(B, S, D)``.
            valid: bool ``(B, S)``, True = real; at least one a row. None: all are.

        Returns:
            ``(B, Q, D)``.
        """
        q, k, v = (
            layer(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)  # (B, heads, S, D/heads)
            for layer, x in ((self.query, query), (self.key, key), (self.value, value))
        )
        mask = None if valid is None else valid[:, None, None, :]
        dropout = self.dropout if self.training else 0.0
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)
        return self.out(attended.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """Two linear layers; the residual and the LayerNorm after it belong to it."""

    def __init__(self, dim: int, hidden: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(dim, hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(hidden, dim),
        )
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        """Transform each of ``(..., D)`` by itself."""
        return self.norm(x + self.dropout(self.layers(x)))


class TwoLayer(nn.Sequential):
    """The two-layer fully connected network of the paper's heads and filters.

    Args:
        inputs: channels.
        hidden: channels in between.
        outputs: channels.
        bias: where all outputs start; None: at random, near 0.
    """

    def __init__(
        self, inputs: int, hidden: int, outputs: int, *, bias: float | None = None
    ) -> None:
        first, last = nn.Linear(inputs, hidden), nn.Linear(hidden, outputs)
        super().__init__(first, nn.ReLU(inplace=True), last)
        if bias is not None:
            nn.init.constant_(last.bias, bias)


class QueryLayer(nn.Module):
    """A transformer decoder layer: queries attend to each other, then to a memory."""

    def __init__(self, dim: int, num_heads: int, ffn_dim: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.self_attention = Attention(dim, num_heads, dropout)
        self.cross_attention = Attention(dim, num_heads, dropout)
        self.self_norm = nn.LayerNorm(dim)
        self.cross_norm = nn.LayerNorm(dim)
        self.feed_forward = FeedForward(dim, ffn_dim, dropout)

    def forward(
        self,
        queries: Tensor,
        query_position: Tensor,
        memory: Tensor,
        memory_position: Tensor | float = 0.0,
        valid: Tensor | None = None,
    ) -> Tensor:
        """Update queries ``(B, Q, D)`` from a memory ``(B, S, D)``; positions are added to keys."""
        positioned = queries + query_position
        queries = self.self_norm(queries + self.self_attention(positioned, positioned, queries))
        attended = self.cross_attention(
            queries + query_position, memory + memory_position, memory, valid
        )
        return self.feed_forward(self.cross_norm(queries + attended))


def sine_position(valid: Tensor, dim: int, temperature: float = 10_000.0) -> Tensor:
    """Encode each pixel's place in the valid part of its picture (DETR's sine encoding).

    Args:
        valid: bool ``(B, h, w)``, True = real.
        dim: channels, a multiple of 4; the first half encodes y, the second x.
        temperature: longest wavelength, over 2 pi.

    Returns:
        ``(B, D, h, w)`` in [-1, 1].
    """
    frequency = temperature ** (
        torch.arange(dim // 4, device=valid.device, dtype=torch.float32) / (dim // 4)
    )
    halves = []
    for axis in (1, 2):
        count = valid.cumsum(axis, dtype=torch.float32)
        total = count.amax(axis, keepdim=True).clamp(min=1.0)
        angle = (count - 0.5) / total * 2 * math.pi
        angle = angle[..., None] / frequency  # (B, h, w, D/4)
        halves += [angle.sin(), angle.cos()]
    return torch.cat(halves, dim=-1).permute(0, 3, 1, 2)


def scale_valid(valid: Tensor, size: tuple[int, int] | torch.Size) -> Tensor:
    """Tell which cells ``(B, h, w)`` of a coarser grid begin in the valid part ``(B, H, W)``."""
    # Strides are powers of two; the last cell of a coarse level may reach beyond the frame.
    rows, columns = (
        torch.arange(cells, device=valid.device) * 2 ** math.ceil(math.log2(pixels / cells))
        for cells, pixels in zip(size, valid.shape[-2:], strict=True)
    )
    return valid[:, rows[:, None], columns]


class SeparableBlock(nn.Module):
    """Depthwise 3x3 and pointwise convolution; residual where the shape stays."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(inputs, inputs, 3, stride, padding=1, groups=inputs, bias=False),
            nn.BatchNorm2d(inputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(inputs, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.residual = inputs == outputs and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        """Apply to ``(M, C, h, w)``."""
        y = self.layers(x)
        return F.relu(x + y if self.residual else y)
