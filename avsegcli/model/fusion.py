"""Audio-visual cross-attention: what is heard looks at what is seen, Eq. 3."""

from torch import Tensor, nn

from avsegcli.model.layers import Attention, FeedForward


class Fusion(nn.Module):
    """Fuse the audio feature of every frame with the picture of every frame of the clip.

    Paper: Sec. 3.2, Eq. 3: ``A = LN(F_a + MCA(F_a, F_v))``, ``F'_a = LN(A + FFN(A))``.
    """

    def __init__(self, dim: int, num_heads: int, ffn_dim: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.attention = Attention(dim, num_heads, dropout)
        self.norm = nn.LayerNorm(dim)
        self.feed_forward = FeedForward(dim, ffn_dim, dropout)

    def forward(
        self, audio: Tensor, visual: Tensor, position: Tensor, valid: Tensor | None
    ) -> Tensor:
        """Fuse.

        Args:
            audio: F_a, ``(B, T, D)``.
            visual: F_v of one level, the tokens of all frames, ``(B, S, D)``.
            position: position encodings of the tokens, ``(B, S, D)``.
            valid: bool ``(B, S)``, True = real; None: all are.

        Returns:
            F'_a, ``(B, T, D)``.
        """
        attended = self.attention(audio, visual + position, visual, valid)
        return self.feed_forward(self.norm(audio + attended))
