"""Distances between predictions and ground truth, shared by matcher and losses."""

import torch
import torch.nn.functional as F
from torch import Tensor


def focal(logits: Tensor, target: Tensor, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """Compute the focal loss (Lin et al. 2017) of each element, without any reduction."""
    entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    probs = logits.sigmoid()
    wrong = probs + target - 2 * probs * target  # 1 - p_t
    return (alpha * target + (1 - alpha) * (1 - target)) * entropy * wrong**gamma


def mask_distances(logits: Tensor, masks: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Compare masks; the shapes need only broadcast.

    Args:
        logits: ``(..., h, w)``.
        masks: share of each cell that is covered, in [0, 1], ``(..., h, w)``.
        known: share of each cell that counts, in [0, 1], ``(..., h, w)``.

    Returns:
        Binary cross-entropy, mean over what is known, and Dice distance in [0, 1], ``(...)`` each.
    """
    logits, masks, known = torch.broadcast_tensors(logits, masks, known)
    entropy = F.binary_cross_entropy_with_logits(logits, masks, reduction="none") * known
    probs = logits.sigmoid() * known
    overlap = (probs * masks).sum((-2, -1))
    total = probs.sum((-2, -1)) + (masks * known).sum((-2, -1))
    mean_entropy = entropy.sum((-2, -1)) / known.sum((-2, -1)).clamp(min=1.0)
    return mean_entropy, 1 - (2 * overlap + 1) / (total + 1)


def box_distances(boxes: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Compare boxes (cx, cy, w, h); the shapes ``(..., 4)`` need only broadcast.

    Returns:
        L1 distance, summed over the four, and 1 - generalized IoU in [0, 2], ``(...)`` each.
    """
    boxes, targets = torch.broadcast_tensors(boxes, targets)
    low, high = boxes[..., :2] - boxes[..., 2:] / 2, boxes[..., :2] + boxes[..., 2:] / 2
    target_low = targets[..., :2] - targets[..., 2:] / 2
    target_high = targets[..., :2] + targets[..., 2:] / 2
    shared = (torch.minimum(high, target_high) - torch.maximum(low, target_low)).clamp(min=0)
    hull = torch.maximum(high, target_high) - torch.minimum(low, target_low)
    intersection, enclosing = shared.prod(-1), hull.prod(-1).clamp(min=1e-6)
    union = (boxes[..., 2:].prod(-1) + targets[..., 2:].prod(-1) - intersection).clamp(min=1e-6)
    giou = intersection / union - (enclosing - union) / enclosing
    return (boxes - targets).abs().sum(-1), 1 - giou
