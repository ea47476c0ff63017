import subprocess
import sys

from avsegcli.files import file_lock
from avsegcli.files.file_lock import locked

HOLD = """
import sys, time
from pathlib import Path
from avsegcli.files.file_lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_lock_is_free_once_its_holder_is_killed(tmp_path):
    path = tmp_path / "lock"
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        with locked(path, on_wait=holder.kill) as waited:
            assert waited
    with locked(path) as waited:
        assert not waited
    assert list(tmp_path.iterdir()) == []


def test_a_lock_that_was_removed_meanwhile_is_not_taken(tmp_path, monkeypatch):
    path = tmp_path / "lock"
    taken = file_lock.fcntl.flock

    def removed(file, how):
        monkeypatch.undo()
        path.unlink()
        taken(file, how)

    monkeypatch.setattr("avsegcli.files.file_lock.fcntl.flock", removed)
    with locked(path) as waited:
        assert waited
        assert path.exists()


def test_a_file_system_without_locks_lets_everybody_pass(tmp_path, monkeypatch):
    def unknown(_file, _how):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("avsegcli.files.file_lock.fcntl.flock", unknown)
    with locked(tmp_path / "lock") as first, locked(tmp_path / "lock") as second:
        assert not first
        assert not second
