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
    loss: Tensor  # (...,), of each token: Eq. 9 with the mean over channels


class Codebook(nn.Module):
    """Product quantization with one codebook of K vectors for all N tokens.

    The first term of Eq. 9 moves each code vector towards the tokens that chose it. We do this by
    an exponential moving average (van den Oord et al. 2017, appendix A.1), its optimum in closed
    form, which is the default for its steadiness: no learning rate of its own, and it does not
    share AdamW's momentum. `ema=False` gives the gradient form, which is then part of the loss.

    Tokens can only be quantized well once they mean something: with `warmup`, none are in the first
    steps of training (they go on as they are, while the codebook follows them), then more and more.

    A code that is hardly chosen any more is dead: it moves to a random token of the batch
    (SoundStream, Zeghidour et al. 2021, Sec. III-C). The first training batch fills the codebook.

    Paper: Sec. 3.2, Eq. 2 and Sec. 3.5, Eq. 9. Only global tokens may update the codebook.
    """

    code: Tensor
    count: Tensor
    chosen: Tensor
    total: Tensor
    filled: Tensor
    updates: Tensor

    def __init__(
        self,
        size: int,
        dim: int,
        *,
        ema: bool = True,
        decay: float = 0.98,
        beta: float = 0.25,
        warmup: tuple[int, int] = (0, 0),
    ) -> None:
        super().__init__()
        self.ema, self.decay, self.beta, self.warmup = ema, decay, beta, warmup
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
        if learns and not self.filled:
            self._fill(flat)
        with torch.autocast(flat.device.type, enabled=False):  # bf16 would take codes for equal
            code = self.vectors().float()
            # All code vectors have one length: the nearest has the largest product.
            indices = (flat @ code.detach().T).argmax(1)  # (M,)
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
        """Return the K code vectors, ``(K, D)``: mean 0 and variance 1 over D, like the tokens.

        A mean of many tokens is shorter than each of them, and a short vector is near to all: left
        as they are, a few such code vectors would win every token.
        """
        # Of a copy, since `_update` writes into the code before gradients pass through here.
        return F.layer_norm(self.code.clone(), self.code.shape[1:])

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
        """Count who was chosen, move the codes if by moving average, and revive the dead."""
        chosen = F.one_hot(indices, len(self.code)).to(flat.dtype)  # (M, K)
        count, total = chosen.sum(0), chosen.T @ flat
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(count)
            dist.all_reduce(total)
        self.updates += 1
        self.chosen.lerp_(count, 1 - self.decay)
        self.count.lerp_(count, 1 - self.decay)
        self.total.lerp_(total, 1 - self.decay)
        # Less than a tenth of what each code would get if all were chosen equally often.
        dead = self.count < 0.1 * self.count.mean()
        revived = self._pick(flat, len(self.code))
        mean_count = self.count.mean()
        self.total.copy_(torch.where(dead[:, None], revived * mean_count, self.total))
        self.count.copy_(torch.where(dead, mean_count, self.count))
        if self.ema:
            self.code.copy_(self.total / self.count.clamp(min=1e-5)[:, None])
        else:
            self.code.copy_(torch.where(dead[:, None], revived, self.code))
