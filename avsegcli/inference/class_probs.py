"""Queries to one probability for each class and pixel."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from avsegcli.model.qsd import QSDOutput

UNHEARD = 0.1  # prior of a visible class that is not heard
QUIET = 0.03  # class score of a sound; a louder likeliest class counts as surely heard


def class_probs(
    output: QSDOutput,
    class_threshold: float,
    score_fusion: Sequence[float] = (1.0, 0.0, 0.0, 0.0, 0.0),
    visible_share: float = 0.0,
) -> Tensor:
    """Merge the masks of all queries, so that 0.5 is where an object begins.

    A pixel belongs to a class as far as some query of that class covers it, times how surely the
    query sounds: its class score over `class_threshold`, half at the threshold and whole from
    twice the threshold on.

    A query may follow the sound and take a salient but silent object, or follow the picture and
    take what is silent. So five sources have a say: the decoder, by each query's class probability;
    the tokens, by the classes of the frame's quantized tokens; the audio classifier and AudioSet's
    tags, by the classes in the sound alone, also a frame earlier and later; and the picture, by how
    likely the class is at the pixel, compared to the likeliest one or the background. They are
    multiplied. The queries can share their say of where an object is with the picture alone.

    Args:
        output: of the network, for B clips of T frames.
        class_threshold: class score from which a query can pass 0.5, in (0, 1).
        score_fusion: exponents of decoder, tokens, audio classifier, picture and tags; 0 leaves one
            out. All but the picture make the class score.
        visible_share: weight of the picture alone as a mask, in [0, 1]; the queries have the rest.

    Returns:
        ``(B, T, L + 1, h, w)`` in [0, 1] at a quarter of the frame's resolution; index 0, the
        background, is 1 minus the largest of the others.

    Paper: Sec. 3.4; each mask is the content of one decomposed sound.
    """
    of_decoder, of_tokens, of_audio, of_picture, of_tags = (*score_fusion, 0.0)[:5]
    heard = output.audio_logits.new_ones(output.audio_logits.shape, dtype=torch.float32)
    if of_tokens and output.token_logits:
        tokens = output.token_logits[-1].float().sigmoid().amax(2)  # (B, T or 1, L)
        heard = heard * _suppress_non_maximum(tokens) ** of_tokens
    if of_audio:
        audio = _smooth(output.audio_logits.float()).sigmoid()
        heard = heard * _suppress_non_maximum(audio) ** of_audio
    if of_tags and output.tag_probs is not None:
        heard = heard * _suppress_non_maximum(_smooth(output.tag_probs.float())) ** of_tags
    scores = output.class_logits.float().sigmoid() ** of_decoder * heard[:, :, None]
    sure = (scores / (2 * class_threshold)).clamp(max=1.0)
    masks = output.mask_logits.float().sigmoid()
    # The largest product over queries, one query at a time: (B, T, L, Q, h, w) would be large.
    probs = masks.new_zeros((*sure.shape[:2], sure.shape[-1], *masks.shape[-2:]))
    for q in range(sure.shape[2]):
        probs = torch.maximum(probs, sure[:, :, q, :, None, None] * masks[:, :, q, None])
    if of_picture or visible_share:
        # The same score without the decoder, whose exponent the others take over.
        alone = heard ** (1 / max(of_tokens + of_audio + of_tags, 1e-6))
        alone = alone / alone.amax(2, keepdim=True).clamp(min=QUIET)
        alone = (alone / (2 * class_threshold)).clamp(max=1.0)
        likely = _likely(output.visible_logits, alone, masks.shape[-2:])
        probs = probs * _relative(likely)[:, :, 1:] ** of_picture
        if visible_share:
            pictured = alone[..., None, None] * likely[:, :, 1:]
            probs = (1 - visible_share) * probs + visible_share * pictured
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


def _likely(logits: Tensor, alone: Tensor, size: torch.Size) -> Tensor:
    """Compute how likely each class is visible given the sound, ``(B, T, L + 1, h, w)``.

    A class that is not heard can be visible too, but a barking dog that looks a little like a cat
    is rather the dog: the prior of a class is between `UNHEARD` and 1, that of the background 1.

    Args:
        logits: of the visible head, ``(B, T, L + 1, h', w')``.
        alone: class scores of the sound, ``(B, T, L)`` in [0, 1].
        size: h and w.
    """
    likely = F.interpolate(logits.float().flatten(0, 1), size=size, mode="bilinear").softmax(1)
    likely = likely.reshape(*logits.shape[:2], *likely.shape[1:])
    prior = torch.cat([torch.ones_like(alone[..., :1]), UNHEARD + (1 - UNHEARD) * alone], dim=-1)
    likely = likely * prior[..., None, None]
    return likely / likely.sum(2, keepdim=True)


def _relative(likely: Tensor) -> Tensor:
    """Compare how likely each class is to the likeliest, in (0, 1]."""
    likely = likely.clamp(min=1e-6)
    return likely / likely.amax(2, keepdim=True)
