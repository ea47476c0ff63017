"""What lies in the folder of a run, and when a new run may go there."""

import json
import shutil
from pathlib import Path
from typing import Any

from avsegcli.config import Config
from avsegcli.errors import AvsegError
from avsegcli.training.run_log import BOARD, PANELS, SCORES, STEPS
from avsegcli.whole_file import check_place

CONFIG, STATE, BEST = "config.json", "state.pt", "best.safetensors"
RESULTS = (STATE, BEST, "last.safetensors")
RUN_FILES = (*RESULTS, CONFIG, STEPS, SCORES, PANELS, BOARD)


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
        raise AvsegError(
            f"{run} holds a run already", "--resume goes on with it, --force replaces it"
        )
    check_place(run / CONFIG)


def saved_settings(run: Path) -> dict[str, Any]:
    """Read the classes and settings that a run was begun with; none if they are not there."""
    try:
        saved = json.loads((run / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return saved if isinstance(saved, dict) else {}


def changed_settings(run: Path, config: Config) -> list[str]:
    """Say which settings differ from those that a run was begun with, one sentence each."""
    before = saved_settings(run)
    if not before:
        return []
    now = json.loads(json.dumps(config.to_dict()))  # lists for tuples
    return [
        f"{table}.{key} was {before[table][key]}, is now {value}"
        for table, settings in now.items()
        for key, value in settings.items()
        if before.get(table, {}).get(key, value) != value
    ]


def remove_run(run: Path) -> None:
    """Delete the files of a run, and nothing else that may lie in its folder."""
    for name in RUN_FILES:
        path = run / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    if run.is_dir() and not any(run.iterdir()):
        run.rmdir()
