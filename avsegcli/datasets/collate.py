"""Clips to the tensors of one training step."""

from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avsegcli.datasets.clip import IGNORE, Clip
from avsegcli.datasets.transforms import Convention, log_mel_of
from avsegcli.inference.preprocess import (
    CELL,
    fit_frame,
    frame_size,
    normalise,
    pad_to_stride,
    resize_labels,
)


class Target(NamedTuple):
    """Ground truth of one clip: M objects, each the union of one class."""

    labels: Tensor  # (M,), int64 in [0, L): class index without background
    masks: Tensor  # (M, T, h, w), share of the known part of each cell that it covers, at stride 4
    boxes: Tensor  # (M, T, 4): cx, cy, w, h in 0..1 of the padded frame; 0 where not active
    active: Tensor  # bool (M, T), whether the object sounds and is seen in the frame
    known: Tensor  # (T, h, w), share of each cell whose label is known
    annotated: Tensor  # bool (T,)


class Sample(NamedTuple):
    """One clip, ready for the network."""

    frames: Tensor  # (T, 3, H, W), normalised, padded to a multiple of 32
    log_mel: Tensor  # (T, 1, 96, 64)
    valid: Tensor  # bool (H, W), True = real
    target: Target
    heard: Tensor  # (T, L), 1 where a class is heard, -1 where nobody knows
    visible: Tensor  # uint8 (T, h, w), class index of what is seen at stride 4; 255 unknown
    imagined: Tensor  # bool (T, L), heard classes whose sound is not in `log_mel`


class Objects(NamedTuple):
    """Ground truth of a batch: the O objects of its clips, one clip after the other.

    What says which and when (`clip`, `labels`, `active`) stays on the host, where the matcher
    reads it; masks and boxes go where the network is.
    """

    clip: Tensor  # (O,), int64, place in the batch
    labels: Tensor  # (O,), int64 in [0, L)
    active: Tensor  # bool (O, T)
    masks: Tensor  # (O, T, h, w)
    boxes: Tensor  # (O, T, 4)

    @classmethod
    def of(cls, targets: list[Target]) -> "Objects":
        """Join those of clips of one length and size."""
        counts = torch.tensor([len(target.labels) for target in targets])
        return cls(
            clip=torch.arange(len(targets)).repeat_interleave(counts),
            labels=torch.cat([target.labels for target in targets]),
            active=torch.cat([target.active for target in targets]),
            masks=torch.cat([target.masks for target in targets]),
            boxes=torch.cat([target.boxes for target in targets]),
        )


class Batch(NamedTuple):
    """B clips of T frames.

    Smaller frames are padded at the right and below; shorter clips are filled up with their last
    frame, of which nothing is known. `valid` and `present` are None if nothing is.
    """

    frames: Tensor  # (B, T, 3, H, W)
    log_mel: Tensor  # (B, T, 1, 96, 64)
    valid: Tensor | None  # bool (B, H, W)
    objects: Objects
    known: Tensor  # (B, T, h, w)
    annotated: Tensor  # bool (B, T)
    heard: Tensor  # (B, T, L)
    visible: Tensor  # uint8 (B, T, h, w)
    imagined: Tensor  # bool (B, T, L)
    present: Tensor | None = None  # bool (B, T), False: fills a shorter clip
    # The backbone's C2..C5 of the frames, (B * T, C, h, w) each, where they are known; `frames`
    # then has no channels.
    features: list[Tensor] | None = None

    def to(self, device: torch.device) -> "Batch":
        """Move everything to a device but for what `Objects` keeps on the host."""

        def move(x: Tensor) -> Tensor:
            return x.to(device, non_blocking=True)

        return Batch(
            frames=move(self.frames),
            log_mel=move(self.log_mel),
            valid=None if self.valid is None else move(self.valid),
            objects=self.objects._replace(
                masks=move(self.objects.masks), boxes=move(self.objects.boxes)
            ),
            known=move(self.known),
            annotated=move(self.annotated),
            heard=move(self.heard),
            visible=move(self.visible),
            imagined=move(self.imagined),
            present=None if self.present is None else move(self.present),
            features=None if self.features is None else [move(x) for x in self.features],
        )


def make_sample(
    clip: Clip, num_classes: int, size: int, convention: Convention = "aligned"
) -> Sample:
    """Prepare a clip for the network.

    Args:
        clip: T frames of any one size.
        num_classes: L, classes without background.
        size: longest side of the frames that the network sees, pixels.
        convention: how log-mel examples are made of the sound.

    Raises:
        DataError: if they are to be read from a file, which is missing or damaged.
    """
    height, width = frame_size(clip.frames.shape[1:3], size)
    frames = pad_to_stride(
        np.stack([normalise(fit_frame(frame, (height, width))) for frame in clip.frames])
    )  # (T, H, W, 3)
    padded = frames.shape[1:3]
    valid = np.zeros(padded, bool)
    valid[:height, :width] = True

    labels = np.stack([_pad_labels(label, (height, width), padded) for label in clip.labels])
    seen = clip.visible if clip.visible is not None else np.full_like(clip.labels, IGNORE)
    visible = np.stack([_pad_labels(label, (height, width), padded) for label in seen])
    heard = np.full((len(frames), num_classes), -1.0, np.float32)
    if clip.heard is not None:
        heard[:] = clip.heard[:, 1:]
    imagined = np.zeros((len(frames), num_classes), bool)
    if clip.imagined is not None:
        imagined[:] = clip.imagined[:, 1:]
    half = CELL // 2
    return Sample(
        frames=torch.from_numpy(frames).permute(0, 3, 1, 2),
        log_mel=torch.from_numpy(log_mel_of(clip, convention))[:, None],
        valid=torch.from_numpy(valid),
        target=_make_target(labels, clip.annotated),
        heard=torch.from_numpy(heard),
        visible=torch.from_numpy(visible[:, half::CELL, half::CELL].copy()),
        imagined=torch.from_numpy(imagined),
    )


