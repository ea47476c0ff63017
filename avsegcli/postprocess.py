"""Queries to one probability for each class and pixel."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from avsegcli.model.qsd import QSDOutput


def class_probs(
    output: QSDOutput, class_threshold: float = 0.5, agreement: Sequence[float] = (1.0, 0.0, 0.0)
) -> Tensor:
    """Merge the masks of all queries, so that 0.5 is where an object begins.

    A pixel belongs to a class as far as some query of that class covers it, times how surely the
    query is heard: its class score over `class_threshold`, half at the threshold and whole from
    twice the threshold on.

    Args:
        output: of the network, for B clips of T frames.
        class_threshold: class score from which a query can pass 0.5, in (0, 1).
        agreement: exponents of the three factors of the class score, see `class_scores`.

    Returns:
        ``(B, T, L + 1, h, w)`` in [0, 1] at a quarter of the frame's resolution; index 0, the
        background, is 1 minus the largest of the others.

    Paper: Sec. 3.4; each mask is the content of one decomposed sound.
    """
    masks = output.mask_logits.float().sigmoid()
    sure = (class_scores(output, masks, agreement) / (2 * class_threshold)).clamp(max=1.0)
    # The largest product over queries, one query at a time: (B, T, L, Q, h, w) would be large.
    probs = masks.new_zeros((*sure.shape[:2], sure.shape[-1], *masks.shape[-2:]))
    for q in range(sure.shape[2]):
        probs = torch.maximum(probs, sure[:, :, q, :, None, None] * masks[:, :, q, None])
    return torch.cat([1 - probs.amax(2, keepdim=True), probs], dim=2)


def class_scores(output: QSDOutput, masks: Tensor, agreement: Sequence[float]) -> Tensor:
    """Weigh what decoder, tokens and picture say of the class of each query.

    A query may follow the sound and take what is merely conspicuous, or follow the picture and
    take what is silent. Its class should be what the decoder says, what the quantized tokens of the
    frame heard, and what is seen where its mask lies: a product of the three.

    Args:
        output: of the network.
        masks: its mask probabilities, ``(B, T, Q, h, w)``.
        agreement: exponents of the three factors; 0 leaves one out.

    Returns:
        ``(B, T, Q, L)`` in [0, 1].
    """
    of_decoder, of_tokens, of_picture = agreement
    scores = output.class_logits.float().sigmoid() ** of_decoder
    if of_tokens and output.token_logits:
        heard = output.token_logits[-1].float().sigmoid().amax(2)  # (B, T or 1, L)
        scores = scores * heard[:, :, None] ** of_tokens
    if of_picture:
        seen = output.visible_logits.float().softmax(2)[:, :, 1:]  # (B, T, L, y, x)
        cells = F.adaptive_avg_pool2d(masks.flatten(0, 1), seen.shape[-2:]).square()
        cells = cells.unflatten(0, masks.shape[:2])  # (B, T, Q, y, x)
        share = torch.einsum("btqyx,btlyx->btql", cells, seen)
        share = share / (cells.sum((-2, -1))[..., None] + 1e-3)
        scores = scores * share.clamp(min=1e-6) ** of_picture
    return scores
