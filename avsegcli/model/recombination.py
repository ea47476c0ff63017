"""Audiovisual semantic recombination: quantized tokens filter the visual features, Eq. 5."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from avsegcli.model.layers import TwoLayer
from avsegcli.model.visual_encoder import Level


class Recombination(nn.Module):
    """Filter visual features channel by channel with every token and merge the results.

    Paper: Sec. 3.3, Eq. 5: ``F'_v = BN(Conv1x1([F_v * w_1, ..., F_v * w_N]))``. The concatenation
    and the 1x1 convolution are one linear map, so they are computed as one D x D matrix for each
    clip, ``sum_i W_i diag(w_i)``: the same numbers, N times fewer multiplications. ReLU and the
    residual to the unmodulated feature are those of R2-VOS.

    The levels share the filters and the convolution; each has a batch norm of its own, as their
    statistics differ. Padding and frames that are not present stay out of these statistics and are
    left as they are.
    """

    def __init__(self, dim: int, num_tokens: int, num_levels: int) -> None:
        super().__init__()
        self.filters = TwoLayer(dim, dim, dim)
        self.merge = nn.Parameter(torch.empty(num_tokens, dim, dim))  # W_i, (N, out, in)
        nn.init.normal_(self.merge, std=(num_tokens * dim) ** -0.5)
        self.norms = nn.ModuleList(nn.BatchNorm2d(dim) for _ in range(num_levels))

    def forward(
        self, levels: list[Level], tokens: Tensor, present: Tensor | None = None
    ) -> list[Level]:
        """Modulate the features of every frame by the tokens of its clip.

        Args:
            levels: F_v, ``(B * T, D, h, w)`` each.
            tokens: quantized global tokens, ``(B, N, D)``.
            present: bool ``(B, T)``, False = a frame that only fills a shorter clip up to T; None:
                all are.

        Returns:
            F'_v, of the same shapes.
        """
        filters = self.filters(tokens)  # (B, N, D)
        matrix = torch.einsum("noi,bni->boi", self.merge, filters)  # (B, D, D)
        modulated = []
        for level, norm in zip(levels, self.norms, strict=True):
            visual = level.features
            clips = visual.reshape(tokens.shape[0], -1, *visual.shape[1:])
            clips = clips.transpose(1, 2)  # (B, D, T, h, w)
            merged = (matrix @ clips.flatten(2)).view(clips.shape)
            merged = merged.transpose(1, 2).flatten(0, 1)  # (B * T, D, h, w)
            merged = _normalise(norm, merged, _find_real(level, present))
            modulated.append(level._replace(features=visual + F.relu(merged)))
        return modulated


def _find_real(level: Level, present: Tensor | None) -> Tensor | None:
    """Tell which cells ``(B * T, h, w)`` are neither padding nor of an absent frame."""
    if present is None:
        return level.valid
    frames = present.flatten()[:, None, None]
    if level.valid is not None:
        return level.valid & frames
    return frames.expand(-1, *level.features.shape[-2:])


def _normalise(norm: nn.Module, features: Tensor, real: Tensor | None) -> Tensor:
    """Apply a batch norm to the real cells; the others become 0."""
    if real is None:
        return norm(features)
    if not norm.training:
        return norm(features) * real[:, None]
    cells = features.movedim(1, -1)  # (M, h, w, D)
    normed = norm(cells[real][..., None, None]).flatten(1)  # (number of real cells, D)
    return torch.zeros_like(cells).index_put((real,), normed).movedim(-1, 1)
