"""Read AVSBench's log-mel files: pickled torch tensors, of which no code is run."""

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from avsegcli.audio.log_mel import EXAMPLE_FRAMES, NUM_BANDS
from avsegcli.errors import DataError


class _TensorUnpickler(pickle.Unpickler):
    """Rebuilds tensors, and refuses everything else that a pickle may name."""

    def find_class(self, module: str, name: str) -> Any:
        """Give one of the few functions that a pickled tensor needs."""
        import torch
        from torch._utils import _rebuild_tensor_v2

        def load_storage(content: bytes) -> Any:
            # What is inside is a pickle again.
            return torch.load(io.BytesIO(content), weights_only=True)

        known = {
            ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor_v2,
            ("torch.storage", "_load_from_bytes"): load_storage,
            ("collections", "OrderedDict"): dict,
        }
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return known[module, name]


def read_log_mel(path: Path) -> NDArray[np.float32]:
    """Read the examples of a clip, written by ``pickle.dump`` or ``torch.save``.

    Returns:
        ``(T, 96, 64)``.

    Raises:
        DataError: if the file cannot be read, holds anything but a tensor, or one of another shape.
    """
    import torch

    try:
        content = path.read_bytes()
        if content[:2] == b"PK":
            tensor = torch.load(io.BytesIO(content), weights_only=True)
        else:
            tensor = _TensorUnpickler(io.BytesIO(content)).load()
        examples = np.asarray(tensor.detach().numpy(), np.float32)
        return examples.reshape(-1, EXAMPLE_FRAMES, NUM_BANDS)
    except OSError as error:
        raise DataError(f"{path} is missing or cannot be read") from error
    except Exception as error:  # a damaged pickle can raise anything
        reason = str(error).partition("\n")[0]
        raise DataError(f"{path} is no file of log-mel examples: {reason}") from error
