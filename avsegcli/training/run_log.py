"""Logs of a run: CSV files and, if it is installed, TensorBoard."""

import csv
import io
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from avsegcli.errors import AvsegError, ConfigError, install_hint
from avsegcli.files.atomic import wrap_write_errors, write_atomically

STEPS, SCORES, PANELS, BOARD = "train_log.csv", "val_log.csv", "panels", "tensorboard"
TRACKERS = "trackers"  # what trackers write, if they do so on this machine
FORMER_NAMES = {"log.csv": STEPS, "scores.csv": SCORES}  # of older versions
FORMER_COLUMNS = {"loss_heard": "loss_audio", "tpavi_j": "avsbench_j", "tpavi_f": "avsbench_f"}


class RunLog:
    """Writes to a run folder, or nowhere; a failed write is an `AvsegError`.

    Args:
        run: the run folder; None: nothing is kept, as in all processes but the main one.
        step: where the run stands. What is logged of later steps is dropped: a run that was killed
            had not saved them, and takes them again.
        log_with: trackers of accelerate, by name.
        settings: that these are told, nested.
        epoch: how many epochs are complete; scores of later ones are dropped. None: all are kept.
    """

    def __init__(
        self,
        run: Path | None,
        step: int,
        log_with: Sequence[str] = (),
        settings: Mapping[str, Any] | None = None,
        *,
        epoch: int | None = None,
    ) -> None:
        self.epoch = epoch
        self.run, self.step, self.log_with = run, step, tuple(log_with)
        self.settings = settings or {}
        self.board: Any = None
        self.trackers: Sequence[Any] = ()
        self._columns: dict[str, list[str]] = {}  # of each CSV file that was written to

    def __enter__(self) -> "RunLog":
        if self.run is None:
            return self
        for former in former_logs(self.run):
            if not (self.run / FORMER_NAMES[former.name]).exists():
                former.rename(self.run / FORMER_NAMES[former.name])
        for name in (STEPS, SCORES):
            _drop_later(self.run / name, self.step)
        if self.epoch is not None:  # interrupted right after its row, an epoch is scored again
            columns, rows = _read(self.run / SCORES)
            if columns:
                kept = [row for row in rows if int(row["epoch"]) <= self.epoch]
                _rewrite(self.run / SCORES, columns, kept)
        if self.log_with:
            self.trackers = _open_trackers(self.log_with, self.run, self.settings)
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return self
        with self._told():
            self.board = SummaryWriter(str(self.run / BOARD), purge_step=self.step + 1)
        return self

    def __exit__(self, *_: object) -> None:
        for tracker in self.trackers:
            tracker.finish()
        if self.board is not None:
            with self._told():
                self.board.close()

    def _told(self) -> AbstractContextManager[None]:
        """Turn what TensorBoard raises where the disk is full into a line."""
        return wrap_write_errors(self.run and self.run / BOARD)

    def write_step(self, values: dict[str, Any]) -> None:
        """Log a training step; `values` holds "step"."""
        self._write(STEPS, values, "train")

    def write_scores(self, values: dict[str, Any]) -> None:
        """Log an epoch; `values` holds "step" and "epoch"."""
        self._write(SCORES, values, "val")

    def write_panel(self, picture: NDArray[np.uint8], epoch: int, step: int) -> None:
        """Keep a picture ``(H, W, 3)``, RGB, as ``panels/epoch_<number>.png``."""
        if self.run is None:
            return
        _, coded = cv2.imencode(".png", np.ascontiguousarray(picture[..., ::-1]))
        write_atomically(self.run / PANELS / f"epoch_{epoch:03d}.png", coded.tobytes())
        if self.board is not None:
            with self._told():
                self.board.add_image("val/panel", picture, step, dataformats="HWC")

    def _write(self, name: str, values: dict[str, Any], group: str) -> None:
        if self.run is None:
            return
        path = self.run / name
        if not values.keys() <= {*self._columns.get(name, ())}:
            columns, rows = _read(path)
            missing = [key for key in values if key not in columns]
            if missing:  # a new file, or a run that goes on with other losses
                columns += missing
                _rewrite(path, columns, rows)
            self._columns[name] = columns
        with wrap_write_errors(path), path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, self._columns[name], restval="").writerow(values)
        numbers = {
            f"{group}/{key}": value
            for key, value in values.items()
            if key not in ("step", "epoch") and value is not None
        }
        for tracker in self.trackers:
            tracker.log(numbers, step=values["step"])
        if self.board is not None:
            with self._told():
                for key, value in numbers.items():
                    self.board.add_scalar(key, value, values["step"])


def check_trackers(names: Sequence[str]) -> None:
    """Refuse trackers that accelerate does not know, or whose package is not installed.

    Raises:
        AvsegError: if one, or accelerate, is not installed.
        ConfigError: if one is unknown.
    """
    try:
        from accelerate.tracking import LOGGER_TYPE_TO_CLASS, get_available_trackers
    except ImportError as error:
        raise AvsegError("--log-with needs accelerate", install_hint("train")) from error
    installed = [tracker.value for tracker in get_available_trackers()]
    for name in names:
        if name not in LOGGER_TYPE_TO_CLASS:
            known = ", ".join(sorted(LOGGER_TYPE_TO_CLASS))
            raise ConfigError(f"unknown tracker '{name}'", f"accelerate knows {known}")
        if name not in installed:
            raise AvsegError(f"the tracker {name} is not installed", f"pip install {name}")


def _open_trackers(names: Sequence[str], run: Path, settings: Mapping[str, Any]) -> list[Any]:
    """Open trackers through accelerate, and tell them the settings."""
    import torch
    from accelerate import Accelerator

    folder = run / TRACKERS
    folder.mkdir(parents=True, exist_ok=True)
    accelerator = Accelerator(
        cpu=not torch.cuda.is_available(),
        mixed_precision="no",
        log_with=list(names),
        project_dir=folder,
    )
    flat = {
        f"{table}.{key}": value if isinstance(value, bool | int | float | str) else str(value)
        for table, values in settings.items()
        for key, value in values.items()
    }
    accelerator.init_trackers(run.resolve().name, config=flat)
    return list(accelerator.trackers)


def former_logs(run: Path) -> list[Path]:
    """List the logs of a run that have the names of older versions.

    A table of scores that `avseg eval` wrote under such a name is not a log, and is left out.
    """
    logs = []
    for name in FORMER_NAMES:
        with suppress(OSError, UnicodeDecodeError), (run / name).open(encoding="utf-8") as file:
            if "step" in file.readline().strip().split(","):
                logs.append(run / name)
    return logs


def _read(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Read the names of the columns and the rows; none if there is no such file."""
    if not path.exists():
        return [], []
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        columns = [FORMER_COLUMNS.get(name, name) for name in reader.fieldnames or ()]
        reader.fieldnames = columns
        return columns, list(reader)


def _rewrite(path: Path, columns: list[str], rows: list[dict[str, str]]) -> None:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, restval="", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, text.getvalue())


def _drop_later(path: Path, step: int) -> None:
    try:
        columns, rows = _read(path)
        # The last row is cut off where the disk was full: what it lacks is None.
        kept = [row for row in rows if None not in row.values() and int(row["step"]) <= step]
    except (ValueError, KeyError, csv.Error) as error:
        raise AvsegError(f"{path} is damaged", "mend it, or delete it: it begins anew") from error
    if columns:
        _rewrite(path, columns, kept)
