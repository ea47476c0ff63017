"""Training batches, from a parts folder or a data set on disk."""

import os
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import Any, Protocol, cast

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from avsegcli.config import DataConfig
from avsegcli.datasets.avsbench_files import find_subsets
from avsegcli.datasets.clip import ClipDataset
from avsegcli.datasets.collate import Batch, Sample, collate, make_sample
from avsegcli.datasets.registry import is_named, open_dataset, open_joint
from avsegcli.datasets.transforms import Convention
from avsegcli.datasets.video_folder import VideoFolder
from avsegcli.device import usable_cpus
from avsegcli.distributed import SINGLE_PROCESS, Processes
from avsegcli.errors import AvsegError, ConfigError, DataError
from avsegcli.synthesis.composer import ComposedDataset, Composer
from avsegcli.synthesis.parts import Parts
from avsegcli.synthesis.ranges import CompositionSettings
from avsegcli.synthesis.sampler import Task
from avsegcli.training.augment import augment, jitter_size
from avsegcli.training.interrupt import ECHO

# Composed for validation, for each 40 clips of an epoch; a data set on disk has its own.
VALIDATION_CLIPS = (4, 100)  # at least, at most
MOST_WORKERS = 8
POOL = 4  # batches of stored clips that are made of clips of like shapes together
# Height and width of composed frames, as parts of the longest side, and how often.
FRAME_SHAPES = ((4 / 7, 1), (3 / 4, 1), (1, 1), (1, 4 / 7), (1, 3 / 4))
FRAME_SHARES = (0.42, 0.25, 0.13, 0.13, 0.07)
# Harder than what is scored: more that is seen and silent, or heard and not seen; players.
TRAINING_SETTINGS = CompositionSettings(
    num_silent=(0.25, 0.42, 0.33),
    silent_thing=0.30,
    off_screen_clip=0.20,
    off_screen_extra=0.10,
    player=0.35,
    playing_speed=(0.8, 1.25),
    tone_curve_db=5.0,
    room=0.35,
)


