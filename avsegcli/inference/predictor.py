"""Open a predictor: choose ONNX Runtime, OpenVINO or PyTorch. Imports no torch by itself."""

import platform
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from avsegcli.errors import AvsegError, ConfigError, install_hint
from avsegcli.files.weights import packaged_graph

if TYPE_CHECKING:
    from avsegcli.inference.graph_predictor import GraphPredictor
    from avsegcli.inference.torch_predictor import Predictor

Engine = Literal["auto", "onnx", "openvino", "torch"]
NAMES = {"onnx": "ONNX Runtime", "openvino": "OpenVINO"}
GRAPH = ".onnx"


def open_predictor(
    weights: Path | None = None, device: str = "auto", engine: Engine = "auto"
) -> "GraphPredictor | Predictor":
    """Load a model.

    Args:
        weights: a checkpoint, or a graph of `avseg export`; None: what the package carries.
        device: auto, cpu, cuda or mps; ONNX Runtime and OpenVINO are used on the CPU only.
        engine: "auto" takes ONNX Runtime for graphs and, on a machine without a GPU, for the
            packaged model; PyTorch otherwise.

    Raises:
        AvsegError: if the engine is not installed.
        ConfigError: if the three do not go together.
        WeightsError: if the file cannot be read.
    """
    is_graph = weights is not None and weights.suffix == GRAPH
    if engine == "auto":
        on_cpu = device == "cpu" or (device == "auto" and not _may_have_gpu())
        packaged = weights is None and on_cpu and packaged_graph() is not None
        engine = "onnx" if is_graph or packaged else "torch"
    if engine == "torch":
        if is_graph:
            raise ConfigError(f"PyTorch cannot run {weights}", "leave --engine out")
        from avsegcli.inference.torch_predictor import Predictor

        return Predictor(weights, device)
    if device not in ("auto", "cpu"):
        raise ConfigError(f"{NAMES[engine]} is used on the CPU only, not on '{device}'")
    graph = packaged_graph() if weights is None else weights
    if graph is None:
        raise ConfigError("this copy of avseg carries no graph", "avseg export makes one")
    if graph.suffix != GRAPH:
        raise ConfigError(
            f"{NAMES[engine]} cannot run {graph}",
            f"make a graph: avseg export {graph} -o model.onnx",
        )
    if engine == "onnx":
        from avsegcli.inference.onnx_predictor import OnnxPredictor

        return OnnxPredictor(graph)
    try:
        from avsegcli.inference.openvino_predictor import OpenVinoPredictor
    except ImportError as error:
        raise AvsegError("OpenVINO is not installed", install_hint("openvino")) from error
    return OpenVinoPredictor(graph)


def _may_have_gpu() -> bool:
    """Say whether it is worth asking torch, which takes seconds to load, for a GPU."""
    if sys.platform == "darwin":
        return platform.machine() == "arm64"
    return Path("/proc/driver/nvidia").exists() or shutil.which("nvidia-smi") is not None
