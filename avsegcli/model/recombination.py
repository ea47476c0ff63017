"""Audiovisual semantic recombination: quantized tokens filter the visual features, Eq. 5."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from avsegcli.model.layers import TwoLayer


class Recombination(nn.Module):
    """Filter visual features channel by channel with every token and merge what comes out.

    Paper: Sec. 3.3, Eq. 5: ``F'_v = BN(Conv1x1([F_v * w_1, ..., F_v * w_N]))``. The concatenation
    and the 1x1 convolution are one linear map, so they are computed as one D x D matrix for each
    clip, ``sum_i W_i diag(w_i)``: the same numbers, N times fewer multiplications. ReLU and the
    residual to the unmodulated feature are those of R2-VOS.
    """

    def __init__(self, dim: int, num_tokens: int) -> None:
        super().__init__()
        self.filters = TwoLayer(dim, dim, dim)
        self.merge = nn.Parameter(torch.empty(num_tokens, dim, dim))  # W_i, (N, out, in)
        nn.init.normal_(self.merge, std=(num_tokens * dim) ** -0.5)
        self.norm = nn.BatchNorm2d(dim)

    def forward(self, visual: Tensor, tokens: Tensor) -> Tensor:
        """Modulate the features of every frame by the tokens of its clip.

        Args:
            visual: one level of F_v, ``(B * T, D, h, w)``.
            tokens: quantized global tokens, ``(B, N, D)``.

        Returns:
            F'_v, ``(B * T, D, h, w)``.
        """
        filters = self.filters(tokens)  # (B, N, D)
        matrix = torch.einsum("noi,bni->boi", self.merge, filters)  # (B, D, D)
        clips = visual.reshape(tokens.shape[0], -1, *visual.shape[1:]).transpose(
            1, 2
        )  # (B, D, T, h, w)
        merged = (matrix @ clips.flatten(2)).view(clips.shape)
        return visual + F.relu(self.norm(merged.transpose(1, 2).flatten(0, 1)))
