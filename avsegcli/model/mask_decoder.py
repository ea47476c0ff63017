"""Semantic-guided mask decoder: semantic queries to masks, classes and boxes, Eq. 7."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from avsegcli.model.deformable import DeformableQueryLayer, Memory, level_sizes
from avsegcli.model.layers import QueryLayer, TwoLayer
from avsegcli.model.visual_encoder import Level, flatten_features, flatten_levels


class Predictions(NamedTuple):
    """Output of one decoder layer; M = B * T frames, Q queries a frame."""

    mask_logits: Tensor  # (M, Q, H / 4, W / 4)
    class_logits: Tensor  # (M, Q, L), a sigmoid for each class without background
    boxes: Tensor  # (M, Q, 4): cx, cy, w, h in 0..1 of the padded frame


class DynamicConvolution(nn.Module):
    """Three 1x1 convolutions whose weights are given for each query (CondInst).

    The first sees the mask features and the offset of each cell to the query's reference point.
    Its output is linear in both, so that they are added after two small products instead of a
    concatenation of features that would be copied for each query.
    """

    def __init__(self, mask_dim: int, hidden: int) -> None:
        super().__init__()
        self.shapes = (
            (hidden, mask_dim),
            (hidden, 2),
            (hidden, 1),
            (hidden, hidden),
            (hidden, 1),
            (1, hidden),
            (1, 1),
        )
        self.sizes = [math.prod(shape) for shape in self.shapes]
        self.num_weights = sum(self.sizes)

    def forward(
        self, features: Tensor, weights: Tensor, reference: Tensor, extent: Tensor | None = None
    ) -> Tensor:
        """Apply each query's convolutions.

        Args:
            features: mask features ``(M, C, h, w)``.
            weights: ``(M, Q, num_weights)``.
            reference: points (x, y) in 0..1 of the valid part, ``(M, Q, 2)``.
            extent: share of width and height that is valid, ``(M, 2)``; None: everything.

        Returns:
            Logits ``(M, Q, h, w)``.
        """
        height, width = features.shape[-2:]
        by_feature, by_offset, bias1, layer2, bias2, layer3, bias3 = (
            piece.unflatten(-1, shape)  # (M, Q, out, in)
            for piece, shape in zip(weights.split(self.sizes, -1), self.shapes, strict=True)
        )
        x = (torch.arange(width, device=features.device, dtype=features.dtype) + 0.5) / width
        y = (torch.arange(height, device=features.device, dtype=features.dtype) + 0.5) / height
        grid = torch.stack([x.repeat(height), y.repeat_interleave(width)])  # (2, h * w)
        seen = by_feature @ features.flatten(2)[:, None]  # (M, Q, hidden, h * w)
        bias1 = bias1 - by_offset @ reference[..., None]
        if extent is not None:  # `grid` measures the padded map, `reference` its valid part
            by_offset = by_offset / extent[:, None, None]
        hidden = F.relu(seen + by_offset @ grid + bias1)
        hidden = F.relu(layer2 @ hidden + bias2)
        logits = (layer3 @ hidden + bias3).squeeze(2)  # (M, Q, h * w)
        return logits.reshape(*logits.shape[:2], height, width)


class MaskDecoder(nn.Module):
    """Turn the queries of a frame into masks, classes and boxes.

    With deformable layers each query has a reference: at first a point that is a linear function of
    the query, then the box that the layer before predicted, which each layer refines. The points
    that a query looks at spread over its box. Boxes and points are predicted in the valid part of
    the frame, so that padding has no say in them.

    Paper: Sec. 3.4, Eq. 7; the layers are shared by all frames. Sizes of the dynamic convolution
    and the refinement of boxes are those of R2-VOS.
    """

    def __init__(
        self,
        dim: int,
        num_queries: int,
        num_layers: int,
        num_heads: int,
        ffn_dim: int,
        mask_dim: int,
        dynamic_dim: int,
        num_classes: int,
        dropout: float = 0.0,
        num_levels: int = 2,
        *,
        deformable: bool = False,
    ) -> None:
        super().__init__()
        self.deformable = deformable
        if deformable:
            self.reference = nn.Linear(dim, 2)
            self.boxes: TwoLayer | nn.ModuleList = nn.ModuleList(
                _box_refinement(dim, first=number == 0) for number in range(num_layers)
            )
            self.layers = nn.ModuleList(
                DeformableQueryLayer(dim, num_heads, num_levels, ffn_dim, dropout)
                for _ in range(num_layers)
            )
        else:
            self.level_embedding = nn.Parameter(torch.randn(num_levels, dim) * 0.1)
            self.boxes = TwoLayer(dim, dim, 4)
            self.layers = nn.ModuleList(
                QueryLayer(dim, num_heads, ffn_dim, dropout) for _ in range(num_layers)
            )
        self.query_position = nn.Parameter(torch.randn(num_queries, dim))
        self.convolution = DynamicConvolution(mask_dim, dynamic_dim)
        self.filters = TwoLayer(dim, dim, self.convolution.num_weights)
        # A prior of 1 % a class: the focal loss starts small (RetinaNet, Sec. 3.3).
        self.classes = TwoLayer(dim, dim, num_classes, bias=-math.log(99))

    def forward(
        self,
        queries: Tensor,
        levels: list[Level],
        mask_features: Tensor,
        extent: Tensor | None = None,
    ) -> list[Predictions]:
        """Decode.

        Args:
            queries: semantic queries, ``(M, Q, D)``.
            levels: F'_v of each frame, fine to coarse.
            mask_features: ``(M, C, H / 4, W / 4)``.
            extent: share of width and height that is valid, ``(M, 2)``; None: everything.

        Returns:
            The predictions after each layer, the last is the answer.
        """
        if self.deformable:
            return self._decode_deformable(queries, levels, mask_features, extent)
        memory = flatten_levels(levels, self.level_embedding)
        predictions = []
        for layer in self.layers:
            queries = layer(
                queries, self.query_position, memory.features, memory.position, memory.valid
            )
            boxes = self.boxes(queries).sigmoid()
            predictions.append(self._predict(queries, boxes, mask_features, extent))
        return predictions

    def _decode_deformable(
        self, queries: Tensor, levels: list[Level], mask_features: Tensor, extent: Tensor | None
    ) -> list[Predictions]:
        memory = Memory(*flatten_features(levels), level_sizes(levels))
        # Points, then boxes, before the sigmoid.
        reference = self.reference(queries + self.query_position)  # (M, Q, 2)
        predictions = []
        for layer, refine in zip(self.layers, self.boxes, strict=True):
            places = reference.sigmoid()
            if extent is not None:
                places = places * extent.repeat(1, places.shape[-1] // 2)[:, None]
            queries = layer(queries, self.query_position, places, memory)
            boxes = refine(queries) + F.pad(reference, (0, 4 - reference.shape[-1]))
            reference = boxes.detach()  # (M, Q, 4)
            predictions.append(self._predict(queries, boxes.sigmoid(), mask_features, extent))
        return predictions

    def _predict(
        self, queries: Tensor, boxes: Tensor, mask_features: Tensor, extent: Tensor | None
    ) -> Predictions:
        """Predict from queries and their boxes in the valid part of the frame."""
        reference = boxes[..., :2].detach()
        masks = self.convolution(mask_features, self.filters(queries), reference, extent)
        if extent is not None:
            boxes = boxes * extent.repeat(1, 2)[:, None]
        return Predictions(masks, self.classes(queries), boxes)


def _box_refinement(dim: int, *, first: bool) -> TwoLayer:
    """Build what a layer adds to its reference: at first nothing, and a size of 0.12 of the frame.

    As in Deformable DETR with refined boxes: the last layer starts at zero, but for the width and
    height of the first decoder layer, whose reference is a point.
    """
    head = TwoLayer(dim, dim, 4, bias=0.0)
    last = head[-1]
    assert isinstance(last, nn.Linear)
    nn.init.zeros_(last.weight)
    if first:
        nn.init.constant_(last.bias[2:], -2.0)
    return head