def collate(samples: list[Sample]) -> Batch:
    """Stack samples; T is that of the longest, H and W are those of the largest."""
    longest = max(len(s.frames) for s in samples)
    present = torch.stack([torch.arange(longest) < len(s.frames) for s in samples])
    samples = [_fill_up(s, longest) for s in samples]
    height = max(s.frames.shape[-2] for s in samples)
    width = max(s.frames.shape[-1] for s in samples)

    def pad(x: Tensor, scale: int, value: float) -> Tensor:
        missing = (width // scale - x.shape[-1], height // scale - x.shape[-2])
        return torch.nn.functional.pad(x, (0, missing[0], 0, missing[1]), value=value)

    targets = [
        s.target._replace(
            masks=pad(s.target.masks, CELL, 0.0),
            known=pad(s.target.known, CELL, 0.0),
            boxes=s.target.boxes
            * torch.tensor([s.frames.shape[-1] / width, s.frames.shape[-2] / height] * 2),
        )
        for s in samples
    ]
    valid = torch.stack([pad(s.valid, 1, 0) for s in samples])
    return Batch(
        frames=torch.stack([pad(s.frames, 1, 0.0) for s in samples]),
        log_mel=torch.stack([s.log_mel for s in samples]),
        valid=None if bool(valid.all()) else valid,
        objects=Objects.of(targets),
        known=torch.stack([target.known for target in targets]),
        annotated=torch.stack([target.annotated for target in targets]),
        heard=torch.stack([s.heard for s in samples]),
        visible=torch.stack([pad(s.visible, CELL, IGNORE) for s in samples]),
        imagined=torch.stack([s.imagined for s in samples]),
        present=None if bool(present.all()) else present,
    )


def _fill_up(sample: Sample, num_frames: int) -> Sample:
    """Repeat the last frame up to so many frames, without any truth.

    A picture and a sound like the others leave the statistics of batch norms what they are.
    """
    missing = num_frames - len(sample.frames)
    if not missing:
        return sample

    def repeat(x: Tensor) -> Tensor:
        return torch.cat([x, x[-1:].expand(missing, *x.shape[1:])])

    def fill(x: Tensor, value: float, axis: int = 0) -> Tensor:
        shape = [*x.shape[:axis], missing, *x.shape[axis + 1 :]]
        return torch.cat([x, x.new_full(shape, value)], axis)

    target = sample.target
    return sample._replace(
        frames=repeat(sample.frames),
        log_mel=repeat(sample.log_mel),
        target=target._replace(
            masks=fill(target.masks, 0, axis=1),
            boxes=fill(target.boxes, 0, axis=1),
            active=fill(target.active, False, axis=1),
            known=fill(target.known, 0),
            annotated=fill(target.annotated, False),
        ),
        heard=fill(sample.heard, -1),
        visible=fill(sample.visible, IGNORE),
        imagined=fill(sample.imagined, False),
    )


def _pad_labels(
    labels: NDArray[np.uint8], size: tuple[int, int], padded: tuple[int, ...]
) -> NDArray[np.uint8]:
    """Bring labels to the network's size; the padding is unknown."""
    canvas = np.full(padded, IGNORE, np.uint8)
    canvas[: size[0], : size[1]] = resize_labels(labels, size)
    return canvas


def _make_target(labels: NDArray[np.uint8], annotated: NDArray[np.bool_]) -> Target:
    """Make one object of all that is labelled with one class; labels are ``(T, H, W)``."""
    num_frames, height, width = labels.shape
    cells = (height // CELL, width // CELL)
    classes = [int(c) for c in np.unique(labels[annotated]) if c not in (0, IGNORE)]
    masks = np.zeros((len(classes), num_frames, *cells), np.float32)
    boxes = np.zeros((len(classes), num_frames, 4), np.float32)
    active = np.zeros((len(classes), num_frames), bool)
    known = np.stack([_shares((label != IGNORE).astype(np.uint8), cells) for label in labels])
    for m, c in enumerate(classes):
        for t in np.flatnonzero(annotated):
            mask = (labels[t] == c).astype(np.uint8)
            x, y, w, h = cv2.boundingRect(mask)
            if w:
                active[m, t] = True
                boxes[m, t] = (x + w / 2) / width, (y + h / 2) / height, w / width, h / height
                np.divide(_shares(mask, cells), known[t], out=masks[m, t], where=known[t] > 0)
    return Target(
        labels=torch.tensor(classes, dtype=torch.int64) - 1,
        masks=torch.from_numpy(masks),
        boxes=torch.from_numpy(boxes),
        active=torch.from_numpy(active),
        known=torch.from_numpy(known),
        annotated=torch.from_numpy(annotated.copy()),
    )


def _shares(mask: NDArray[np.uint8], cells: tuple[int, int]) -> NDArray[np.float32]:
    """Compute the share of each cell that a 0/1 mask covers."""
    return cv2.resize(mask.astype(np.float32), cells[::-1], interpolation=cv2.INTER_AREA)
