import signal

import pytest

from avsegcli.errors import AvsegError
from avsegcli.training import interrupt
from avsegcli.training.interrupt import defer_signals


def ask(number=signal.SIGINT):
    signal.raise_signal(number)


@pytest.fixture(autouse=True)
def _handlers():
    before = {number: signal.getsignal(number) for number in interrupt.PUT_OFF}
    yield
    assert {number: signal.getsignal(number) for number in before} == before


@pytest.fixture
def seconds(monkeypatch):
    """What the clock says, a list with one number."""
    now = [100.0]
    monkeypatch.setattr(interrupt.time, "monotonic", lambda: now[0])
    return now


def test_a_block_that_fails_does_not_swallow_the_signal():
    def fail():
        with defer_signals():
            ask()
            raise RuntimeError("a collective broke")

    with pytest.raises(KeyboardInterrupt) as caught:
        fail()
    assert isinstance(caught.value.__context__, RuntimeError)


def test_an_error_that_the_user_should_read_comes_first():
    def fail():
        with defer_signals():
            ask()
            raise AvsegError("disk full")

    with pytest.raises(AvsegError, match="disk full"):
        fail()


def test_a_second_signal_ends_the_block_at_once(seconds):
    done = []

    def work():
        with defer_signals():
            ask()
            seconds[0] += 2
            done.append("first")
            ask()
            done.append("second")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["first"]


def test_a_signal_that_is_told_twice_is_one(seconds):
    done = []

    def work():
        with defer_signals() as heard:
            ask()
            seconds[0] += 0.5
            ask()
            done.append(list(heard))

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == [[signal.SIGINT]]


def test_a_block_in_a_block_leaves_the_signal_to_the_outer_one(seconds):
    done = []

    def work():
        with defer_signals():
            with defer_signals():
                ask()
            done.append("inner")
            with defer_signals():
                seconds[0] += 2
                ask()
                done.append("second")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["inner"]


def test_what_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with defer_signals() as heard:
            ask()
            assert heard == []
    finally:
        signal.signal(signal.SIGINT, before)
