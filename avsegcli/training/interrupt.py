"""Ctrl-C, or being asked to end (SIGTERM), at a moment when it does no harm."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

PUT_OFF = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def unbroken() -> Iterator[None]:
    """Put Ctrl-C and SIGTERM off until the block is done; a second one is not put off.

    After the block they do what they would have done in it, like raising KeyboardInterrupt.

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
    before = {number: signal.getsignal(number) for number in PUT_OFF}
    heard: list[int] = []

    def remember(number: int, _frame: FrameType | None) -> None:
        heard.append(number)
        signal.signal(number, before[signal.Signals(number)])

    for number in PUT_OFF:
        signal.signal(number, remember)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    for caught in heard:
        signal.raise_signal(caught)
