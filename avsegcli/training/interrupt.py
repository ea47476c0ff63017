"""Ctrl-C at a moment when it does no harm."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def unbroken() -> Iterator[None]:
    """Put Ctrl-C off until the block is done; a second one is not put off.

    Raises:
        KeyboardInterrupt: after the block, if Ctrl-C was pressed in it.

    Example:
        >>> done = []
        >>> try:
        ...     with unbroken():
        ...         signal.raise_signal(signal.SIGINT)
        ...         done.append("step")
        ... except KeyboardInterrupt:
        ...     done.append("interrupt")
        >>> done
        ['step', 'interrupt']
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread hears signals
        return
    before = signal.getsignal(signal.SIGINT)
    pressed = False

    def remember(_number: int, _frame: FrameType | None) -> None:
        nonlocal pressed
        pressed = True
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, remember)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed:
        raise KeyboardInterrupt
