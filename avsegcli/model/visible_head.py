"""Semantic segmentation of all that is visible, sounding or not, from the picture alone."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def _separable(inputs: int, outputs: int) -> nn.Sequential:
    """Depthwise 3x3 and pointwise convolution, GroupNorm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, inputs, 3, padding=1, groups=inputs, bias=False),
        nn.Conv2d(inputs, outputs, 1, bias=False),
        nn.GroupNorm(min(32, outputs // 4), outputs),
        nn.ReLU(inplace=True),
    )


class VisibleHead(nn.Module):
    """Classify every cell at stride 8, in the manner of DeepLabV3+'s decoder.

    Ours, not the paper's: only clips whose visible objects are all labelled can teach it. The
    backbone's C4 and C5 and the finest encoded level are summed at stride 8, refined together with
    C3, and classified; a linear path leads from C4 straight to the logits.

    Args:
        channels: of C2..C5.
        dim: D of the encoded level.
        num_classes: L + 1, with background.
        width: of the layers in between.
    """

    def __init__(
        self, channels: tuple[int, ...], dim: int, num_classes: int, width: int = 128
    ) -> None:
        super().__init__()
        _, c3, c4, c5 = channels
        self.encoded = nn.Conv2d(dim, width, 1)
        self.middle = nn.Conv2d(c4, width, 1)
        self.deep = nn.Conv2d(c5, width, 1)
        self.lateral = nn.Conv2d(c3, width // 2, 1)
        self.refine = nn.Sequential(
            _separable(width + width // 2, width), nn.Dropout2d(0.1), _separable(width, width)
        )
        self.classify = nn.Conv2d(width, num_classes, 1)
        self.linear = nn.Conv2d(c4, num_classes, 1)

    def forward(self, features: list[Tensor], encoded: Tensor) -> Tensor:
        """Classify.

        Args:
            features: C2..C5, ``(M, C, h, w)`` each.
            encoded: the finest level of F_v, ``(M, D, h, w)``.

        Returns:
            Logits ``(M, L + 1, H / 8, W / 8)``.
        """
        _, c3, c4, c5 = features
        size = c3.shape[-2:]
        coarse = (self.encoded(encoded), self.middle(c4), self.deep(c5))
        merged = sum((_resize(x, size) for x in coarse[1:]), _resize(coarse[0], size))
        refined = self.refine(torch.cat([merged, self.lateral(c3)], dim=1))
        logits: Tensor = self.classify(refined) + _resize(self.linear(c4), size)
        return logits


def _resize(x: Tensor, size: torch.Size) -> Tensor:
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)
