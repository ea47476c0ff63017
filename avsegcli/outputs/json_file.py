"""JSON output: the sounding objects of each frame, with masks in COCO's run-length encoding."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco

from avsegcli.files.atomic import printable
from avsegcli.inference.masks import Masks, Region


class JsonFile:
    """Writes one JSON object; frames go to the file as they come, one a line.

    Args:
        path: file to write.
        classes: names; index 0 is the background.
        about: what else stands at the head of the file.
    """

    def __init__(self, path: Path, classes: Sequence[str], about: Mapping[str, Any]) -> None:
        self._file = path.open("w", encoding="utf-8")
        self._classes = classes
        head = printable(json.dumps({**about, "classes": list(classes)}, ensure_ascii=False))
        self._file.write(f'{head[:-1]},\n"frames": [')
        self._separator = "\n"

    def add(self, index: int, time: float, masks: Masks) -> None:
        """Write one frame.

        Args:
            index: number of the frame in the video, from 0 on.
            time: seconds from the start of the file.
            masks: what sounds where in it.
        """
        frame = {
            "frame": index,
            "time": round(time, 6),
            "objects": [self._describe(region, masks) for region in masks.regions],
        }
        self._file.write(self._separator + json.dumps(frame))
        self._separator = ",\n"

    def _describe(self, region: Region, masks: Masks) -> dict[str, Any]:
        whole = np.zeros((masks.height, masks.width), np.uint8, order="F")
        whole[region.box.slices] = region.mask
        runs = coco.encode(whole)
        return {
            "class": self._classes[region.class_index],
            "class_index": region.class_index,
            "score": round(region.score, 4),
            "box": [int(value) for value in coco.toBbox(runs)],  # left, top, width, height
            "area": int(coco.area(runs)),
            "segmentation": {"size": runs["size"], "counts": runs["counts"].decode("ascii")},
        }

    def finish(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Write the events and the end of the object."""
        lines = ",\n".join(json.dumps(event, ensure_ascii=False) for event in events)
        self._file.write(f'\n],\n"events": [\n{lines}\n]}}\n')
        self._file.close()

    def close(self) -> None:
        """Close the file, complete or not."""
        self._file.close()
