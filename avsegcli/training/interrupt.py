"""Ctrl-C, or being asked to end (SIGTERM), at a moment when it does no harm."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from avsegcli.errors import AvsegError

PUT_OFF = (signal.SIGINT, signal.SIGTERM)
ECHO = 1.0  # seconds; Slurm asks torchrun and its processes, and torchrun asks these once more

_put_off_already = False


@contextmanager
def defer_signals() -> Iterator[list[int]]:
    """Put Ctrl-C and SIGTERM off until the block is done; a second one is not put off.

    After the block they do what they would have done in it, like raising KeyboardInterrupt, also if
    the block fails: only an `AvsegError` ends the program by itself and tells more. One that comes
    within `ECHO` of the first is the same. Such a block inside another changes nothing.

    Yields:
        The signals that were put off, a list that grows.

    Example:
        >>> done = []
        >>> try:
        ...     with defer_signals():
        ...         signal.raise_signal(signal.SIGINT)
        ...         done.append("step")
        ... except KeyboardInterrupt:
        ...     done.append("interrupt")
        >>> done
        ['step', 'interrupt']
    """
    global _put_off_already
    heard: list[int] = []
    if threading.current_thread() is not threading.main_thread() or _put_off_already:
        yield heard  # only the main thread hears signals
        return
    handlers = {number: signal.getsignal(number) for number in PUT_OFF}
    before = {  # None: a handler that is not Python's
        number: handler
        for number, handler in handlers.items()
        if handler not in (signal.SIG_IGN, None)
    }
    first = 0.0

    def remember(number: int, _frame: FrameType | None) -> None:
        nonlocal first
        if not heard:
            heard.append(number)
            first = time.monotonic()
        elif time.monotonic() - first > ECHO:
            restore()
            signal.raise_signal(number)

    def restore() -> None:
        global _put_off_already
        for number, handler in before.items():
            signal.signal(number, handler)
        _put_off_already = False

    _put_off_already = True
    for number in before:
        signal.signal(number, remember)
    try:
        yield heard
    except AvsegError:
        heard.clear()
        raise
    finally:
        restore()
        for caught in heard:
            signal.raise_signal(caught)
