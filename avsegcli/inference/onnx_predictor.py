"""The network in ONNX Runtime, which starts at once."""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from avsegcli.inference.graph_predictor import GraphPredictor

# Without this it would report on itself over the network, without asking, and write to HOME.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime


class OnnxPredictor(GraphPredictor):
    """A graph of `avseg export` in ONNX Runtime."""

    def _open(self, graph: Path) -> dict[str, str]:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        # Threads that wait must sleep: decoding and encoding want the same cores.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 4  # errors are raised, too
        self._session = onnxruntime.InferenceSession(
            str(graph), options, providers=["CPUExecutionProvider"]
        )
        return dict(self._session.get_modelmeta().custom_metadata_map)

    @property
    def device_name(self) -> str:
        """Name of the device that the model runs on, for the user."""
        return f"cpu, ONNX Runtime, {self.threads} threads"

    def _run(self, inputs: dict[str, NDArray[np.generic]]) -> NDArray[np.float32]:
        probs: NDArray[np.float32] = self._session.run(["probs"], inputs)[0]
        return probs
