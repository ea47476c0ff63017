"""Composed clips on disk, in the layout of AVSBench-semantic.

    metadata.csv             uid, split, label
    label2idx.json           class to index, counted from 1, background first
    <label>/<uid>/
      frames/{0..}.jpg       audio.wav
      labels_rgb/{0..}.png   colour = class of what is visible and heard
      visible/{0..}.png      class of every visible object, sounding or not; 255 = unknown
      ignore/{0..}.png       255 = not scored; only if the clip has such pixels
      composition.json       what is where, what sounds when and how loud

The last three are not part of AVSBench. What is not scored is background in labels_rgb.
"""

import csv
import io
import json
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from avsegcli.datasets.clip import IGNORE
from avsegcli.datasets.io import write_file, write_picture, write_waveform
from avsegcli.datasets.label_colors import labels_to_colours
from avsegcli.errors import AvsegError, DataError
from avsegcli.files.new_folder import atomic_dataset_folder
from avsegcli.synthesis.composer import Composer, clip_name
from avsegcli.synthesis.parts import Parts, splits_of
from avsegcli.synthesis.sampler import Task

TABLE = "metadata.csv"
JPEG_QUALITY = 95

_Key = tuple[str, int]  # split and index of a clip


class _Order(NamedTuple):
    """Arguments that a process needs to draw its clips."""

    parts_root: Path
    task: Task
    num_frames: int
    size: int
    seed: int
    folder: Path  # of the clips


def write_avss(
    parts_root: Path,
    out: Path,
    *,
    task: Task,
    clips: int,
    seed: int,
    splits: Sequence[str] = ("train",),
    num_frames: int = 5,
    size: int = 320,
    jobs: int = 1,
    force: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> int:
    """Compose clips out of parts and write them as a data set.

    The same arguments give the same bytes, whatever the number of processes. The data set appears
    when it is whole; what is interrupted leaves nothing behind.

    Args:
        parts_root: a parts folder.
        out: the data set's folder.
        task: that the clips are composed for, see `Composer`.
        clips: number of clips of each split.
        seed: of all clips.
        splits: of the parts and of the data set; "all" is every split that has sounds.
        num_frames: T, one frame a second.
        size: longest side of a frame, in pixels; the shapes of real videos are mixed.
        jobs: number of processes. With more than one, a script must call this under
            ``if __name__ == "__main__"``.
        force: replace an older data set at `out`.
        on_progress: called with the number of clips that are done, and of all.

    Returns:
        The number of clips.

    Raises:
        DataError: if the parts do not suffice, `out` is in the way, or a file cannot be written.
        AvsegError: if a process is killed.
    """
    with atomic_dataset_folder(out, TABLE, force=force) as folder:
        if "all" in splits:
            splits = splits_of(parts_root)
        if not splits:
            raise DataError(f"{parts_root}: no sounds in any split", "fill sounds/<class>/")
        label = "v1m" if num_frames <= 5 else "v2"
        order = _Order(parts_root, task, num_frames, size, seed, folder / label)
        try:
            composers = [_composer(order, split) for split in splits]  # what is wrong shows at once
            todo = [(split, index) for split in splits for index in range(clips)]
            for done, _ in enumerate(_write_clips(order, todo, jobs), start=1):
                if on_progress:
                    on_progress(done, len(todo))
        finally:
            _composer.cache_clear()
        write_file(folder / TABLE, _table(seed, todo, label).encode())
        indices = {name: index for index, name in enumerate(composers[0].classes, start=1)}
        write_file(folder / "label2idx.json", (json.dumps(indices, indent=1) + "\n").encode())
    return len(todo)


def _write_clips(order: _Order, todo: Sequence[_Key], jobs: int) -> Iterator[None]:
    """Write clips, and yield after each."""
    write = partial(_write_clip, order)
    if jobs == 1:
        yield from map(write, todo)
        return
    with ProcessPoolExecutor(jobs, get_context("spawn"), _start_worker) as pool:
        try:
            yield from pool.map(write, todo, chunksize=4)
        except BrokenProcessPool as error:
            message = "a process that composed clips was killed; memory may have run out"
            raise AvsegError(message, "Give fewer --jobs.") from error
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _start_worker() -> None:
    """Leave Ctrl-C to the main process, and the other cores to the other processes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(0)


@cache
def _composer(order: _Order, split: str) -> Composer:
    """One composer for each process and split, so that parts are decoded once."""
    parts = Parts(order.parts_root, split)
    num_frames, size = order.num_frames, order.size
    return Composer(parts, task=order.task, num_frames=num_frames, size=size, aspect="mixed")


def _write_clip(order: _Order, key: _Key) -> None:
    split, index = key
    composition = _composer(order, split).compose(order.seed, index)
    clip, folder = composition.clip, order.folder / composition.clip.name
    ignored = clip.labels == IGNORE
    coloured = labels_to_colours(np.where(ignored, 0, clip.labels).astype(np.uint8))
    for t, frame in enumerate(clip.frames):
        quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
        write_picture(folder / "frames" / f"{t}.jpg", frame, quality)
        write_picture(folder / "labels_rgb" / f"{t}.png", coloured[t])
        if clip.visible is not None:
            write_picture(folder / "visible" / f"{t}.png", clip.visible[t])
        if ignored.any():
            write_picture(folder / "ignore" / f"{t}.png", ignored[t].astype(np.uint8) * IGNORE)
    write_waveform(folder / "audio.wav", clip.waveform, "PCM_16")
    text = json.dumps(composition.record, indent=1) + "\n"
    write_file(folder / "composition.json", text.encode())


def _table(seed: int, todo: Sequence[_Key], label: str) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["uid", "split", "label"])
    table.writerows([clip_name(split, seed, index), split, label] for split, index in todo)
    return text.getvalue()
