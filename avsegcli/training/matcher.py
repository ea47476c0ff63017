"""The Hungarian assignment of a clip's queries to its sounding objects, Eq. 10."""

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from avsegcli.config import LossConfig
from avsegcli.datasets.collate import Objects
from avsegcli.model.mask_decoder import Predictions
from avsegcli.training.distances import box_distances, focal, mask_distances

NO_QUERY = -1


@torch.no_grad()
def match(predictions: Predictions, objects: Objects, known: Tensor, weights: LossConfig) -> Tensor:
    """Assign to each object the query that explains it best over the frames where it sounds.

    A query keeps its object through the whole clip. Objects beyond the number of queries stay
    without one. The costs of all clips are computed at once and cross to the host once.

    Args:
        predictions: of one decoder layer, leading axes ``(B, T)``.
        objects: of the batch.
        known: share of each cell whose label is known, ``(B, T, h, w)``.
        weights: of the costs; the same as of the losses.

    Returns:
        For each object its query or `NO_QUERY`, int64 ``(O,)``, on the host.
    """
    query = torch.full(objects.clip.shape, NO_QUERY)
    # SciPy refuses what is not finite; the loss will show it, where the trainer can say more.
    costs = _costs(predictions, objects, known, weights).nan_to_num().cpu()
    for clip in objects.clip.unique():
        here = (objects.clip == clip).nonzero()[:, 0]
        rows, columns = linear_sum_assignment(costs[here].numpy())
        query[here[torch.from_numpy(rows)]] = torch.from_numpy(columns)
    return query


def _costs(
    predictions: Predictions, objects: Objects, known: Tensor, weights: LossConfig
) -> Tensor:
    """Compute ``(O, Q)``: the mean over the frames in which each object is active."""
    device = predictions.boxes.device
    o, t = objects.active.nonzero(as_tuple=True)  # P pairs of an object and a frame
    b, label = objects.clip[o], objects.labels[o]
    share = 1 / objects.active.sum(1)[o]
    o, t, b, label, share = (x.to(device) for x in (o, t, b, label, share))
    logits = predictions.class_logits[b, t, :, label].float()  # (P, Q)
    cost = weights.classes * (
        focal(logits, torch.ones_like(logits)) - focal(logits, torch.zeros_like(logits))
    )
    entropy, dice = mask_distances(
        predictions.mask_logits[b, t].float(), objects.masks[o, t, None], known[b, t, None]
    )
    l1, giou = box_distances(predictions.boxes[b, t].float(), objects.boxes[o, t, None])
    cost = cost + weights.mask * entropy + weights.dice * dice
    cost = cost + weights.box * l1 + weights.giou * giou
    costs = cost.new_zeros(len(objects.clip), cost.shape[1])
    return costs.index_add_(0, o, cost * share[:, None])
