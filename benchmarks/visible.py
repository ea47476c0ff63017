"""Score the visible head on held-out photos: what it segments without any sound.

    python benchmarks/visible.py PARTS --weights lite.safetensors --split test

IoU of each class, pooled over the photos: among all classes, and where the classes of a photo are
given (their logits and the background's compete alone).
"""

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from avsegcli.datasets.clip import IGNORE
from avsegcli.inference.checkpoint import load_checkpoint
from avsegcli.inference.preprocess import prepare_frames
from avsegcli.synthesis.parts import Parts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--split", default="test")
    parser.add_argument("--size", type=int, help="longest side; none: the model's")
    arguments = parser.parse_args()

    loaded = load_checkpoint(arguments.weights)
    parts = Parts(arguments.parts, arguments.split, loaded.classes[1:])
    size = arguments.size or loaded.config.size
    length = len(loaded.classes)
    confusion = {kind: np.zeros((length, length), np.int64) for kind in ("free", "given")}
    photos = np.zeros(length, int)
    for path, present in parts.scene_classes.items():
        photo, mask = parts.scene(path)
        frames, (height, width) = prepare_frames([photo], size)
        valid = torch.zeros((1, *frames.shape[1:3]), dtype=torch.bool)
        valid[:, :height, :width] = True
        with torch.inference_mode():
            logits = loaded.model.segment_visible(
                torch.from_numpy(frames).permute(0, 3, 1, 2)[None], valid
            )[0]
        logits = F.interpolate(logits, size=frames.shape[1:3], mode="bilinear")
        logits = F.interpolate(logits[..., :height, :width], size=mask.shape, mode="bilinear")[0]
        absent = [c for c in range(1, length) if c not in present]
        given = logits.clone()
        given[absent] = -torch.inf
        photos[list(present)] += 1
        known = mask != IGNORE
        for kind, scores in (("free", logits), ("given", given)):
            said = scores.argmax(0).numpy()
            pairs = mask[known].astype(np.int64) * length + said[known]
            confusion[kind] += np.bincount(pairs, minlength=length**2).reshape(length, length)
    iou = {}
    for kind, table in confusion.items():
        hits = np.diag(table)
        iou[kind] = hits / np.maximum(table.sum(0) + table.sum(1) - hits, 1)
    print(f"{'class':16} photos   free  given")
    for c, name in enumerate(loaded.classes):
        if c == 0 or photos[c]:
            print(f"{name:16} {photos[c]:6d} {iou['free'][c]:6.3f} {iou['given'][c]:6.3f}")
    some = photos > 0
    for kind in iou:
        print(f"mean IoU of {some.sum()} classes, {kind}: {iou[kind][some].mean():.3f}")


if __name__ == "__main__":
    main()
