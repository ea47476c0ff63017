"""The Hungarian assignment of a clip's queries to its sounding objects, Eq. 10."""

from typing import NamedTuple

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from avsegcli.config import LossConfig
from avsegcli.datasets.batch import Target
from avsegcli.model.mask_decoder import Predictions
from avsegcli.training.distances import box_distances, focal, mask_distances


class Match(NamedTuple):
    """P pairs of a query and an object, over all clips of a batch."""

    clip: Tensor  # (P,), int64
    query: Tensor  # (P,), int64
    object: Tensor  # (P,), int64, place in the target of that clip


@torch.no_grad()
def match(predictions: Predictions, targets: list[Target], weights: LossConfig) -> Match:
    """Assign to each object the query that explains it best over the frames where it sounds.

    A query keeps its object through the whole clip. Objects beyond the number of queries stay
    without one.

    Args:
        predictions: of one decoder layer, leading axes ``(B, T)``.
        targets: one a clip.
        weights: of the costs; the same as of the losses.
    """
    pairs: list[tuple[int, int, int]] = []
    for b, target in enumerate(targets):
        if not len(target.labels):
            continue
        cost = _cost(Predictions(*(x[b].float() for x in predictions)), target, weights)
        # SciPy refuses what is not finite; the loss will show it, where the trainer can say more.
        rows, columns = linear_sum_assignment(cost.nan_to_num().cpu().numpy())
        pairs += [(b, int(q), int(m)) for q, m in zip(rows, columns, strict=True)]
    table = torch.tensor(pairs, dtype=torch.int64, device=predictions.boxes.device).view(-1, 3)
    return Match(*table.unbind(1))


def _cost(predictions: Predictions, target: Target, weights: LossConfig) -> Tensor:
    """Compute ``(Q, M)`` for one clip: the mean over the frames in which each object is active."""
    columns = []
    for m, label in enumerate(target.labels):
        t = target.active[m].nonzero()[:, 0]  # (A,)
        logits = predictions.class_logits[t, :, label]  # (A, Q)
        cost = weights.classes * (
            focal(logits, torch.ones_like(logits)) - focal(logits, torch.zeros_like(logits))
        )
        masks, known = target.masks[m, t, None], target.known[t, None]  # (A, 1, h, w)
        entropy, dice = mask_distances(predictions.mask_logits[t], masks, known)
        l1, giou = box_distances(predictions.boxes[t], target.boxes[m, t, None])
        cost = cost + weights.mask * entropy + weights.dice * dice
        cost = cost + weights.box * l1 + weights.giou * giou
        columns.append(cost.mean(0))
    return torch.stack(columns, dim=1)
