"""Let one stage of a pipeline work while the next one is busy."""

import threading
from collections.abc import Generator
from queue import SimpleQueue
from typing import NamedTuple, TypeVar

Item = TypeVar("Item")


class _Failed(NamedTuple):
    error: BaseException


class _Done:
    pass


def prefetch(items: Generator[Item, None, None]) -> Generator[Item, None, None]:
    """Run a generator in a thread of its own, one item ahead of its consumer.

    Only one item is ever made or waiting: the next one is begun when the last one is taken, so
    a chain of stages holds one item each. An error in the thread is raised here. When it is
    closed, the thread ends after the item it is at, and closes `items`.
    """
    results: SimpleQueue[Item | _Failed | _Done] = SimpleQueue()
    wanted = threading.Semaphore(1)
    stopped = threading.Event()

    def work() -> None:
        try:
            while True:
                wanted.acquire()
                if stopped.is_set():
                    break
                results.put(next(items))
        except StopIteration:
            results.put(_Done())
        except BaseException as error:
            results.put(_Failed(error))
        finally:
            items.close()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while not isinstance(result := results.get(), _Done):
            if isinstance(result, _Failed):
                raise result.error
            wanted.release()
            yield result
    finally:
        stopped.set()
        wanted.release()
        thread.join()
