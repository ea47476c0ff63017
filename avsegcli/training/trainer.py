"""One trainer for every preset: steps, validation, checkpoints, resuming."""

import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import cast

import numpy as np
import torch
from torch import nn

from avsegcli.config import Config
from avsegcli.datasets.clip import ClipDataset
from avsegcli.datasets.collate import Batch
from avsegcli.datasets.joint import JointDataset
from avsegcli.datasets.transforms import Convention
from avsegcli.errors import AvsegError, ConfigError, DataError, WeightsError
from avsegcli.evaluation.evaluator import Scores, evaluate
from avsegcli.files.atomic import atomic_write, write_atomically
from avsegcli.inference.checkpoint import LoadedModel, save_checkpoint
from avsegcli.inference.torch_predictor import Predictor
from avsegcli.model.pretrained import LOAD_ERRORS
from avsegcli.model.qsd import QSD, build_qsd
from avsegcli.training.activation_checkpointing import checkpoint_activations
from avsegcli.training.data import TrainingData
from avsegcli.training.ddp import DDP, mean_over_processes
from avsegcli.training.interrupt import defer_signals
from avsegcli.training.losses import qsd_losses, visible_loss
from avsegcli.training.optim import build_optimizer, fixed_modules
from avsegcli.training.preview import draw_panel
from avsegcli.training.run_folder import (
    BEST,
    CONFIG,
    EPOCHS,
    LAST,
    STATE,
    changed_settings,
    keep_best_epochs,
    no_state,
    saved_settings,
)
from avsegcli.training.run_log import RunLog
from avsegcli.training.schedule import ModelEMA, lr_factor

LOG_EVERY = 20  # steps between two lines of the log
SAVE_EVERY = 200  # steps between two saves of the state


@dataclass
class Progress:
    """Progress of a run; part of the saved state."""

    epoch: int = 0
    step: int = 0  # since the beginning of the run
    best: float = -math.inf  # of `Trainer.score`


