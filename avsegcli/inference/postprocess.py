"""Queries to one probability for each class and pixel."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from avsegcli.model.qsd import QSDOutput


def class_probs(
    output: QSDOutput,
    class_threshold: float,
    score_fusion: Sequence[float] = (1.0, 0.0, 0.0, 0.0),
) -> Tensor:
    """Merge the masks of all queries, so that 0.5 is where an object begins.

    A pixel belongs to a class as far as some query of that class covers it, times how surely the
    query is heard: its class score over `class_threshold`, half at the threshold and whole from
    twice the threshold on.

    A query may follow the sound and take what is merely conspicuous, or follow the picture and
    take what is silent. So four have a say: the decoder, in each query's class probability; the
    tokens, in the classes that the frame's quantized tokens hear; the sound, in those that the
    audio feature alone hears, also a frame earlier and later; and the picture, in how likely the
    class is at the pixel, compared to the likeliest one or the background. They are multiplied.

    Args:
        output: of the network, for B clips of T frames.
        class_threshold: class score from which a query can pass 0.5, in (0, 1).
        score_fusion: exponents of the scores of decoder, tokens, sound and picture; 0 leaves one
            out. The product of the first three is the class score.

    Returns:
        ``(B, T, L + 1, h, w)`` in [0, 1] at a quarter of the frame's resolution; index 0, the
        background, is 1 minus the largest of the others.

    Paper: Sec. 3.4; each mask is the content of one decomposed sound.
    """
    of_decoder, of_tokens, of_sound, of_picture = score_fusion
    scores = output.class_logits.float().sigmoid() ** of_decoder  # (B, T, Q, L)
    if of_tokens and output.token_logits:
        heard = output.token_logits[-1].float().sigmoid().amax(2)  # (B, T or 1, L)
        scores = scores * _suppress_non_maximum(heard)[:, :, None] ** of_tokens
    if of_sound:
        heard = _smooth(output.audio_logits.float()).sigmoid()
        scores = scores * _suppress_non_maximum(heard)[:, :, None] ** of_sound
    sure = (scores / (2 * class_threshold)).clamp(max=1.0)
    masks = output.mask_logits.float().sigmoid()
    # The largest product over queries, one query at a time: (B, T, L, Q, h, w) would be large.
    probs = masks.new_zeros((*sure.shape[:2], sure.shape[-1], *masks.shape[-2:]))
    for q in range(sure.shape[2]):
        probs = torch.maximum(probs, sure[:, :, q, :, None, None] * masks[:, :, q, None])
    if of_picture:
        probs = probs * _seen(output.visible_logits, masks.shape[-2:]) ** of_picture
    return torch.cat([1 - probs.amax(2, keepdim=True), probs], dim=2)


def _suppress_non_maximum(heard: Tensor) -> Tensor:
    """Lower probabilities ``(B, T, L)`` of classes beside one that is heard more surely.

    What is half as likely as the likeliest class counts ``0.5 ** 0.5`` of itself: an ear that knows
    what it hears should not let another class pass.
    """
    surest = heard.amax(2, keepdim=True).clamp(min=1e-6)
    return heard * (heard / surest) ** 0.5


def _smooth(logits: Tensor) -> Tensor:
    """Average ``(B, T, L)`` with the frames before and after: weights 1/4, 1/2, 1/4."""
    longer = torch.cat([logits[:, :1], logits, logits[:, -1:]], dim=1)
    return (longer[:, :-2] + 2 * logits + longer[:, 2:]) / 4


def _seen(logits: Tensor, size: torch.Size) -> Tensor:
    """Compare how likely each class is seen to what is likeliest, ``(B, T, L, h, w)`` in (0, 1]."""
    likely = logits.float().softmax(2).flatten(0, 1)
    likely = F.interpolate(likely, size=size, mode="bilinear").clamp(min=1e-6)
    relative = (likely / likely.amax(1, keepdim=True))[:, 1:]
    return relative.reshape(*logits.shape[:2], *relative.shape[1:])
