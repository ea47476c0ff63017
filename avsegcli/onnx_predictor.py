"""The network as an ONNX graph in ONNX Runtime: the answers of `predictor`, without torch."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from avsegcli.datasets.frames import CELL, prepare_frames
from avsegcli.errors import WeightsError


class OnnxPredictor:
    """A graph of `avseg export` that is asked with plain arrays, on the CPU.

    Args:
        graph: the .onnx file.

    Raises:
        WeightsError: if it is missing, damaged or no graph of avseg.
    """

    threshold = 0.5  # of a class probability: what passes it is an object
    num_frames = 5  # T that the paper uses; any other works

    def __init__(self, graph: Path) -> None:
        if not graph.is_file():
            raise WeightsError(f"no weights at {graph}", "avseg export makes an .onnx file")
        options = onnxruntime.SessionOptions()
        self.threads = _usable_cores()
        options.intra_op_num_threads = self.threads
        # Threads that wait must sleep: decoding and encoding want the same cores.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                str(graph), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # its classes of error have no common base but this
            raise WeightsError(f"cannot read {graph} as an ONNX graph") from error
        try:
            said = json.loads(self._session.get_modelmeta().custom_metadata_map["avseg"])
            self.model_name, self.classes = str(said["name"]), tuple(said["classes"])
        except (KeyError, ValueError, TypeError) as error:
            raise WeightsError(f"{graph} was not made by avseg export") from error

    @property
    def device_name(self) -> str:
        """What the model runs on, for a person to read."""
        return f"cpu, ONNX Runtime, {self.threads} threads"

    def predict(
        self, frames: Sequence[NDArray[np.uint8]], log_mel: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Find what sounds in a clip; the contract of `avsegcli.predictor.Predictor.predict`."""
        pictures, (height, width) = prepare_frames(frames)
        valid = np.zeros((1, *pictures.shape[1:3]), bool)
        valid[:, :height, :width] = True
        inputs = {
            "frames": np.ascontiguousarray(pictures.transpose(0, 3, 1, 2))[None],
            "log_mel": log_mel[None, :, None],
            "valid": valid,
        }
        probs: NDArray[np.float32] = self._session.run(["probs"], inputs)[0]
        return probs[..., : height // CELL, : width // CELL]


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
