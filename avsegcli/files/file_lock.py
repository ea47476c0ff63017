"""A lock among processes: a file held open, which the system frees if its holder dies."""

import errno
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

POLL_S = 0.2
_HELD = (errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK)


@contextmanager
def locked(path: Path, on_wait: Callable[[], None] | None = None) -> Iterator[bool]:
    """Hold a lock; say whether another held it before.

    Where the file system knows no locks, as some of clusters, nobody waits.

    Args:
        path: of the lock, made and removed; its folder exists.
        on_wait: called once if another holds it.

    Raises:
        OSError: if the file cannot be made.
    """
    waited = False
    while (file := _take(path)) is None:
        if not waited and on_wait is not None:
            on_wait()
        waited = True
        time.sleep(POLL_S)
    with file:
        try:
            yield waited
        finally:
            with suppress(OSError):  # Windows keeps what is open
                path.unlink()


def _take(path: Path) -> IO[bytes] | None:
    """Open and lock a file; None if another holds it."""
    file = path.open("ab")
    try:
        if sys.platform == "win32":
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(file.fileno()), path.stat()):
            return file
    except FileNotFoundError:  # its holder has just removed it
        pass
    except OSError as error:
        if error.errno not in _HELD:
            return file
    file.close()
    return None