class TrainingData(Protocol):
    """The batches of each epoch, the same for the same seed wherever one begins."""

    classes: tuple[str, ...]
    batches_per_epoch: int
    notes: list[str]  # remarks on these data for the user, one sentence each

    def batches(self, epoch: int, skip: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch, counted from 0, but for the first `skip`."""


class StoredData:
    """A data set on disk, in a new order each epoch.

    Of the clips of four batches those of like shapes come together: what a frame is padded with
    has its say in what is found in it, and when the model is asked later there is little of it.
    """

    def __init__(
        self,
        clips: ClipDataset,
        config: DataConfig,
        seed: int,
        processes: Processes = SINGLE_PROCESS,
    ) -> None:
        self.classes = clips.classes
        self.notes = list(getattr(clips, "notes", ()))
        self.clips, self.config, self.seed, self.processes = clips, config, seed, processes
        self.batches_per_epoch = _count_batches(len(clips), config, processes)

    def batches(self, epoch: int, skip: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch; frames of different sizes are padded."""
        order = np.random.default_rng((self.seed, epoch)).permutation(len(self.clips))
        batches = _share(order, self.config.batch_size, self.processes)
        pools = [batches[i : i + POOL].ravel().tolist() for i in range(0, len(batches), POOL)]
        pools_done, skip = divmod(skip, POOL)
        samples = _AugmentedSamples(self.clips, self.config, (self.seed, epoch))
        loaded = _load(samples, pools[pools_done:], self.config, self.processes, ahead=1)
        yield from islice(loaded, skip, None)


class ComposedData:
    """Clips composed of parts as they are asked for, new ones in each epoch.

    All frames of a batch have one shape, so that no time goes into padding.
    """

    def __init__(
        self, parts: Parts, config: DataConfig, seed: int, processes: Processes = SINGLE_PROCESS
    ) -> None:
        self.classes = parts.classes
        self.notes: list[str] = []
        self.parts, self.config, self.seed, self.processes = parts, config, seed, processes
        self.batches_per_epoch = _count_batches(config.clips_per_epoch, config, processes)
        settings = replace(TRAINING_SETTINGS, scene=config.scene, num_sounding=config.num_sounding)
        self.shapes = [
            ComposedDataset(
                Composer(
                    parts,
                    task=cast("Task", config.task),
                    num_frames=config.num_frames,
                    size=(round(height * config.size), round(width * config.size)),
                    settings=settings,
                ),
                seed,
                2**62,
            )
            for height, width in FRAME_SHAPES
        ]

    def batches(self, epoch: int, skip: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch."""
        rng = np.random.default_rng((self.seed, epoch))
        shapes = rng.choice(len(FRAME_SHAPES), self.batches_per_epoch, p=FRAME_SHARES)
        size = self.config.batch_size
        clips = self.batches_per_epoch * size * self.processes.world_size
        every = np.arange(epoch * clips, (epoch + 1) * clips)
        numbers = _share(every, size, self.processes).tolist()
        indices = [
            [(int(shape), number) for number in batch]
            for shape, batch in zip(shapes, numbers, strict=True)
        ]
        samples = _ShapedSamples(self.shapes, self.config)
        yield from _load(samples, indices[skip:], self.config, self.processes)


def _share(indices: NDArray[np.int64], size: int, processes: Processes) -> NDArray[np.int64]:
    """Cut indices ``(P,)`` into batches of this process, ``(P // (number * size), size)``."""
    together = size * processes.world_size
    whole = indices[: len(indices) // together * together].reshape(-1, processes.world_size, size)
    return whole[:, processes.rank]


def _count_batches(num_clips: int, config: DataConfig, processes: Processes) -> int:
    together = config.batch_size * processes.world_size
    if num_clips < together:
        each = f" for each of {processes.world_size} processes" if processes.world_size > 1 else ""
        raise DataError(
            f"{num_clips} clips an epoch are fewer than one batch of {config.batch_size}{each}",
            "lower it with --set data.batch_size=1",
        )
    return num_clips // together


class _Samples(Dataset[Sample | AvsegError]):
    def __init__(self, clips: ClipDataset, config: DataConfig) -> None:
        self.clips, self.size = clips, config.size
        self.convention = cast("Convention", config.convention)

    def __getitem__(self, index: int) -> Sample | AvsegError:
        try:
            return make_sample(
                self.clips[index], len(self.clips.classes) - 1, self.size, self.convention
            )
        except AvsegError as error:
            return error  # raised in a worker, it would come out as that worker's traceback


class _AugmentedSamples(Dataset[Sample | AvsegError]):
    """Stored clips; each is changed at random, in an epoch always in the same way."""

    def __init__(self, clips: ClipDataset, config: DataConfig, seed: tuple[int, int]) -> None:
        self.clips, self.config, self.seed = clips, config, seed
        self.convention = cast("Convention", config.convention)

    def __getitem__(self, index: int) -> Sample | AvsegError:
        rng = np.random.default_rng((*self.seed, index))
        try:
            clip = augment(self.clips[index], self.config, rng)
            size = jitter_size(self.config, rng)
            return make_sample(clip, len(self.clips.classes) - 1, size, self.convention)
        except AvsegError as error:
            return error  # as in `_Samples`


class _ShapedSamples(Dataset[Sample | AvsegError]):
    def __init__(self, shapes: list[ComposedDataset], config: DataConfig) -> None:
        self.shapes = [_Samples(clips, config) for clips in shapes]

    def __getitem__(self, index: tuple[int, int]) -> Sample | AvsegError:
        shape, clip = index
        return self.shapes[shape][clip]


def _collate(size: int, samples: list[Sample | AvsegError]) -> list[Batch] | AvsegError:
    """Make batches of `size` samples, those of like shapes together, in the order they come."""
    good = [sample for sample in samples if not isinstance(sample, AvsegError)]
    bad = [sample for sample in samples if isinstance(sample, AvsegError)]
    if bad:
        return bad[0]
    by_shape = sorted(range(len(good)), key=lambda number: good[number].frames.shape[-2:])
    groups = [by_shape[i : i + size] for i in range(0, len(good), size)]
    return [collate([good[number] for number in group]) for group in sorted(groups, key=min)]


def begin_worker(_worker: int) -> None:
    """Set up a process that loads clips."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    # Slurm asks all processes of a job to end. A worker that fails then would stop the main process
    # before its step is done and its state saved.
    signal.signal(signal.SIGTERM, lambda _number, _frame: os._exit(0))


def _begin_ddp_worker(worker: int) -> None:
    """Work on when all are asked to end: a team needs its clips until all are at the same step.

    Then workers are told to stop; if they do not listen, by SIGTERM.
    """
    begin_worker(worker)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asked: list[float] = []

    def end_next_time(_number: int, _frame: FrameType | None) -> None:
        asked.append(time.monotonic())
        if asked[-1] - asked[0] > ECHO:
            os._exit(0)

    signal.signal(signal.SIGTERM, end_next_time)


def _load(
    samples: Dataset[Sample | AvsegError],
    indices: Sequence[Sequence[Any]],
    config: DataConfig,
    processes: Processes,
    ahead: int = 4,
) -> Iterator[Batch]:
    """Load what `indices` name, a batch or a pool at a time; each worker is so many `ahead`."""
    workers = config.workers if config.workers >= 0 else _spare_cpus()
    loader = DataLoader(
        samples,
        batch_sampler=indices,  # type: ignore[arg-type]  # any iterable of lists will do
        num_workers=workers,
        collate_fn=partial(_collate, config.batch_size),
        worker_init_fn=begin_worker if processes.world_size == 1 else _begin_ddp_worker,
        prefetch_factor=ahead if workers else None,
        pin_memory=torch.cuda.is_available(),
        # A loader draws a number when it starts. Not of the global generator: a resumed epoch
        # starts one more loader, and would go on with other numbers than an unbroken one.
        generator=torch.Generator(),
    )
    for batches in loader:
        if isinstance(batches, AvsegError):
            raise batches
        yield from batches


def _spare_cpus() -> int:
    """Count the CPUs that this process may use beside the one it runs on; at least 1."""
    return min(MOST_WORKERS, max(1, usable_cpus() - 1))


def open_training(
    dataset: str | Path,
    config: DataConfig,
    seed: int,
    data_root: Path | None = None,
    processes: Processes = SINGLE_PROCESS,
) -> tuple[TrainingData, ClipDataset]:
    """Open the training and the validation data.

    Args:
        dataset: a parts folder, of which clips are composed as they are asked for; or what
            `open_dataset` knows, with the splits train and val: a subset of AVSBench by its name,
            or a folder; or subsets joined by +.
        config: data and batches.
        seed: of the composed clips and of the order of stored ones.
        data_root: AVSBench's root, for a subset by name.
        processes: that share the training clips.

    Raises:
        ConfigError: if a subset is named but not where it is, or if log-mel files are to be read of
            composed clips.
        DataError: if it is neither, or a split is missing.
    """
    folder = Path(dataset)
    if len(find_subsets(str(dataset))) > 1:
        joint = open_joint(str(dataset), "train", data_root, config.repeats)
        val = open_joint(str(dataset), "val", data_root)
        return StoredData(joint, config, seed, processes), val
    named = is_named(str(dataset))
    if named or not ((folder / "objects").is_dir() or (folder / "scenes").is_dir()):
        stored = open_dataset(str(dataset), "train", data_root)
        if isinstance(stored, VideoFolder):
            raise DataError(
                f"{folder} has no clips of its own to validate on",
                "train on a parts folder, on what 'avseg compose' writes, or on AVSBench",
            )
        return StoredData(stored, config, seed, processes), open_dataset(
            str(dataset), "val", data_root
        )
    if config.convention == "stored":
        raise ConfigError(
            f"clips composed of {folder} have no log-mel files to read", "Leave --convention out."
        )
    composed = validation_clips(folder, config, seed)
    parts = Parts(folder, "train", config.classes)
    parts.preload()
    return ComposedData(parts, config, seed, processes), composed


def validation_clips(parts: Path, config: DataConfig, seed: int) -> ComposedDataset:
    """Compose the clips that a run on a parts folder is validated on."""
    held_out = Composer(
        Parts(parts, "val", config.classes),
        task=cast("Task", config.task),
        num_frames=5,
        size=config.size,
        aspect="mixed",
    )
    num_clips = int(np.clip(config.clips_per_epoch // 40, *VALIDATION_CLIPS))
    return ComposedDataset(held_out, seed, num_clips)
