"""Pictures and sound to class probabilities: the one place where the network meets arrays."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from avsegcli.device import choose_device
from avsegcli.inference.checkpoint import LoadedModel, load_checkpoint
from avsegcli.inference.class_probs import class_probs
from avsegcli.inference.fuse import fuse_for_inference
from avsegcli.inference.postprocess import MASK_THRESHOLD
from avsegcli.inference.preprocess import CELL, prepare_frames


class Predictor:
    """A model that is asked with plain arrays.

    Args:
        weights: a checkpoint; None: the packaged one.
        device: auto, cpu, cuda or mps.
    """

    threshold = MASK_THRESHOLD
    num_frames = 5  # T that the paper uses; any other works

    def __init__(self, weights: Path | None = None, device: str = "auto") -> None:
        chosen = choose_device(device)
        loaded = load_checkpoint(weights, chosen)
        self._set(loaded._replace(model=fuse_for_inference(loaded.model)), chosen)

    @classmethod
    def from_model(cls, loaded: LoadedModel, device: torch.device) -> "Predictor":
        """Ask a model that is in memory already; it must be on `device`."""
        predictor = cls.__new__(cls)
        predictor._set(loaded, device)
        return predictor

    def _set(self, loaded: LoadedModel, device: torch.device) -> None:
        self.model = loaded.model
        self.classes = loaded.classes
        self.model_name = loaded.name
        self.config = loaded.config
        self.size = loaded.config.size
        self.device = device

    @property
    def device_name(self) -> str:
        """Name of the device that the model runs on, for the user."""
        if self.device.type == "cuda":
            return f"cuda ({torch.cuda.get_device_name(self.device)})"
        if self.device.type == "cpu":
            return f"cpu, PyTorch, {torch.get_num_threads()} threads"
        return str(self.device)

    @torch.inference_mode()
    def predict(
        self, frames: Sequence[NDArray[np.uint8]], log_mel: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Find what sounds in a clip.

        Args:
            frames: T pictures of one size, ``(H, W, 3)``, RGB.
            log_mel: one VGGish example for each frame, ``(T, 96, 64)``.

        Returns:
            Class probabilities ``(T, L + 1, h, w)`` in [0, 1], index 0 the background; they cover
            the frame, at a quarter of the resolution that the network sees.
        """
        pictures, (height, width) = prepare_frames(frames, self.size)
        valid = None
        if pictures.shape[1:3] != (height, width):
            valid = torch.zeros((1, *pictures.shape[1:3]), dtype=torch.bool, device=self.device)
            valid[:, :height, :width] = True
        output = self.model(
            torch.from_numpy(pictures).to(self.device).permute(0, 3, 1, 2)[None],
            torch.from_numpy(log_mel).to(self.device)[None, :, None],
            valid,
        )
        config = self.config
        probs = class_probs(
            output, config.class_threshold, config.score_fusion, config.visible_share
        )[0]
        return probs[..., : height // CELL, : width // CELL].cpu().numpy()
