import threading
import time

import pytest

from avsegcli.video.prefetch import prefetch


def test_items_arrive_in_order():
    assert list(prefetch(i for i in range(50))) == list(range(50))


def test_only_one_item_is_made_ahead():
    made = []

    def items():
        for i in range(10):
            made.append(i)
            yield i

    stream = prefetch(items())
    assert next(stream) == 0
    time.sleep(0.05)
    assert made == [0, 1]
    stream.close()


def test_an_error_in_the_thread_is_raised_here():
    def items():
        yield 1
        raise OSError("gone")

    stream = prefetch(items())
    assert next(stream) == 1
    with pytest.raises(OSError, match="gone"):
        next(stream)


def test_closing_ends_the_threads_and_closes_what_they_run():
    closed = []

    def items():
        try:
            while True:
                yield 0
        finally:
            closed.append(threading.current_thread())

    inner = prefetch(items())
    stream = prefetch(item for item in inner)
    next(stream)
    stream.close()
    inner.close()
    assert not closed[0].is_alive()
