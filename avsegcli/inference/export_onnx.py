"""A checkpoint to an ONNX graph that runs without torch: network and merging of queries in one.

    inputs    frames   (1, T, 3, H, W)    ImageNet-normalised, H and W multiples of 32
              log_mel  (1, T, 1, 96, 64)
              valid    (1, H, W)          bool, True = real
    output    probs    (T, L + 1, H / 4, W / 4)

T, H and W are free. Batch norms are folded, weights are stored in half precision and computed with
in single precision. The metadata entry "avseg" says, as JSON, what the graph was made from.
"""

import json
import struct
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from avsegcli.config import ModelConfig
from avsegcli.errors import AvsegError, ConfigError, WeightsError, install_hint
from avsegcli.files.atomic import check_can_create, write_atomically
from avsegcli.files.fetch import file_sha256
from avsegcli.files.weights import packaged_weights
from avsegcli.inference.checkpoint import LoadedModel, load_checkpoint
from avsegcli.inference.class_probs import class_probs
from avsegcli.inference.fuse import fuse_for_inference
from avsegcli.model.qsd import QSD

OPSET = 18
HALF_FROM = 256  # values; smaller tensors stay in single precision


def export_graph(
    weights: Path | None, output: Path, *, external: bool = False, force: bool = False
) -> None:
    """Write the graph of a checkpoint.

    Args:
        weights: a checkpoint; None: the packaged one.
        output: ends in .onnx; it appears when it is complete.
        external: leave the large weights in the checkpoint, which must lie beside `output` and
            hold half precision; the graph refers to their places in it.
        force: replace `output` if it exists.

    Raises:
        AvsegError: if the checkpoint cannot be read, or its graph not be made or written.
    """
    if output.suffix != ".onnx":
        raise ConfigError(f"{output} does not end in .onnx")
    check_can_create(output, force=force)
    try:
        import onnx
    except ImportError as error:
        raise AvsegError("the package onnx is missing", install_hint("export")) from error
    weights = packaged_weights() if weights is None else weights
    if external and weights.resolve().parent != output.resolve().parent:
        raise ConfigError(
            f"{output} cannot refer to weights in another folder", f"write it beside {weights}"
        )
    loaded = load_checkpoint(weights)
    said = {
        "name": loaded.name,
        "classes": list(loaded.classes),
        "model": asdict(loaded.config),
        "sha256": file_sha256(weights),
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.onnx"
        _trace(loaded, path)
        graph = onnx.load(path)
    _store_in_half(graph.graph, weights, _places(weights) if external else {})
    graph.metadata_props.add(key="avseg", value=json.dumps(said))
    write_atomically(output, graph.SerializeToString())


class _NetworkWithPostprocess(nn.Module):
    """The network and what is made of its answer."""

    def __init__(self, network: QSD, config: ModelConfig) -> None:
        super().__init__()
        self.network, self.config = network, config

    def forward(self, frames: Tensor, log_mel: Tensor, valid: Tensor) -> Tensor:
        output = self.network(frames, log_mel, valid)
        config = self.config
        return class_probs(
            output, config.class_threshold, config.score_fusion, config.visible_share
        )[0]


def _trace(loaded: LoadedModel, path: Path) -> None:
    # Sizes that differ from one another, with padding, so that none is taken for another.
    frames, log_mel = torch.zeros(1, 3, 3, 96, 160), torch.zeros(1, 3, 1, 96, 64)
    valid = torch.ones(1, 96, 160, dtype=torch.bool)
    valid[:, 80:] = False
    whole = _NetworkWithPostprocess(fuse_for_inference(loaded.model), loaded.config).eval()
    axes = {
        "frames": {1: "T", 3: "H", 4: "W"},
        "log_mel": {1: "T"},
        "valid": {1: "H", 2: "W"},
        "probs": {0: "T", 2: "h", 3: "w"},
    }
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # sizes that become constants: a test tries others
            torch.onnx.export(
                whole,
                (frames, log_mel, valid),
                str(path),
                dynamo=False,
                opset_version=OPSET,
                do_constant_folding=False,  # the weights stay as the checkpoint has them
                input_names=["frames", "log_mel", "valid"],
                output_names=["probs"],
                dynamic_axes=axes,
            )
    except (RuntimeError, torch.onnx.errors.OnnxExporterError) as error:
        raise AvsegError(
            f"no ONNX graph can be made of the model '{loaded.name}': {str(error).splitlines()[0]}"
        ) from error


class _Place(NamedTuple):
    """Where a half-precision tensor lies in a safetensors file."""

    file: str
    offset: int  # bytes
    length: int
    shape: tuple[int, ...]


def _places(weights: Path) -> dict[str, _Place]:
    """Find the half-precision tensors of a checkpoint by name."""
    with weights.open("rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(size))
    return {
        name: _Place(weights.name, 8 + size + begin, end - begin, tuple(entry["shape"]))
        for name, entry in header.items()
        if name != "__metadata__" and entry["dtype"] == "F16"
        for begin, end in [entry["data_offsets"]]
    }


def _store_in_half(graph: object, weights: Path, places: Mapping[str, _Place]) -> None:
    """Store large weights as fp16, cast to fp32 where they are used; ONNX Runtime does so once.

    Those that have a place in a checkpoint are not stored again.
    """
    import numpy as np
    from onnx import GraphProto, TensorProto, helper, numpy_helper

    assert isinstance(graph, GraphProto)
    casts = []
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < HALF_FROM:
            continue
        half = values.astype(np.float16)
        if not np.isfinite(half).all():
            raise WeightsError(f"{weights}: '{tensor.name}' does not fit half precision")
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(half, f"{name}_half"))
        place = places.get(name.removeprefix("network."))
        if place is not None and place.shape == values.shape:
            tensor.ClearField("raw_data")
            tensor.data_location = TensorProto.EXTERNAL
            for key, value in (
                ("location", place.file),
                ("offset", place.offset),
                ("length", place.length),
            ):
                tensor.external_data.add(key=key, value=str(value))
        casts.append(helper.make_node("Cast", [f"{name}_half"], [name], to=TensorProto.FLOAT))
    for position, node in enumerate(casts):
        graph.node.insert(position, node)
