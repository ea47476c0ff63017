import os

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from avsegcli.errors import AvsegError
from avsegcli.training.out_of_memory import out_of_memory_hint


def on_a_gpu():
    raise torch.OutOfMemoryError(
        "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 8.00 GiB. "
        "See documentation for Memory Management"
    )


def on_a_cpu():
    torch.empty(2**50)


def in_numpy():
    np.empty(2**50)


@pytest.mark.parametrize("need", [on_a_gpu, on_a_cpu, in_numpy])
def test_too_little_memory_is_one_line_that_says_what_needs_less(need):
    with pytest.raises(AvsegError, match="not enough memory: ") as caught, out_of_memory_hint():
        need()
    assert "See documentation" not in caught.value.message
    assert "\n" not in caught.value.message
    assert "data.batch_size" in caught.value.hint


class Lost:
    def __len__(self):
        return 1

    def __getitem__(self, _):
        os._exit(1)


def test_a_lost_process_that_loads_clips_is_one_line():
    clips = iter(DataLoader(Lost(), num_workers=1))
    with (
        pytest.raises(AvsegError, match="loads clips was lost") as caught,
        out_of_memory_hint(),
    ):
        next(clips)
    assert "data.workers" in caught.value.hint


def test_other_errors_keep_their_traceback():
    with pytest.raises(RuntimeError, match="a bug"), out_of_memory_hint():
        raise RuntimeError("Caught RuntimeError in DataLoader worker process 0. It is a bug")