class Trainer:
    """Trains a model and keeps its run folder.

    The folder holds `config.json`, `train_log.csv` (a line each 20 steps), `val_log.csv` (a line an
    epoch), `panels/` (a picture an epoch), TensorBoard events if it is installed,
    `best.safetensors` and `last.safetensors` (checkpoints), and `state.pt`, from which an
    interrupted run goes on.

    The random numbers of a step depend on nothing but the seed, the step and the process, so that
    a resumed run does what an unbroken one would have done.

    Args:
        config: the settings.
        run: the run folder; made if it is not there.
        train: clips to learn from, this process's share.
        val: clips to choose the best checkpoint by.
        team: this one and those that train the same model with it.
        name: of the model, stored in the checkpoints.
        origin: data and weights that it begins with; kept in `config.json`.
        log_with: trackers of accelerate, by name, that are told what the logs say.
        report: receives messages for the user, a line at a time.
    """

    def __init__(
        self,
        config: Config,
        run: Path,
        train: TrainingData,
        val: ClipDataset,
        *,
        ddp: DDP,
        name: str = "avseg",
        origin: Mapping[str, str | None] | None = None,
        log_with: Sequence[str] = (),
        report: Callable[[str], None] = print,
    ) -> None:
        if tuple(train.classes) != tuple(val.classes):
            raise DataError("training and validation clips have different classes")
        if config.optim.activation_checkpointing and not config.optim.frozen_norm:
            raise ConfigError("optim.activation_checkpointing needs optim.frozen_norm")
        if train.batches_per_epoch < config.optim.accumulate:
            raise DataError(
                f"{train.batches_per_epoch} batches an epoch are fewer than one step of "
                f"{config.optim.accumulate}",
                "lower it with --set optim.accumulate=1",
            )
        torch.manual_seed(config.optim.seed)
        self.config, self.run, self.ddp, self.name = config, run, ddp, name
        self.train, self.val, self.log_with = train, val, tuple(log_with)
        self.origin = dict(origin or {})
        self.report = report if ddp.is_main else lambda _: None
        self.classes = tuple(train.classes)
        self.steps_per_epoch = train.batches_per_epoch // config.optim.accumulate
        self.model = ddp.to_device(build_qsd(config.model, len(self.classes) - 1))
        self.fixed = fixed_modules(self.model, config.optim)
        for module in self.fixed:
            module.requires_grad_(False)
        self.optimizer = build_optimizer(self.model, config.optim)
        self.average: ModelEMA | None = None
        self.restart_average()
        if config.optim.activation_checkpointing:
            checkpoint_activations(self.model)
        if config.optim.compile:
            for part in (self.model.backbone, self.model.visual_encoder, self.model.pyramid):
                part.compile()
        self.network: nn.Module | None = None  # the model as it is called, once `fit` has begun
        self.progress = Progress()
        self.asked: list[int] = []  # signals that wait for all processes to be at the same step

    def restart_average(self) -> None:
        """Begin the moving average anew, from the weights that the model has now."""
        decay = self.config.optim.ema_decay
        self.average = ModelEMA(self.model, decay) if decay else None

    def file_sizes(self) -> tuple[int, int, int]:
        """Estimate the bytes of best.safetensors, last.safetensors and state.pt.

        The optimizer keeps two moments of what is trained, and nothing of what is frozen.
        """
        weights = _count_bytes(self.model.state_dict().values())
        trained = (p for group in self.optimizer.param_groups for p in group["params"])
        average = 0 if self.average is None else weights
        best = weights // 2 if self.config.optim.half_best else weights
        return best, weights, weights + 2 * _count_bytes(trained) + average

    @property
    def is_done(self) -> bool:
        """Whether all epochs lie behind."""
        return self.progress.epoch >= self.config.optim.epochs

    def fit(self) -> None:
        """Train to the last epoch, from wherever the run stands.

        Raises:
            AvsegError: if a loss or gradient is not finite, or another process has ended; the last
                state saved stays as it was.
        """
        if self.is_done:
            return
        main = self.ddp.is_main
        if main:
            said: dict[str, object] = {"name": self.name, "classes": self.classes}
            said |= {"origin": self.origin, "log_with": self.log_with}
            write_atomically(
                self.run / CONFIG, json.dumps(said | self.config.to_dict(), indent=2) + "\n"
            )
        with RunLog(
            self.run if main else None,
            self.progress.step,
            self.log_with,
            self.config.to_dict(),
            epoch=self.progress.epoch,
        ) as log:
            try:
                with self._together() as self.asked:
                    while not self.is_done:
                        self._train_epoch(log)
                        self._validate(log)
                        self.ddp.wait()
                        self.progress.epoch += 1
                        self.save_state()
                        self._stop_if_asked()
            except (KeyboardInterrupt, SystemExit) as stop:  # the latter by SIGTERM
                if not isinstance(stop.__context__, _StoppedTogetherError):
                    self._stop()
                raise
            except RuntimeError as error:
                if self.ddp.peer_failed(error):
                    raise AvsegError(
                        f"process {self.ddp.processes.rank} ends: another one has ended",
                        "that one says why; --resume goes on from the last state saved",
                    ) from error
                raise

    def _together(self) -> AbstractContextManager[list[int]]:
        """Put signals off where one process may not stop without the others."""
        return defer_signals() if self.ddp.processes.world_size > 1 else nullcontext([])

    def _stop(self) -> None:
        self.save_state()
        self.report(f"stopped at step {self.progress.step}; go on with --resume {self.run}")

    def _stop_if_asked(self) -> None:
        """Let all processes stop here if one of them was asked to; all have to call this."""
        number = self.ddp.max_over_processes(max(self.asked, default=0))
        if number:
            self._stop()
            self.ddp.wait()
            self.asked[:] = [number]
            raise _StoppedTogetherError

    def _train_epoch(self, log: RunLog) -> None:
        optim, progress = self.config.optim, self.progress
        done = progress.step - progress.epoch * self.steps_per_epoch
        watch = _Watch()
        batches = watch.follow(self.train.batches(progress.epoch, done * optim.accumulate))
        for _ in range(done, self.steps_per_epoch):
            taken = [next(batches) for _ in range(optim.accumulate)]
            with defer_signals():
                terms = self.step(taken)
            if progress.step % LOG_EVERY == 0:
                means = mean_over_processes(torch.stack(list(terms.values()))).tolist()
                speed, waiting = watch.read()
                values = {
                    "step": progress.step,
                    "epoch": progress.epoch,
                    "lr": optim.lr * lr_factor(optim, progress.step - 1, self.steps_per_epoch),
                    "clips_per_s": speed * self.ddp.processes.world_size,
                    "waiting": waiting,
                    **self._codebook_values(),
                    **dict(zip(terms, means, strict=True)),
                }
                log.write_step(values)
                self.report(
                    f"step {progress.step}/{self.steps_per_epoch * optim.epochs}"
                    f" loss {values['loss']:.3f} {values['clips_per_s']:.1f} clips/s"
                    f" waiting {waiting:.0%}"
                )
            if progress.step % SAVE_EVERY == 0:
                self.save_state()
            self._stop_if_asked()

    def step(self, batches: Sequence[Batch]) -> dict[str, torch.Tensor]:
        """Take one optimizer step.

        Args:
            batches: `optim.accumulate` of them; their gradients are averaged.

        Returns:
            The loss, its terms and the norm of the gradient before clipping, ``()`` each; means
            over the batches of this process.

        Raises:
            AvsegError: if one of them is not finite; the weights stay as they were.
        """
        optim, progress = self.config.optim, self.progress
        if self.network is None:
            self.network = self.ddp.wrap_ddp(self.model)
        self._prepare()
        self.optimizer.zero_grad(set_to_none=True)
        sums: dict[str, torch.Tensor] = {}
        for number, waiting in enumerate(batches, start=1):
            batch = waiting.to(self.ddp.device)
            with nullcontext() if number == len(batches) else self._keep_gradients():
                terms = self._compute_losses(batch)
                loss = torch.stack(list(terms.values())).sum()
                (loss / len(batches)).backward()
            if self.model.codebook is not None and number < len(batches):
                self.model.codebook.updates -= 1  # its warm-up counts steps, not batches
            for key, value in {"loss": loss, **terms}.items():
                sums[key] = sums.get(key, 0) + value.detach() / len(batches)
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), optim.clip_norm)
        values = {"loss": sums.pop("loss"), "gradient_norm": norm, **sums}
        if not torch.isfinite(values["loss"] + norm):
            self._refuse_step(values)
        self.optimizer.step()
        if self.average is not None:
            self.average.update(self.model)
        progress.step += 1
        return values

    def _compute_losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        assert self.network is not None
        if self.progress.epoch < self.config.optim.visible_epochs:
            frames, visible = _take_one_frame(batch)
            with self._autocast():
                logits = self.model.segment_visible(frames, batch.valid)
            loss = visible_loss(logits.float(), visible)
            return {"loss_visible": self.config.loss.visible * loss}
        with self._autocast():
            output = self.network(
                batch.features or batch.frames,
                batch.log_mel,
                batch.valid,
                batch.present,
                batch.imagined,
            )
        return qsd_losses(output, batch, self.config.loss)

    def _prepare(self) -> None:
        """Set modes, learning rates and random numbers for the next step."""
        optim, step = self.config.optim, self.progress.step
        self.model.train()
        if optim.frozen_norm:
            for module in self.model.backbone.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()
        for module in self.fixed:
            module.eval()
        factor = lr_factor(optim, step, self.steps_per_epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = optim.lr * group["factor"] * factor
        seeds = optim.seed, step, self.ddp.processes.rank
        drawn = np.random.SeedSequence(seeds).generate_state(1)
        torch.manual_seed(int(drawn[0]))

    def _autocast(self) -> torch.autocast:
        kind, precision = self.ddp.device.type, self.config.optim.precision
        wanted = precision == "bf16" or (precision == "auto" and kind == "cuda")
        return torch.autocast(kind, torch.bfloat16, enabled=wanted)

    def _keep_gradients(self) -> AbstractContextManager[None]:
        """Do not exchange gradients yet: more batches of this step follow."""
        no_sync = getattr(self.network, "no_sync", None)
        return nullcontext() if no_sync is None else no_sync()

    def _refuse_step(self, values: dict[str, torch.Tensor]) -> None:
        bad = [key for key, value in values.items() if not torch.isfinite(value)]
        saved = (self.run / STATE).exists()
        raise AvsegError(
            f"not finite at step {self.progress.step} of {self.run}: {', '.join(bad)}",
            f"go on from the last good state with --resume {self.run} --set optim.lr=<a lower one>"
            if saved
            else "begin anew with a lower --set optim.lr",
        )

    def _codebook_values(self) -> dict[str, float]:
        codebook = self.model.codebook
        if codebook is None:
            return {}
        return {
            "codebook_usage": codebook.usage().item(),
            "codebook_perplexity": codebook.perplexity().item(),
        }

    def averaged_model(self) -> QSD:
        """Build a copy of the model in eval mode, with the averaged weights if there are any."""
        model = build_qsd(self.config.model, len(self.classes) - 1)
        state = self.average.state if self.average is not None else self.model.state_dict()
        model.load_state_dict(state)
        return self.ddp.broadcast(model.to(self.ddp.device)).eval()

    @staticmethod
    def score(scores: Scores) -> float:
        """Say how good a checkpoint is: binary J plus mIoU of the classes present.

        Of a joint set the mean over its parts counts, however many clips each has.
        """
        return scores.avsbench.j + scores.avss.miou_present

    def _validate(self, log: RunLog) -> None:
        loaded = LoadedModel(self.averaged_model(), self.config.model, self.classes, self.name)
        predictor = Predictor.from_model(loaded, self.ddp.device)
        convention = cast("Convention", self.config.data.convention)
        parts = self.val.parts if isinstance(self.val, JointDataset) else {"": self.val}
        scores = {
            name: evaluate(
                predictor,
                part,
                convention=convention,
                processes=self.ddp.processes,
                progress=self._watch_for_stop(len(part)),
            )
            for name, part in parts.items()
        }
        epoch = self.progress.epoch + 1  # now complete
        values = {
            "epoch": epoch,
            "step": self.progress.step,
            **{
                f"{name}_{key}" if name else key: value
                for name, there in scores.items()
                for key, value in _logged(there).items()
            },
            **self._codebook_values(),
        }
        if not self.ddp.is_main:
            return
        score = fmean(map(self.score, scores.values()))
        better = score > self.progress.best
        log.write_panel(
            draw_panel(predictor, self.val, convention=convention), epoch, self.progress.step
        )
        with defer_signals():
            for path in self._checkpoints(epoch, better=better):
                path.parent.mkdir(parents=True, exist_ok=True)
                save_checkpoint(
                    path,
                    loaded.model,
                    self.config.model,
                    self.classes,
                    name=self.name,
                    half=path.stem == "best" and self.config.optim.half_best,
                    settings=self.config,
                    reached={
                        "epoch": epoch,
                        "step": self.progress.step,
                        "score": score,
                    },
                )
            keep_best_epochs(self.run, self.config.optim.keep_best)
        self.progress.best = max(self.progress.best, score)
        # Last, so that an epoch that is interrupted before is not written twice.
        log.write_scores(values)
        for name, there in scores.items():
            self.report(
                f"epoch {epoch}{name and ', '}{name}: J {there.avsbench.j:.3f}, "
                f"mIoU of present classes {there.avss.miou_present:.3f}"
            )

    def _watch_for_stop(self, num_clips: int) -> Callable[[int, int], None]:
        """Return a callback that lets all processes stop after a clip of a validation."""
        all_have = num_clips // self.ddp.processes.world_size  # clips; some have one more

        def progress(done: int, _share: int) -> None:
            if done <= all_have:
                self._stop_if_asked()

        return progress

    def _checkpoints(self, epoch: int, *, better: bool) -> Iterator[Path]:
        """Name the files that the weights of an epoch are saved to."""
        yield self.run / LAST
        if better:
            yield self.run / BEST
        if self.config.optim.keep_best > 1:
            yield self.run / EPOCHS / f"epoch_{epoch:03d}.safetensors"

    def save_state(self) -> None:
        """Save all that `resume` needs, under a temporary name first; the main process does."""
        if not self.ddp.is_main:
            return
        state = {
            "progress": vars(self.progress),
            "classes": list(self.classes),
            "steps_per_epoch": self.steps_per_epoch,
            "model": self.model.state_dict(),
            "chosen": None if self.model.codebook is None else self.model.codebook.chosen,
            "idle": None if self.model.codebook is None else self.model.codebook.idle,
            "optimizer": self.optimizer.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
        }
        path = self.run / STATE
        try:
            with defer_signals(), atomic_write(path) as part:
                torch.save(state, part)
        except (OSError, RuntimeError) as error:  # as PyTorch calls a full disk
            raise AvsegError(f"cannot write {path}: {str(error).splitlines()[0]}") from error

    def resume(self) -> None:
        """Go on from the state saved in the run folder.

        Raises:
            AvsegError: if there is none, it is damaged, or it belongs to other settings.
        """
        path = self.run / STATE
        if not path.is_file():
            raise no_state(self.run)
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except LOAD_ERRORS as error:
            raise WeightsError(f"{path} is damaged", "--force begins anew") from error
        try:
            progress, steps_per_epoch = Progress(**state["progress"]), state["steps_per_epoch"]
        except (LookupError, TypeError) as error:
            raise WeightsError(
                f"{path} was written by another version of avseg", "--force begins anew"
            ) from error
        before = state.get("classes") or saved_settings(self.run).get("classes")
        if before and tuple(before) != self.classes:
            raise AvsegError(
                f"{path} belongs to a run with other classes: {_compare(before, self.classes)}",
                "resume with the same data; --init takes what fits into a new run",
            )
        if steps_per_epoch != self.steps_per_epoch:
            raise AvsegError(
                f"{path} belongs to a run with epochs of another length{self._changes()}",
                "resume with the same data, data.batch_size, data.clips_per_epoch, "
                "optim.accumulate and number of processes",
            )
        groups = self.optimizer.param_groups
        settings = [{k: v for k, v in group.items() if k != "params"} for group in groups]
        try:
            # The optimizer's settings of now count, also for where its state is kept.
            for group, present in zip(state["optimizer"]["param_groups"], settings, strict=True):
                group.update(present)
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
        except (LookupError, RuntimeError, TypeError, ValueError) as error:
            raise AvsegError(
                f"{path} belongs to a run with other settings{self._changes()}",
                f"'avseg train --resume {self.run}' alone goes on with the settings of the run",
            ) from error
        if self.model.codebook is not None and state.get("chosen") is not None:
            self.model.codebook.chosen.copy_(state["chosen"])
            self.model.codebook.idle.copy_(state.get("idle", self.model.codebook.idle))
        if self.average is not None and state.get("average") is not None:
            self.average.load_state_dict(state["average"])
        else:
            self.restart_average()
        self.progress = progress

    def _changes(self) -> str:
        """Name the settings that are not as the run began with, as the end of a sentence."""
        changes = changed_settings(self.run, self.config)
        return f": {', '.join(changes)}" if changes else ""


def _count_bytes(tensors: Iterable[torch.Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _logged(scores: Scores) -> dict[str, float | None]:
    """Select the scores of an epoch for the log."""
    return {
        "avsbench_j": scores.avsbench.j,
        "avsbench_f": scores.avsbench.f,
        "j_object": scores.summary.j_object,
        "silent_area": scores.summary.silent_area,
        "miou": scores.avss.miou,
        "miou_present": scores.avss.miou_present,
    }


def _take_one_frame(batch: Batch) -> tuple[torch.Tensor | list[torch.Tensor], torch.Tensor]:
    """Draw one frame of each clip: without the sound the others say little more.

    Returns:
        Frames ``(B, 1, 3, H, W)``, or their features ``(B, C, h, w)``, and what is visible.
    """
    clips, num_frames = batch.visible.shape[:2]
    drawn = torch.randint(num_frames, (clips,), device=batch.visible.device)
    rows = torch.arange(clips, device=drawn.device)
    visible = batch.visible[rows, drawn][:, None]
    if batch.features is None:
        return batch.frames[rows, drawn][:, None], visible
    return [x[rows * num_frames + drawn] for x in batch.features], visible


def _compare(before: Sequence[str], now: Sequence[str]) -> str:
    if len(before) != len(now):
        return f"it had {len(before)}, now there are {len(now)}"
    number = next(i for i, names in enumerate(zip(before, now, strict=True)) if len({*names}) > 1)
    return f"number {number} was '{before[number]}', is now '{now[number]}'"


class _StoppedTogetherError(Exception):
    """All processes leave `Trainer.fit` here, their state saved."""


class _Watch:
    """Measures how fast clips come, and which share of the time goes into waiting for them."""

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        self.began, self.waited, self.clips = time.perf_counter(), 0.0, 0

    def follow(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """Pass batches on."""
        while True:
            asked = time.perf_counter()
            batch = next(batches, None)
            if batch is None:
                return
            self.waited += time.perf_counter() - asked
            self.clips += len(batch.log_mel)
            yield batch

    def read(self) -> tuple[float, float]:
        """Give clips a second and the share of waiting since this was last asked."""
        elapsed = time.perf_counter() - self.began
        values = self.clips / elapsed, self.waited / elapsed
        self._start()
        return values
