"""Audio semantic decomposition: prototypes pick single-source semantics out of a mixture."""

import torch
from torch import Tensor, nn

from avsegcli.model.layers import QueryLayer


class SemanticDecoder(nn.Module):
    """Decode N semantic tokens from audio features; one each for the global and the local stage.

    The prototypes are learned queries. The tokens leave through a LayerNorm, so that the codebook
    meets vectors of one length.

    Paper: Sec. 3.3, Eq. 4 (global: the memory is the clip) and Sec. 3.4, Eq. 6 (local: the memory
    is one frame). Both read F'_a, the audio feature fused with the frames: local tokens are
    quantized with the codebook of the global ones, so both should come from the same space.
    """

    def __init__(
        self,
        dim: int,
        num_tokens: int,
        num_layers: int,
        num_heads: int,
        ffn_dim: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.prototypes = nn.Parameter(torch.randn(num_tokens, dim))
        self.positions = nn.Parameter(torch.randn(num_tokens, dim))
        self.layers = nn.ModuleList(
            QueryLayer(dim, num_heads, ffn_dim, dropout) for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(dim, elementwise_affine=False)

    def forward(self, audio: Tensor, valid: Tensor | None = None) -> Tensor:
        """Decompose fused audio features.

        Args:
            audio: F'_a, ``(M, S, D)``: M memories of S frames each.
            valid: bool ``(M, S)``, True = real; None: all are.

        Returns:
            Semantic tokens, ``(M, N, D)``.
        """
        tokens = self.prototypes.expand(audio.shape[0], -1, -1)
        for layer in self.layers:
            tokens = layer(tokens, self.positions, audio, valid=valid)
        return self.norm(tokens)
