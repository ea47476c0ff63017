"""Read the clips that come next while the present one is scored."""

from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

from avsegcli.datasets.clip import Clip, ClipDataset


def read_ahead(
    dataset: ClipDataset, indices: Sequence[int], workers: int
) -> Generator[Clip, None, None]:
    """Read clips in threads, and give them out in order.

    At most `workers` clips are read or wait at a time. Decoding pictures and sound leaves the
    interpreter to others, so that threads do.

    Args:
        dataset: the clips; reading one must not disturb reading another.
        indices: places of the clips in the data set.
        workers: number of threads.

    Raises:
        DataError: if a clip cannot be read, when it is its turn.
    """
    pool = ThreadPoolExecutor(workers)
    remaining = iter(indices)
    waiting: deque[Future[Clip]] = deque()
    try:
        for index in islice(remaining, workers):
            waiting.append(pool.submit(dataset.__getitem__, index))
        while waiting:
            clip = waiting.popleft().result()
            for index in islice(remaining, 1):
                waiting.append(pool.submit(dataset.__getitem__, index))
            yield clip
    finally:
        pool.shutdown(cancel_futures=True)
