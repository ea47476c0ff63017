"""Out-of-memory errors, reported with a hint."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from avsegcli.errors import AvsegError


@contextmanager
def out_of_memory_hint() -> Iterator[None]:
    """Turn out-of-memory errors into one line with a hint for a smaller run.

    Raises:
        AvsegError: if the memory of the GPU or the computer was not enough, or a process that loads
            clips was killed.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        said = str(error)
        short = ". ".join(said.partition("\n")[0].split(". ")[:2])
        if re.match(r"DataLoader worker \(pid", said):
            raise AvsegError(
                f"a process that loads clips was lost: {short}",
                "if memory was short, fewer of them need less: --set data.workers=1",
            ) from error
        if isinstance(error, MemoryError) or re.search("out of memory|can't allocate memory", said):
            raise AvsegError(
                f"not enough memory: {short}",
                "lower data.batch_size and raise optim.accumulate as much, "
                "or --set optim.activation_checkpointing=true",
            ) from error
        raise
