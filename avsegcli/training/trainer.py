"""One trainer for every preset: steps, validation, logs, checkpoints, resuming."""

import csv
import json
import math
import pickle
import shutil
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from avsegcli.checkpoint import LoadedModel, save_checkpoint
from avsegcli.config import Config
from avsegcli.datasets.batch import Batch
from avsegcli.datasets.clip import ClipDataset
from avsegcli.errors import AvsegError, DataError, WeightsError
from avsegcli.evaluation.evaluator import Scores, evaluate
from avsegcli.model.qsd import QSD, build_qsd
from avsegcli.predictor import Predictor
from avsegcli.training.data import TrainingData
from avsegcli.training.losses import qsd_losses
from avsegcli.training.schedule import WeightAverage, lr_factor

LOG_EVERY = 20  # steps between two lines of the log
SAVE_EVERY = 200  # steps between two saves of the state
STATE = "state.pt"
RESULTS = (STATE, "best.safetensors", "last.safetensors")
RUN_FILES = (*RESULTS, "config.json", "log.csv", "scores.csv", "tensorboard")


def has_results(run: Path) -> bool:
    """Say whether a folder holds something that a new run would replace."""
    return any((run / name).exists() for name in RESULTS)


def remove_run(run: Path) -> None:
    """Delete the files of a run, and nothing else that may lie in its folder."""
    for name in RUN_FILES:
        path = run / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


@dataclass
class Progress:
    """Where a run stands; part of the saved state."""

    epoch: int = 0
    step: int = 0  # since the beginning of the run
    best: float = -math.inf  # of `Trainer.score`


