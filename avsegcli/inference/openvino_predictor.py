"""The network in OpenVINO, which takes longer to start than ONNX Runtime."""

import sys
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from avsegcli.inference.graph_predictor import GraphPredictor

# With this module it would report every import over the network, without asking.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import openvino  # noqa: E402


class OpenVinoPredictor(GraphPredictor):
    """A graph of `avseg export` in OpenVINO."""

    def _open(self, graph: Path) -> dict[str, str]:
        core = openvino.Core()
        model = core.read_model(str(graph))
        settings = {
            "INFERENCE_NUM_THREADS": self.threads,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "f32",  # else bf16 on some CPUs, with other masks
        }
        self._request = core.compile_model(model, "CPU", settings).create_infer_request()
        self._lock = Lock()  # a request answers one question at a time
        place = ["framework", "avseg"]
        return {"avseg": model.get_rt_info(place).value} if model.has_rt_info(place) else {}

    @property
    def device_name(self) -> str:
        """Name of the device that the model runs on, for the user."""
        return f"cpu, OpenVINO, {self.threads} threads"

    def _run(self, inputs: dict[str, NDArray[np.generic]]) -> NDArray[np.float32]:
        with self._lock:
            self._request.infer(inputs)
            probs: NDArray[np.float32] = self._request.get_tensor("probs").data.copy()
        return probs
