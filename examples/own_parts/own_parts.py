"""A backbone, an audio encoder, a data set and a metric of one's own.

    pip install ./examples/own_parts
    avseg train --dataset blinking-squares --set model.backbone=tiny-convnet \
        --set model.audio_encoder=band-energies --out runs/own
    avseg eval --dataset blinking-squares --weights runs/own/best.safetensors
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from avsegcli.datasets.clip import Clip
from avsegcli.evaluation.metrics.avsbench import ScoredFrame
from avsegcli.evaluation.metrics.registry import FrameMetric

SAMPLE_RATE = 16_000  # Hz


class TinyConvNet(nn.Module):
    """Four convolutions; of use for nothing but as an example."""

    channels = (8, 16, 32, 64)  # of the features at strides 4, 8, 16 and 32

    def __init__(self) -> None:
        super().__init__()
        widths = (3, *self.channels)
        strides = (4, 2, 2, 2)
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(inputs, outputs, stride + 1, stride, stride // 2), nn.ReLU())
            for inputs, outputs, stride in zip(widths, self.channels, strides, strict=False)
        )

    def forward(self, frames: Tensor) -> list[Tensor]:
        """Encode frames ``(M, 3, H, W)`` as C2..C5, ``(M, C, H / stride, W / stride)``."""
        features = []
        for stage in self.stages:
            frames = stage(frames)
            features.append(frames)
        return features


class BandEnergies(nn.Module):
    """The mean of each mel band and how much it changes, through one linear layer."""

    dim = 32

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Linear(2 * 64, self.dim)

    def forward(self, log_mel: Tensor) -> Tensor:
        """Encode log-mel examples ``(M, 1, 96, 64)`` as ``(M, 32)``."""
        bands = log_mel[:, 0]
        return self.project(torch.cat([bands.mean(dim=1), bands.std(dim=1)], dim=1))


class BlinkingSquares:
    """Clips of three seconds: a square that beeps in every second in which it is white.

    Args:
        split: train, val or test.
        data_root: as given with --data-root; these clips are drawn, and need none.
    """

    classes = ("background", "square")

    def __init__(self, split: str, data_root: Path | None) -> None:
        self.split = split
        self.seed = {"train": 0, "val": 1, "test": 2}[split]

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> Clip:
        rng = np.random.default_rng((self.seed, index))
        sounds = rng.random(3) < 0.7
        row, column = rng.integers(0, 64, 2)
        frames = np.full((3, 96, 96, 3), 64, np.uint8)
        labels = np.zeros((3, 96, 96), np.uint8)
        square = np.s_[:, row : row + 32, column : column + 32]
        frames[square] = np.where(sounds, 255, 128)[:, None, None, None]
        labels[square] = sounds[:, None, None]
        beep = 0.3 * np.sin(2 * np.pi * 660 * np.arange(SAMPLE_RATE) / SAMPLE_RATE)
        return Clip(
            name=f"{self.split}_{index}",
            frames=frames,
            waveform=np.concatenate([beep * sound for sound in sounds]).astype(np.float32),
            labels=labels,
            annotated=np.ones(3, bool),
            visible=None,
            heard=None,
        )


class AreaError(FrameMetric):
    """By how much the painted share of a frame misses the true one; 0 is best."""

    name = "area_error"
    label = "error of the painted area"

    def score(self, frame: ScoredFrame) -> float:
        """Score one frame."""
        true = np.count_nonzero(frame.sounding) / np.count_nonzero(frame.valid)
        return abs(frame.painted_share - true)