class Trainer:
    """Trains a model and keeps its run folder.

    The folder holds `config.json`, `log.csv` (a line each 20 steps), `scores.csv` (a line an
    epoch), TensorBoard events if it is installed, `best.safetensors` and `last.safetensors`
    (checkpoints), and `state.pt`, from which an interrupted run goes on.

    Args:
        config: the settings.
        run: the run folder; made if it is not there.
        train: clips to learn from.
        val: clips to choose the best checkpoint by.
        device: where to train.
        name: what the checkpoints are called.
        report: is told what a person should see, a line at a time.
    """

    def __init__(
        self,
        config: Config,
        run: Path,
        train: TrainingData,
        val: ClipDataset,
        *,
        device: torch.device,
        name: str = "avseg",
        report: Callable[[str], None] = print,
    ) -> None:
        if tuple(train.classes) != tuple(val.classes):
            raise DataError("training and validation clips have different classes")
        torch.manual_seed(config.optim.seed)
        self.config, self.run, self.device, self.name = config, run, device, name
        self.train, self.val = train, val
        self.report = report
        self.classes = tuple(train.classes)
        self.model = build_qsd(config.model, len(self.classes) - 1).to(device)
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # a gap in its stubs
        self.fixed = self._fixed_modules()
        for module in self.fixed:
            module.requires_grad_(False)
        self.optimizer = torch.optim.AdamW(
            self._parameter_groups(), lr=config.optim.lr, fused=device.type in ("cpu", "cuda")
        )
        self.average: WeightAverage | None = None
        self.restart_average()
        self.progress = Progress()

    def restart_average(self) -> None:
        """Begin the moving average anew, from the weights that the model has now."""
        decay = self.config.optim.ema_decay
        self.average = WeightAverage(self.model, decay) if decay else None

    def _fixed_modules(self) -> list[nn.Module]:
        """List what is not trained at all: its running statistics do not move either."""
        optim, model = self.config.optim, self.model
        fixed: list[nn.Module] = []
        if optim.frozen_stages:
            fixed += model.backbone.stages[: optim.frozen_stages]
        if not optim.backbone_lr_factor:
            fixed.append(model.backbone)
        if not optim.audio_lr_factor:
            fixed.append(model.audio_encoder)
        return fixed

    def _parameter_groups(self) -> list[dict[str, Any]]:
        """Group parameters by learning rate and by whether they decay (matrices do)."""
        optim = self.config.optim
        factors = {
            "backbone": optim.backbone_lr_factor,
            "audio_encoder": optim.audio_lr_factor,
        }
        groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
        for key, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                factor = factors.get(key.split(".")[0], 1.0)
                groups.setdefault((factor, parameter.ndim > 1), []).append(parameter)
        return [
            {"params": parameters, "factor": factor, "weight_decay": optim.weight_decay * decays}
            for (factor, decays), parameters in groups.items()
        ]

    def fit(self) -> None:
        """Train to the last epoch, from wherever the run stands.

        Raises:
            AvsegError: if a loss or gradient is not finite; the last state saved stays as it was.
        """
        self.run.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"classes": self.classes, **self.config.to_dict()}, indent=2)
        (self.run / "config.json").write_text(text + "\n")
        per_epoch = self.train.batches_per_epoch
        with _Log(self.run, self.progress.step) as log:
            try:
                while self.progress.epoch < self.config.optim.epochs:
                    self._train_epoch(per_epoch, log)
                    self._validate(log)
                    self.progress.epoch += 1
                    self.save_state()
            except KeyboardInterrupt:
                self.save_state()
                self.report(f"stopped at step {self.progress.step}; go on with --resume")
                raise

    def _train_epoch(self, per_epoch: int, log: "_Log") -> None:
        optim = self.config.optim
        skip = self.progress.step - self.progress.epoch * per_epoch
        began, waited, clips = time.perf_counter(), 0.0, 0
        asked = began
        for batch in self.train.batches(self.progress.epoch, skip):
            waited += time.perf_counter() - asked
            factor = lr_factor(optim, self.progress.step, per_epoch)
            for group in self.optimizer.param_groups:
                group["lr"] = optim.lr * group["factor"] * factor
            terms = self._step(batch.to(self.device))
            self.progress.step += 1
            clips += len(batch.targets)
            if self.progress.step % LOG_EVERY == 0:
                elapsed = time.perf_counter() - began
                values = {
                    "step": self.progress.step,
                    "epoch": self.progress.epoch,
                    "lr": optim.lr * factor,
                    "clips_per_s": clips / elapsed,
                    "waiting": waited / elapsed,
                    **self._codebook_values(),
                    **{key: value.item() for key, value in terms.items()},
                }
                log.steps(values)
                self.report(
                    f"step {self.progress.step}/{per_epoch * optim.epochs}"
                    f" loss {values['loss']:.3f} {values['clips_per_s']:.1f} clips/s"
                    f" waiting {values['waiting']:.0%}"
                )
                began, waited, clips = time.perf_counter(), 0.0, 0
            if self.progress.step % SAVE_EVERY == 0:
                self.save_state()
            asked = time.perf_counter()

    def _step(self, batch: Batch) -> dict[str, torch.Tensor]:
        self.model.train()
        if self.config.optim.frozen_norm:
            for module in self.model.backbone.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        for module in self.fixed:
            module.eval()
        cuda = self.device.type == "cuda"
        with torch.autocast("cuda", torch.bfloat16) if cuda else nullcontext():
            output = self.model(batch.frames, batch.log_mel, batch.valid, batch.present)
        terms = qsd_losses(output, batch, self.config.loss)
        loss = torch.stack(list(terms.values())).sum()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.config.optim.clip_norm)
        if not torch.isfinite(loss + norm):
            self._refuse_step({**terms, "the gradient": norm})
        self.optimizer.step()
        if self.average is not None:
            self.average.update(self.model)
        return {"loss": loss.detach(), "gradient_norm": norm, **terms}

    def _refuse_step(self, values: dict[str, torch.Tensor]) -> None:
        bad = [key for key, value in values.items() if not torch.isfinite(value)]
        saved = (self.run / STATE).exists()
        raise AvsegError(
            f"not finite at step {self.progress.step} of {self.run}: {', '.join(bad)}",
            "go on from the last good state with --resume and a lower --set optim.lr"
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
        return model.to(self.device).eval()

    @staticmethod
    def score(scores: Scores) -> float:
        """Say how good a checkpoint is: binary J plus mIoU of the classes present."""
        return scores.tpavi.j + scores.avss.miou_present

    def _validate(self, log: "_Log") -> None:
        loaded = LoadedModel(self.averaged_model(), self.config.model, self.classes, self.name)
        scores = evaluate(Predictor.from_model(loaded, self.device), self.val)
        epoch = self.progress.epoch + 1  # now complete
        values = {
            "epoch": epoch,
            "step": self.progress.step,
            "tpavi_j": scores.tpavi.j,
            "tpavi_f": scores.tpavi.f,
            "j_object": scores.summary.j_object,
            "silent_area": scores.summary.silent_area,
            "miou": scores.avss.miou,
            "miou_present": scores.avss.miou_present,
            **self._codebook_values(),
        }
        log.scores(values)
        self.report(
            f"epoch {epoch}: J {scores.tpavi.j:.3f}, "
            f"mIoU of present classes {scores.avss.miou_present:.3f}"
        )
        better = self.score(scores) > self.progress.best
        for name in ("last", "best") if better else ("last",):
            path = self.run / f"{name}.safetensors"
            save_checkpoint(path, loaded.model, self.config.model, self.classes, name=self.name)
        self.progress.best = max(self.progress.best, self.score(scores))

    def save_state(self) -> None:
        """Save all that `resume` needs, under a temporary name first."""
        state = {
            "progress": vars(self.progress),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "random": torch.get_rng_state(),
        }
        part = self.run / f".{STATE}.part"
        torch.save(state, part)
        part.replace(self.run / STATE)

    def resume(self) -> None:
        """Go on from the state saved in the run folder.

        Raises:
            AvsegError: if there is none, it is damaged, or it belongs to other settings.
        """
        path = self.run / STATE
        if not path.is_file():
            raise AvsegError(
                f"no state to resume in {self.run}", "leave --resume out to begin anew"
            )
        try:
            state = torch.load(path, map_location=self.device, weights_only=True)
        except (RuntimeError, OSError, EOFError, pickle.UnpicklingError) as error:
            raise WeightsError(f"{path} is damaged", "--force begins anew") from error
        progress = Progress(**state["progress"])
        done = progress.step - progress.epoch * self.train.batches_per_epoch
        if not 0 <= done <= self.train.batches_per_epoch:
            raise AvsegError(
                f"{path} belongs to a run with epochs of another length",
                "resume with the same data, data.batch_size and data.clips_per_epoch",
            )
        try:
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
        except (RuntimeError, ValueError) as error:
            raise AvsegError(
                f"{path} belongs to a run with other settings", "resume with the same preset"
            ) from error
        if self.average is not None and state["average"] is not None:
            self.average.load_state_dict(state["average"])
        self.progress = progress
        torch.set_rng_state(state["random"].cpu())


class _Log:
    """CSV files and, if it is installed, TensorBoard.

    Args:
        run: the run folder.
        step: where the run stands. What is logged of later steps is dropped: a run that was killed
            had not saved them, and takes them again.
    """

    def __init__(self, run: Path, step: int) -> None:
        self.run, self.step = run, step
        self.board: Any = None

    def __enter__(self) -> "_Log":
        self._drop_later("log.csv")
        self._drop_later("scores.csv")
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return self
        self.board = SummaryWriter(str(self.run / "tensorboard"), purge_step=self.step + 1)
        return self

    def __exit__(self, *_: object) -> None:
        if self.board is not None:
            self.board.close()

    def steps(self, values: dict[str, Any]) -> None:
        self._write("log.csv", values, "train")

    def scores(self, values: dict[str, Any]) -> None:
        self._write("scores.csv", values, "val")

    def _drop_later(self, name: str) -> None:
        path = self.run / name
        if not path.exists():
            return
        with path.open(newline="") as file:
            header, *rows = csv.reader(file)
        column = header.index("step")
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([header, *(r for r in rows if int(r[column]) <= self.step)])

    def _write(self, name: str, values: dict[str, Any], group: str) -> None:
        path = self.run / name
        new = not path.exists()
        with path.open("a", newline="") as file:
            writer = csv.writer(file)
            if new:
                writer.writerow(values)
            writer.writerow(values.values())
        if self.board is not None:
            for key, value in values.items():
                if key not in ("step", "epoch") and value is not None:
                    self.board.add_scalar(f"{group}/{key}", value, values["step"])
