"""Log-mel examples to one audio feature for each: VGGish, YAMNet, or a small encoder."""

import torch
from torch import Tensor, nn

from avsegcli.errors import AvsegError, ConfigError
from avsegcli.model.layers import SeparableBlock
from avsegcli.model.yamnet import YAMNet
from avsegcli.plugins import AUDIO_ENCODERS, load_plugin, plugin_names


class VGGish(nn.Module):
    """VGGish (Hershey et al. 2017) without its PCA, the audio encoder of the paper.

    Attribute names are those of torchvggish, so that its weights load as they are.
    """

    dim = 128
    num_tags = 0  # it names no classes

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        previous = 1
        for width, count in ((64, 1), (128, 1), (256, 2), (512, 2)):
            for _ in range(count):
                layers += [nn.Conv2d(previous, width, 3, padding=1), nn.ReLU(inplace=True)]
                previous = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.embeddings = nn.Sequential(
            nn.Linear(512 * 6 * 4, 4096),
            nn.ReLU(inplace=True),
            nn.Linear(4096, 4096),
            nn.ReLU(inplace=True),
            nn.Linear(4096, self.dim),
            nn.ReLU(inplace=True),
        )

    def forward(self, log_mel: Tensor) -> Tensor:
        """Encode log-mel examples ``(M, 1, 96, 64)`` as ``(M, 128)``."""
        features = self.features(log_mel)  # (M, 512, 6, 4)
        # The order of the original TensorFlow graph: frames, bands, channels.
        return self.embeddings(features.permute(0, 2, 3, 1).flatten(1))


class SmallAudioEncoder(nn.Module):
    """A separable convolution net of 19 million multiply-adds, for a CPU (VGGish: 864 million)."""

    dim = 256

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.BatchNorm2d(1),
            nn.Conv2d(1, 32, 3, 2, padding=1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(inplace=True),
        )
        plan = [(32, 64, 1), (64, 96, 2), (96, 96, 1), (96, 160, 2), (160, 160, 1), (160, 160, 1)]
        plan += [(160, 256, 2), (256, 256, 1), (256, 384, 1)]
        self.blocks = nn.Sequential(*(SeparableBlock(*shape) for shape in plan))
        self.project = nn.Linear(2 * 384, self.dim)

    def forward(self, log_mel: Tensor) -> Tensor:
        """Encode log-mel examples ``(M, 1, 96, 64)`` as ``(M, 256)``."""
        features = self.blocks(self.stem(log_mel))  # (M, 384, 6, 4)
        pooled = torch.cat([features.mean((2, 3)), features.amax((2, 3))], dim=1)
        return self.project(pooled)


AudioEncoder = VGGish | YAMNet | SmallAudioEncoder


def build_audio_encoder(name: str) -> AudioEncoder:
    """Build an audio encoder by name: `vggish`, `yamnet` or `small`.

    One of your own is a module in an entry point of the group ``avseg.audio_encoders``. It has
    `dim`, the width of its feature, and is called as `VGGish.forward` is.

    Raises:
        ConfigError: if there is none of this name.
        AvsegError: if one of your own has no `dim`.
    """
    encoders: dict[str, type[AudioEncoder]]
    encoders = {"vggish": VGGish, "yamnet": YAMNet, "small": SmallAudioEncoder}
    if name in encoders:
        return encoders[name]()
    own = plugin_names(AUDIO_ENCODERS)
    if name not in own:
        known = ", ".join([*encoders, *own])
        raise ConfigError(f"unknown audio encoder '{name}'", f"known: {known}")
    encoder = load_plugin(AUDIO_ENCODERS, name)()
    if not isinstance(encoder, nn.Module) or not isinstance(getattr(encoder, "dim", None), int):
        raise AvsegError(f"the audio encoder '{name}' is not a module with a width, dim")
    return encoder  # type: ignore[return-value]  # what has its shape will do
