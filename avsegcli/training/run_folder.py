"""Files of a run folder, and the checks before a new run uses it."""

import json
import shutil
from pathlib import Path
from typing import Any

from avsegcli.config import Config, current_names
from avsegcli.errors import AvsegError
from avsegcli.files.atomic import HIDDEN, check_can_write, resolved_path
from avsegcli.inference.checkpoint import read_header
from avsegcli.training.run_log import BOARD, PANELS, SCORES, STEPS, TRACKERS, former_logs

CONFIG, STATE = "config.json", "state.pt"
BEST, LAST = "best.safetensors", "last.safetensors"
RESULTS = (STATE, BEST, LAST)
EPOCHS = "epochs"  # checkpoints of the best epochs
RUN_FILES = (*RESULTS, CONFIG, STEPS, SCORES, PANELS, BOARD, TRACKERS, EPOCHS)


def has_results(run: Path) -> bool:
    """Say whether a folder holds something that a new run would replace."""
    return any((run / name).exists() for name in RESULTS)


def check_run_folder(run: Path, *, may_hold_run: bool) -> None:
    """Refuse a folder before anything is read or computed for it.

    Args:
        run: need not be there.
        may_hold_run: whether a run that it holds is no reason.

    Raises:
        AvsegError: if it holds a run, is no folder, or cannot be made or written to.
    """
    if has_results(run) and not may_hold_run:
        if not (run / STATE).exists():
            raise no_state(run)
        raise AvsegError(
            f"{run} holds a run already", "--resume goes on with it, --force replaces it"
        )
    check_can_write(run / CONFIG)


def check_not_run_file(path: Path) -> None:
    """Refuse to write scores over a file that a training run keeps for itself.

    Raises:
        AvsegError: if the folder of `path` holds a run, and `path` is one of its files.
    """
    place = resolved_path(path)
    run = place.parent
    if has_results(run) and (place.name in RUN_FILES or place in former_logs(run)):
        raise AvsegError(
            f"{path} belongs to the training run in {path.parent}", "Choose another name."
        )


def no_state(run: Path) -> AvsegError:
    """Build the error for a folder without a saved state, with a hint."""
    checkpoint = next((run / name for name in (LAST, BEST) if (run / name).exists()), None)
    if checkpoint is None:
        return AvsegError(f"no state to resume in {run}", "leave --resume out to begin anew")
    return AvsegError(
        f"{run} holds a run, but no state to go on from",
        f"--force begins anew, --force --init {checkpoint} from its weights",
    )


def saved_settings(run: Path) -> dict[str, Any]:
    """Read classes, origin and settings of a run; empty if they are not there."""
    try:
        saved = json.loads((run / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return saved if isinstance(saved, dict) else {}


def changed_settings(run: Path, config: Config) -> list[str]:
    """Say which settings differ from those that a run was begun with, one sentence each."""
    before = current_names(saved_settings(run))
    if not before:
        return []
    now = json.loads(json.dumps(config.to_dict()))  # lists for tuples
    return [
        f"{table}.{key} was {before[table][key]}, is now {value}"
        for table, settings in now.items()
        for key, value in settings.items()
        if before.get(table, {}).get(key, value) != value
    ]


def epoch_checkpoints(run: Path) -> list[Path]:
    """List the checkpoints of epochs that a run keeps, the best one first."""
    paths = sorted((run / EPOCHS).glob("epoch_*.safetensors"))
    return sorted(paths, key=lambda path: read_header(path)["reached"]["score"], reverse=True)


def keep_best_epochs(run: Path, count: int) -> None:
    """Delete the checkpoints of epochs but for the best ones."""
    for path in epoch_checkpoints(run)[count:]:
        path.unlink()


def remove_run(run: Path) -> None:
    """Delete the files of a run, and nothing else that may lie in its folder."""
    remove_unfinished(run)
    for path in [*(run / name for name in RUN_FILES), *former_logs(run)]:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    if run.is_dir() and not any(run.iterdir()):
        run.rmdir()


def remove_unfinished(run: Path) -> None:
    """Delete the checkpoints and states that a run was writing when it was killed."""
    for suffix in (".pt", ".safetensors"):
        for path in run.glob(f"{HIDDEN}*{suffix}"):
            path.unlink(missing_ok=True)
