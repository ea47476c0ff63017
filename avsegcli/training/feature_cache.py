"""Composed clips whose backbone features are computed once and kept on disk: a pool.

With a frozen backbone a training step then costs only what comes after it. Each clip is one file,
made when it is missing, so that filling a pool goes on where it was interrupted.

    <pool>/pool.json     classes, backbone, number of frames, seed, the padded size of each clip,
                         and whether all are there
    <pool>/000000.pt     features, log-mel examples and ground truth of a clip
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from avsegcli.config import Config
from avsegcli.datasets.collate import Batch, Sample, Target, collate, make_sample
from avsegcli.errors import AvsegError, DataError
from avsegcli.files.atomic import atomic_write, write_atomically
from avsegcli.inference.preprocess import STRIDE
from avsegcli.model.pretrained import LOAD_ERRORS
from avsegcli.synthesis.composer import Composer
from avsegcli.synthesis.parts import Parts
from avsegcli.synthesis.sampler import Task
from avsegcli.training.data import TRAINING_SETTINGS, begin_worker

# Height and width of the frames of a clip, and how often.
SHAPES = ((180, 320), (192, 320), (224, 288), (224, 224), (256, 256), (288, 192), (320, 192))
SHARES = (0.27, 0.17, 0.18, 0.15, 0.08, 0.08, 0.07)
IMAGINED = 0.2  # of the sounding classes that have recordings
REPORT_EVERY = 100  # clips
INDEX = "pool.json"


class PoolWriter(Dataset["int | AvsegError"]):
    """Composes clips, encodes them and stores them, each unless it is there.

    Args:
        parts: a parts folder's split to learn from.
        config: `data` says what the clips are, `model.backbone` what they are encoded for.
        backbone: of these settings, in eval mode.
        folder: where the clips are kept.
        length: number of clips.
        seed: of the clips.

    Raises:
        DataError: if the folder holds clips of other settings.
    """

    def __init__(
        self,
        parts: Parts,
        config: Config,
        backbone: nn.Module,
        folder: Path,
        length: int,
        seed: int,
    ) -> None:
        self.classes, self.config, self.backbone = parts.classes, config, backbone
        self.folder, self.length, self.seed = folder, length, seed
        data = config.data
        settings = replace(
            TRAINING_SETTINGS, scene=data.scene, num_sounding=data.num_sounding, imagined=IMAGINED
        )
        self.composers = [
            Composer(
                parts,
                task=cast("Task", data.task),
                num_frames=data.num_frames,
                size=shape,
                settings=settings,
            )
            for shape in SHAPES
        ]
        self._refuse_other_settings()

    def _refuse_other_settings(self) -> None:
        path = self.folder / INDEX
        if not path.exists():
            return
        before, now = _read_json(path), self._describe()
        for key in now.keys() - {"sizes"}:
            if before.get(key, now[key]) != now[key]:
                raise DataError(
                    f"{self.folder} holds clips of other settings: {key} {before[key]}, "
                    f"not {now[key]}",
                    "choose another folder",
                )

    def _describe(self) -> dict[str, Any]:
        """Say what the pool holds."""
        sizes = []
        for index in range(len(self)):
            height, width = SHAPES[self._shape(index)]
            sizes.append([height + -height % STRIDE, width + -width % STRIDE])
        return {
            "classes": list(self.classes),
            "backbone": self.config.model.backbone,
            "num_frames": self.config.data.num_frames,
            "seed": self.seed,
            "sizes": sizes,
        }

    def __len__(self) -> int:
        return self.length

    @torch.inference_mode()
    def __getitem__(self, index: int) -> int | AvsegError:
        try:
            self._make(index)
        except AvsegError as error:  # whole, where a worker's traceback would be wrapped around it
            return error
        return index

    def _make(self, index: int) -> None:
        path = self.folder / f"{index:06d}.pt"
        if path.exists():
            return
        shape = self._shape(index)
        clip = self.composers[shape].compose(self.seed, index).clip
        sample = make_sample(clip, len(self.classes) - 1, max(SHAPES[shape]))
        pictures = sample.frames.contiguous(memory_format=torch.channels_last)
        stored = sample._asdict() | {
            "features": [x.half().contiguous() for x in self.backbone(pictures)],
            "log_mel": sample.log_mel.half(),
            "target": tuple(sample.target),
            "size": tuple(sample.frames.shape[-2:]),
        }
        del stored["frames"]
        with atomic_write(path, DataError) as part:
            torch.save(stored, part)

    def _shape(self, index: int) -> int:
        """Draw which of `SHAPES` a clip has."""
        rng = np.random.default_rng([self.seed, index, 7])
        return int(rng.choice(len(SHAPES), p=SHARES))

    def write(self, workers: int, report: Callable[[str], None]) -> None:
        """Make all clips that are missing, in so many processes, and the index.

        Raises:
            AvsegError: if a part cannot be read, or a clip not be written.
        """
        described = self._describe()
        write_atomically(self.folder / INDEX, json.dumps(described | {"complete": False}))
        maker = DataLoader(self, batch_size=None, num_workers=workers, worker_init_fn=begin_worker)
        for done, made in enumerate(maker, 1):
            if isinstance(made, AvsegError):
                raise made
            if done % REPORT_EVERY == 0:
                report(f"{done} of {len(self)} clips")
        write_atomically(self.folder / INDEX, json.dumps(described | {"complete": True}))


class _StoredClips(Dataset["dict[str, Any] | DataError"]):
    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> dict[str, Any] | DataError:
        path = self.paths[index]
        try:
            stored: dict[str, Any] = torch.load(path, weights_only=True)
        except LOAD_ERRORS:
            return DataError(
                f"{path} is damaged, or not a clip of a pool",
                "delete it; avseg data encode makes it again",
            )
        return stored


class PooledData:
    """The clips of one or several pools in a new order each epoch.

    Those of a batch have one padded size.

    Args:
        folders: the pools.
        config: of the run.

    Raises:
        DataError: if a pool is incomplete, or made for other classes or another backbone.
    """

    def __init__(self, folders: Sequence[Path], config: Config) -> None:
        self.notes: list[str] = []
        self.size, self.seed = config.data.batch_size, config.optim.seed
        indices = [_read_index(folder, config) for folder in folders]
        self.classes = tuple(indices[0]["classes"])
        paths: list[Path] = []
        groups: dict[tuple[int, ...], list[int]] = {}
        for folder, index in zip(folders, indices, strict=True):
            if tuple(index["classes"]) != self.classes:
                raise DataError(f"{folder} has other classes than {folders[0]}")
            for number, size in enumerate(index["sizes"]):
                groups.setdefault(tuple(size), []).append(len(paths))
                paths.append(folder / f"{number:06d}.pt")
        self.clips = _StoredClips(paths)
        self.groups = [np.array(groups[key]) for key in sorted(groups)]
        self.batches_per_epoch = sum(len(group) // self.size for group in self.groups)
        if not self.batches_per_epoch:
            raise DataError(
                f"{folders[0]} has no {self.size} clips of one size",
                "lower it with --set data.batch_size=1",
            )

    def batches(self, epoch: int, skip: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch."""
        rng = np.random.default_rng((self.seed, epoch))
        batches: list[list[int]] = []
        for group in self.groups:
            order = rng.permutation(group)
            whole = order[: len(order) // self.size * self.size]
            batches += whole.reshape(-1, self.size).tolist()
        chosen = [batches[i] for i in rng.permutation(len(batches))]
        loader = DataLoader(
            self.clips,
            batch_sampler=chosen[skip:],  # any iterable of lists will do
            num_workers=1,
            collate_fn=_collate,
            worker_init_fn=begin_worker,
            generator=torch.Generator(),
        )
        for batch in loader:
            if isinstance(batch, DataError):
                raise batch
            yield batch


def _read_index(folder: Path, config: Config) -> dict[str, Any]:
    index = _read_json(folder / INDEX)
    if not index.get("complete", True):
        raise DataError(f"{folder} lacks clips", "the same avseg data encode goes on with it")
    if index["backbone"] != config.model.backbone:
        raise DataError(f"{folder} was made for the backbone {index['backbone']}")
    return index


def _read_json(path: Path) -> dict[str, Any]:
    try:
        index: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path.parent} is not a pool of clips", "avseg data encode makes one"
        ) from error
    return index


def _unpack(stored: dict[str, Any]) -> tuple[Sample, list[Tensor]]:
    """Restore a sample without its pixels, and its features."""
    features = stored["features"]
    height, width = stored["size"]
    values = {key: value for key, value in stored.items() if key not in ("features", "size")}
    values["frames"] = torch.empty((len(features[0]), 0, height, width))
    values["log_mel"] = stored["log_mel"].float()
    values["target"] = Target(*stored["target"])
    return Sample(**values), features


def _collate(stored: list[dict[str, Any] | DataError]) -> Batch | DataError:
    """Stack clips of one padded size, or say which of them cannot be read."""
    clips = []
    for clip in stored:
        if isinstance(clip, DataError):
            return clip
        clips.append(_unpack(clip))
    samples, features = zip(*clips, strict=True)
    levels = [torch.cat(level).float() for level in zip(*features, strict=True)]
    return collate(list(samples))._replace(features=levels)
