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
import json
import shutil
import signal
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import soundfile
from numpy.typing import NDArray

from avsegcli.audio.log_mel import SAMPLE_RATE
from avsegcli.datasets.clip import IGNORE
from avsegcli.datasets.compose import Composer, Composition, Task, clip_name
from avsegcli.datasets.palette import labels_to_colours
from avsegcli.datasets.parts import Parts, splits_of
from avsegcli.errors import DataError, MediaError

TABLE = "metadata.csv"
JPEG_QUALITY = 95


class _Order(NamedTuple):
    """What a process needs to know to draw its clips."""

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
    on_clip: Callable[[], None] | None = None,
) -> None:
    """Compose clips out of parts and write them as a data set.

    The same arguments give the same bytes, whatever the number of processes. The data set appears
    when it is whole; what is interrupted leaves nothing behind.

    Args:
        parts_root: a parts folder.
        out: the data set's folder.
        task: what the clips are for, see `Composer`.
        clips: number of clips of each split.
        seed: of all clips.
        splits: of the parts and of the data set; "all" is every split that has sounds.
        num_frames: T, one frame a second.
        size: longest side of a frame, in pixels; the shapes of real videos are mixed.
        jobs: number of processes. With more than one, a script must call this under
            ``if __name__ == "__main__"``.
        force: replace an older data set at `out`.
        on_clip: called after each clip.

    Raises:
        DataError: if the parts do not suffice, or `out` is in the way.
        MediaError: if a file cannot be written.
    """
    out = out.resolve()
    _refuse_if_in_the_way(out, force)
    if "all" in splits:
        splits = splits_of(parts_root)
    classes = [_composer(parts_root, split, task, num_frames, size).classes for split in splits]
    if not classes:
        raise DataError(f"{parts_root}: no sounds in any split", "fill sounds/<class>/")
    label = "v1m" if num_frames <= 5 else "v2"
    out.parent.mkdir(parents=True, exist_ok=True)
    partial_out = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        order = _Order(parts_root, task, num_frames, size, seed, partial_out / label)
        _write_clips(order, [(split, i) for split in splits for i in range(clips)], jobs, on_clip)
        _write_table(partial_out / TABLE, seed, splits, clips, label)
        indices = {name: index for index, name in enumerate(classes[0], start=1)}
        (partial_out / "label2idx.json").write_text(json.dumps(indices, indent=1) + "\n")
        partial_out.chmod(0o755)
        if out.exists():
            shutil.rmtree(out)
        partial_out.rename(out)
    except BaseException:
        shutil.rmtree(partial_out, ignore_errors=True)
        raise


def _refuse_if_in_the_way(out: Path, force: bool) -> None:
    if not out.exists():
        return
    if not out.is_dir():
        raise DataError(f"{out} is a file", "name a folder that does not exist yet")
    if not any(out.iterdir()):
        return
    if not (out / TABLE).exists():
        raise DataError(f"{out} holds other files", "name a folder that does not exist yet")
    if not force:
        raise DataError(f"{out} holds a data set already", "--force replaces it")


def _write_clips(
    order: _Order,
    clips: Sequence[tuple[str, int]],
    jobs: int,
    on_clip: Callable[[], None] | None,
) -> None:
    write = partial(_write_clip, order)
    if jobs == 1:
        for clip in clips:
            write(clip)
            if on_clip:
                on_clip()
        return
    with ProcessPoolExecutor(jobs, get_context("spawn"), _start_worker) as pool:
        try:
            for _ in pool.map(write, clips, chunksize=4):
                if on_clip:
                    on_clip()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _start_worker() -> None:
    """Leave Ctrl-C to the main process, and the other cores to the other processes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(0)


@cache
def _composer(parts_root: Path, split: str, task: Task, num_frames: int, size: int) -> Composer:
    """One composer for each process and split, so that parts are decoded once."""
    parts = Parts(parts_root, split)
    return Composer(parts, task=task, num_frames=num_frames, size=size, aspect="mixed")


def _write_clip(order: _Order, clip: tuple[str, int]) -> None:
    split, index = clip
    composer = _composer(order.parts_root, split, order.task, order.num_frames, order.size)
    composition = composer.compose(order.seed, index)
    folder = order.folder / composition.clip.name
    try:
        _write_composition(folder, composition)
    except OSError as error:
        raise MediaError(f"{folder}: cannot be written: {error.strerror}") from error


def _write_composition(folder: Path, composition: Composition) -> None:
    clip = composition.clip
    folder.mkdir(parents=True)
    ignored = clip.labels == IGNORE
    coloured = labels_to_colours(np.where(ignored, 0, clip.labels).astype(np.uint8))
    for t, frame in enumerate(clip.frames):
        quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
        _write_picture(folder / "frames" / f"{t}.jpg", frame[..., ::-1], quality)
        _write_picture(folder / "labels_rgb" / f"{t}.png", coloured[t][..., ::-1])
        if clip.visible is not None:
            _write_picture(folder / "visible" / f"{t}.png", clip.visible[t])
        if ignored.any():
            _write_picture(folder / "ignore" / f"{t}.png", ignored[t].astype(np.uint8) * IGNORE)
    soundfile.write(folder / "audio.wav", clip.waveform, SAMPLE_RATE, subtype="PCM_16")
    text = json.dumps(composition.record, indent=1) + "\n"
    (folder / "composition.json").write_text(text, encoding="utf-8")


def _write_picture(path: Path, picture: NDArray[np.uint8], options: Sequence[int] = ()) -> None:
    _, coded = cv2.imencode(path.suffix, np.ascontiguousarray(picture), list(options))
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(coded.tobytes())


def _write_table(path: Path, seed: int, splits: Sequence[str], clips: int, label: str) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["uid", "split", "label"])
        for split in splits:
            table.writerows([clip_name(split, seed, i), split, label] for i in range(clips))
