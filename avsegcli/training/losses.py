"""The losses of the paper, Eq. 8-10, and three of ours that composed clips allow."""

import torch
import torch.nn.functional as F
from torch import Tensor

from avsegcli.config import LossConfig
from avsegcli.datasets.clip import IGNORE
from avsegcli.datasets.collate import Batch
from avsegcli.model.mask_decoder import Predictions
from avsegcli.model.qsd import QSDOutput
from avsegcli.training.ddp import mean_over_processes
from avsegcli.training.distances import box_distances, focal, mask_distances
from avsegcli.training.matcher import NO_QUERY, match


def segmentation_losses(
    predictions: Predictions, batch: Batch, queries: Tensor, weights: LossConfig
) -> dict[str, Tensor]:
    """Compute the terms of Eq. 10 for one decoder layer.

    A matched query should say its object's class, box and mask where the object sounds; elsewhere,
    and for queries without an object, no class. Frames without annotation take no part.

    Args:
        predictions: leading axes ``(B, T)``.
        batch: the truth.
        queries: which one each object has, as `match` says of these predictions.
        weights: of the terms.

    Returns:
        Weighted terms, each a mean over the (object, frame) pairs of the batch; of several
        processes, over those that each of them has on average.
    """
    objects = batch.objects
    o, t = (objects.active & (queries != NO_QUERY)[:, None]).nonzero(as_tuple=True)  # P pairs
    places = torch.stack([o, t, objects.clip[o], queries[o], objects.labels[o]])
    o, t, b, q, label = places.to(predictions.boxes.device)
    class_logits = predictions.class_logits.float()
    class_target = torch.zeros_like(class_logits)
    class_target[b, t, q, label] = 1.0
    count = mean_over_processes(class_target.sum()).clamp(min=1.0)
    loss_classes = focal(class_logits, class_target).sum((2, 3)) * batch.annotated
    entropy, dice = mask_distances(
        predictions.mask_logits[b, t, q].float(), objects.masks[o, t], batch.known[b, t]
    )
    l1, giou = box_distances(predictions.boxes[b, t, q].float(), objects.boxes[o, t])
    return {
        "loss_classes": weights.classes * loss_classes.sum() / count,
        "loss_mask": weights.mask * entropy.sum() / count,
        "loss_dice": weights.dice * dice.sum() / count,
        "loss_box": weights.box * l1.sum() / count,
        "loss_giou": weights.giou * giou.sum() / count,
    }


def audio_class_loss(logits: Tensor, heard: Tensor) -> Tensor:
    """Compute the cross-entropy of the classes heard, summed over classes, mean over frames.

    Ours, not the paper's: composed clips know every class in the sound, seen or not.

    Args:
        logits: ``(B, T, L)``.
        heard: 1 heard, 0 not, -1 unknown, ``(B, T, L)``.
    """
    known = (heard >= 0).to(logits.dtype)
    entropy = F.binary_cross_entropy_with_logits(logits, heard.clamp(min=0), reduction="none")
    count = mean_over_processes(known.amax(-1).sum()).clamp(min=1.0)
    return (entropy * known).sum() / count


def token_loss(logits: Tensor, heard: Tensor) -> Tensor:
    """Compute `audio_class_loss` of the semantic tokens; each class takes its most probable token.

    Ours, not the paper's: it makes each quantized token the semantics of one source.

    Args:
        logits: ``(B, S, N, L)``; S = T for the tokens of frames, 1 for those of clips, which hold
            what is heard in any frame.
        heard: 1 heard, 0 not, -1 unknown, ``(B, T, L)``.
    """
    if logits.shape[1] != heard.shape[1]:
        heard = heard.amax(1, keepdim=True)
    return audio_class_loss(logits.amax(2), heard)


def visible_loss(logits: Tensor, visible: Tensor) -> Tensor:
    """Compute the cross-entropy of the classes seen in each cell, whether they sound or not.

    Ours, not the paper's: composed clips know every object in the picture. A class counts by the
    square root of its area in the frame, so that a flute is not lost beside a wall.

    Args:
        logits: ``(B, T, L + 1, h, w)``.
        visible: class index at stride 4, 255 unknown, uint8 ``(B, T, H / 4, W / 4)``.
    """
    num_classes, height, width = logits.shape[2:]
    # Labels of the cells that each logit covers, (M, cells, h, w).
    labels = F.unfold(
        visible.flatten(0, 1)[:, None].to(logits.dtype),
        kernel_size=(visible.shape[2] // height, visible.shape[3] // width),
        stride=(visible.shape[2] // height, visible.shape[3] // width),
    ).unflatten(-1, (height, width))
    labels = labels.long()
    known = labels != IGNORE
    shares = logits.new_zeros((len(labels), num_classes, height, width))
    shares.scatter_add_(1, labels * known, known.to(logits.dtype) / labels.shape[1])
    area = shares.sum((2, 3), keepdim=True)  # in cells
    weights = shares * area.clamp(min=1.0) ** -0.5
    entropy = -(weights * logits.flatten(0, 1).log_softmax(1)).sum()
    return entropy / mean_over_processes(weights.sum()).clamp(min=1e-6)


def qsd_losses(output: QSDOutput, batch: Batch, weights: LossConfig) -> dict[str, Tensor]:
    """Compute every term of the training loss; their sum is minimized, Eq. 8.

    Returns:
        Weighted terms by name; those of earlier decoder layers end in their number.
    """
    final = Predictions(output.mask_logits, output.class_logits, output.boxes)
    clips = output.boxes.shape[:2]

    def segmentation(predictions: Predictions) -> dict[str, Tensor]:
        queries = match(predictions, batch.objects, batch.known, weights)
        return segmentation_losses(predictions, batch, queries, weights)

    terms = segmentation(final)
    if weights.auxiliary:
        for number, layer in enumerate(output.auxiliary):
            earlier = Predictions(*(x.unflatten(0, clips) for x in layer))
            for name, value in segmentation(earlier).items():
                terms[f"{name}_{number}"] = value
    terms["loss_quantization"] = weights.quantization * output.loss_commit
    if weights.audio:
        terms["loss_audio"] = weights.audio * audio_class_loss(
            output.audio_logits.float(), batch.heard
        )
    if weights.tokens:
        for scope, logits in zip(("clip", "frame"), output.token_logits, strict=False):
            token = token_loss(logits.float(), batch.heard)
            terms[f"loss_tokens_{scope}"] = weights.tokens * token
    if weights.visible:
        visible = visible_loss(output.visible_logits.float(), batch.visible)
        terms["loss_visible"] = weights.visible * visible
    return terms
