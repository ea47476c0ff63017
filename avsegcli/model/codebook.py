"""The codebook that global and local semantic tokens share, Eq. 2 and 9."""

from typing import NamedTuple

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn


class Quantized(NamedTuple):
    """Tokens replaced by their nearest code vectors."""

    vectors: Tensor  # same shape as the tokens; gradients pass straight through to them
    indices: Tensor  # shape without the last axis, int64 in [0, K)
    loss: Tensor  # (...,), of each token: Eq. 9, squared distances as means over the D channels


class Codebook(nn.Module):
    """Product quantization with one codebook of K vectors for all N tokens.

    The first term of Eq. 9 moves each code vector towards the tokens that chose it: by its
    gradient, as the paper and R2-VOS do, or with `ema` by an exponential moving average (van den
    Oord et al. 2017, appendix A.1), its optimum in closed form, which needs no learning rate and
    does not share AdamW's momentum. Squared distances are means over the D channels, as in most
    implementations; sums would weigh the loss D times as much.

    Paper: Sec. 3.2, Eq. 2 and Sec. 3.5, Eq. 9. Only global tokens may update the codebook. The
    other arguments are not the paper's; as they are by default, they do nothing.

    Args:
        size: K.
        dim: D.
        ema: move codes by moving average instead of by gradient.
        decay: of the moving average, and of the usage that is reported.
        beta: weight of the second and third term of Eq. 9.
        norm: give code vectors mean 0 and variance 1 over D, like the tokens. Of many different
            tokens the mean is shorter than each of them, and as a short vector it is near to all:
            a few codes would win every token.
        fill: let tokens of the first training batch be the first codes.
        revival: steps after which a code that no token chose moves to a random token of the batch
            (SoundStream, Zeghidour et al. 2021, Sec. III-C); 0: never. It should be many times the
            steps between two clips of the rarest class, or that class loses its code.
        warmup: the steps up to which no token is quantized, and from which on all are: before they
            mean something, they go on as they are, and the codebook follows them.
    """

    code: Tensor
    count: Tensor
    chosen: Tensor
    idle: Tensor
    total: Tensor
    filled: Tensor
    updates: Tensor

    def __init__(
        self,
        size: int,
        dim: int,
        *,
        ema: bool = False,
        decay: float = 0.98,
        beta: float = 0.25,
        norm: bool = False,
        fill: bool = False,
        revival: int = 0,
        warmup: tuple[int, int] = (0, 0),
    ) -> None:
        super().__init__()
        self.ema, self.decay, self.beta, self.warmup = ema, decay, beta, warmup
        self.norm, self.fill, self.revival = norm, fill, revival
        code = torch.randn(size, dim)
        if ema:
            self.register_buffer("code", code)
        else:
            self.code = nn.Parameter(code)
        # Moving number of tokens a batch; a revived code starts with the mean of all.
        self.register_buffer("count", torch.ones(size))
        self.register_buffer("total", code.clone())  # moving sum of these tokens
        self.register_buffer("filled", torch.tensor(False))
        self.register_buffer("updates", torch.tensor(0))
        # The same, but from 0 and without this start: what is reported.
        self.register_buffer("chosen", torch.zeros(size), persistent=False)
        # Steps since each code was chosen.
        self.register_buffer("idle", torch.zeros(size, dtype=torch.int64), persistent=False)

    def forward(self, tokens: Tensor, *, update: bool) -> Quantized:
        """Replace each token by its nearest code vector in the L2 sense.

        Args:
            tokens: ``(..., D)``.
            update: whether these tokens move the codebook while training: the global ones do,
                the local ones do not.

        Raises:
            ValueError: if the last axis is not D.

        Example:
            >>> quantized = Codebook(size=8, dim=4).eval()(torch.zeros(2, 3, 4), update=False)
            >>> quantized.vectors.shape, quantized.indices.shape
            (torch.Size([2, 3, 4]), torch.Size([2, 3]))
        """
        if tokens.shape[-1] != self.code.shape[1]:
            raise ValueError(f"tokens of {tokens.shape[-1]} channels, code of {self.code.shape[1]}")
        flat = tokens.detach().float().flatten(0, -2)  # (M, D)
        learns = self.training and update
        if learns and self.fill and not self.filled:
            self._fill(flat)
        with torch.autocast(flat.device.type, enabled=False):  # bf16 would take codes for equal
            code = self.vectors().float()
            # |t - c|^2 = |t|^2 - 2 (t c - |c|^2 / 2), of which the first is the same for all codes.
            closeness = flat @ code.detach().T - code.detach().square().sum(1) / 2
            indices = closeness.argmax(1)  # (M,)
            nearest = code[indices].view(tokens.shape)
            share = self._quantized_share()
            loss = share * self.beta * (tokens - nearest.detach()).square().mean(-1)
            if learns and not self.ema:
                loss = loss + (nearest - tokens.detach()).square().mean(-1)
            if learns:
                self._update(flat, indices)
        step = nearest.detach() - tokens.detach()
        if share < 1:
            step = step * (torch.rand_like(step[..., :1]) < share)
        vectors = tokens + step.to(tokens.dtype)
        return Quantized(vectors, indices.view(tokens.shape[:-1]), loss)

    def _quantized_share(self) -> float:
        """Say which share of the tokens is quantized at this step of training."""
        first, last = self.warmup
        if not self.training or last <= first:
            return 1.0
        return min(1.0, max(0.0, (self.updates.item() - first) / (last - first)))

    def vectors(self) -> Tensor:
        """Return the K code vectors, ``(K, D)``; with `norm` of mean 0 and variance 1 over D."""
        # A copy, since `_update` writes into the code before gradients pass through here.
        code = self.code.clone()
        return F.layer_norm(code, code.shape[1:]) if self.norm else code

    def perplexity(self) -> Tensor:
        """Compute exp(entropy) of the moving usage: 1 if one code is used, K if all equally.

        Like `usage`, of what was lately chosen in training; checkpoints do not say.
        """
        share = self.chosen / self.chosen.sum().clamp(min=1e-10)
        return torch.exp(-(share * (share + 1e-10).log()).sum())

    def usage(self) -> Tensor:
        """Compute the share of codes that tokens chose, not counting the hardly chosen, in 0..1."""
        return (self.chosen > 0.1 * self.chosen.mean()).float().mean()

    @torch.no_grad()
    def _pick(self, flat: Tensor, number: int) -> Tensor:
        """Draw tokens at random, a little disturbed so that no two codes are the same."""
        several = dist.is_available() and dist.is_initialized()
        if several:
            shares = [torch.empty_like(flat) for _ in range(dist.get_world_size())]
            dist.all_gather(shares, flat.contiguous())
            flat = torch.cat(shares)
        picked = flat[torch.randint(len(flat), (number,), device=flat.device)]
        picked = picked + 0.01 * torch.randn_like(picked)
        if several:
            dist.broadcast(picked, src=0)
        return picked

    @torch.no_grad()
    def _fill(self, flat: Tensor) -> None:
        code = self._pick(flat, len(self.code))
        self.code.copy_(code)
        self.total.copy_(code)
        self.filled.fill_(True)

    @torch.no_grad()
    def _update(self, flat: Tensor, indices: Tensor) -> None:
        """Count which codes were chosen, move them if by moving average, and revive idle ones."""
        chosen = F.one_hot(indices, len(self.code)).to(flat.dtype)  # (M, K)
        count, total = chosen.sum(0), chosen.T @ flat
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(count)
            dist.all_reduce(total)
        self.updates += 1
        self.chosen.lerp_(count, 1 - self.decay)
        self.count.lerp_(count, 1 - self.decay)
        self.total.lerp_(total, 1 - self.decay)
        self.idle.copy_(torch.where(count > 0, 0, self.idle + 1))
        if self.revival:
            self._revive(flat, self.idle >= self.revival)
        if self.ema:
            self.code.copy_(self.total / self.count.clamp(min=1e-5)[:, None])

    @torch.no_grad()
    def _revive(self, flat: Tensor, dead: Tensor) -> None:
        """Move codes, bool ``(K,)``, to tokens of the batch."""
        revived = self._pick(flat, len(self.code))
        mean_count = self.count.mean()
        self.total.copy_(torch.where(dead[:, None], revived * mean_count, self.total))
        self.count.copy_(torch.where(dead, mean_count, self.count))
        self.code.copy_(torch.where(dead[:, None], revived, self.code))
        self.idle.masked_fill_(dead, 0)
