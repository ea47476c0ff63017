"""The network as an ONNX graph, asked with plain arrays; whoever runs it says how."""

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from avsegcli.config import ModelConfig
from avsegcli.device import usable_cpus
from avsegcli.errors import WeightsError
from avsegcli.inference.postprocess import MASK_THRESHOLD
from avsegcli.inference.preprocess import CELL, prepare_frames


class GraphPredictor(ABC):
    """A graph of `avseg export` on the CPU: the answers of `predictor`, without torch.

    Args:
        graph: the .onnx file.

    Raises:
        WeightsError: if it is missing, damaged or no graph of avseg.
    """

    threshold = MASK_THRESHOLD
    num_frames = 5  # T that the paper uses; any other works

    def __init__(self, graph: Path) -> None:
        if not graph.is_file():
            raise WeightsError(f"no weights at {graph}", "avseg export makes an .onnx file")
        self.threads = usable_cpus()
        try:
            metadata = self._open(graph)
        except Exception as error:  # the engines' errors have no common base but this
            raise WeightsError(f"cannot read {graph} as an ONNX graph") from error
        try:
            said = json.loads(metadata["avseg"])
            self.model_name, self.classes = str(said["name"]), tuple(said["classes"])
            self.size = int(said["model"].get("size", ModelConfig.size))
        except (KeyError, ValueError, TypeError, AttributeError) as error:
            raise WeightsError(f"{graph} was not made by avseg export") from error

    @abstractmethod
    def _open(self, graph: Path) -> dict[str, str]:
        """Make the graph ready to run, with `self.threads`; return its metadata."""

    @abstractmethod
    def _run(self, inputs: dict[str, NDArray[np.generic]]) -> NDArray[np.float32]:
        """Return ``(T, L + 1, h, w)`` for `frames`, `log_mel` and `valid`."""

    @property
    @abstractmethod
    def device_name(self) -> str:
        """Name of the device that the model runs on, for the user."""

    def predict(
        self, frames: Sequence[NDArray[np.uint8]], log_mel: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Find what sounds in a clip; the contract of `torch_predictor.Predictor.predict`."""
        pictures, (height, width) = prepare_frames(frames, self.size)
        valid = np.zeros((1, *pictures.shape[1:3]), bool)
        valid[:, :height, :width] = True
        probs = self._run(
            {
                "frames": np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))[None],
                "log_mel": log_mel[None, :, None],
                "valid": valid,
            }
        )
        return probs[..., : height // CELL, : width // CELL]
