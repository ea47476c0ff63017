"""Queries to one probability for each class and pixel."""

import torch
from torch import Tensor

from avsegcli.model.qsd import QSDOutput


def class_probs(output: QSDOutput, class_threshold: float = 0.5) -> Tensor:
    """Merge the masks of all queries, so that 0.5 is where an object begins.

    A pixel belongs to a class as far as some query of that class covers it, times how surely the
    query is heard: its class probability over `class_threshold`, half at the threshold and whole
    from twice the threshold on.

    Args:
        output: of the network, for B clips of T frames.
        class_threshold: class probability from which a query can pass 0.5, in (0, 1).

    Returns:
        ``(B, T, L + 1, h, w)`` in [0, 1] at a quarter of the frame's resolution; index 0, the
        background, is 1 minus the largest of the others.

    Paper: Sec. 3.4; each mask is the content of one decomposed sound.
    """
    sure = (output.class_logits.float().sigmoid() / (2 * class_threshold)).clamp(max=1.0)
    masks = output.mask_logits.float().sigmoid()
    # The largest product over queries, one query at a time: (B, T, L, Q, h, w) would be large.
    probs = masks.new_zeros((*sure.shape[:2], sure.shape[-1], *masks.shape[-2:]))
    for q in range(sure.shape[2]):
        product = sure[:, :, q, :, None, None] * masks[:, :, q, None]
        probs = torch.maximum(probs, product)
    return torch.cat([1 - probs.amax(2, keepdim=True), probs], dim=2)
