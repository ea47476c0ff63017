"""Audio semantics inside a model: before and after decomposition, and as codes."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from avsegcli.datasets.clip import IGNORE, Clip
from avsegcli.datasets.transforms import clip_log_mel
from avsegcli.errors import WeightsError
from avsegcli.inference.torch_predictor import Predictor


class Semantics(NamedTuple):
    """The audio semantics of one clip."""

    fused: NDArray[np.float32]  # F'_a, (T, D), before decomposition
    tokens: NDArray[np.float32]  # g, (N, D), of the clip, before quantization
    token_probs: NDArray[np.float32]  # (N, L), classes that each token says, in [0, 1]
    frame_tokens: NDArray[np.float32]  # l, (T, N, D); without calibration g for each frame
    indices: NDArray[np.int64] | None  # (T, N), codes of the latter; None: no quantization


def require_decomposition(predictor: Predictor) -> None:
    """Raise a `WeightsError` if the model does not decompose sounds (row 1 of Table 2)."""
    if not predictor.config.decomposition:
        raise WeightsError(
            f"the model {predictor.model_name} has no decomposition", "give other --weights"
        )


def heard_classes(clip: Clip) -> list[list[int]]:
    """List the class indices heard in each second; of a clip that does not say, those labelled."""
    if clip.heard is not None:
        return [(np.flatnonzero(heard[1:]) + 1).tolist() for heard in clip.heard]
    return [np.unique(labels[(labels > 0) & (labels < IGNORE)]).tolist() for labels in clip.labels]


def audio_semantics(predictor: Predictor, clip: Clip) -> Semantics:
    """Ask a model about a clip and look inside.

    Raises:
        WeightsError: if the model has no decomposition.
    """
    require_decomposition(predictor)
    model, num_frames = predictor.model, len(clip.frames)
    watched = {
        "model": model,
        "fused": model.fusion,
        "tokens": model.global_decomposition,
        "frame_tokens": model.local_decomposition,
    }
    with _watch(watched) as seen:
        predictor.predict(list(clip.frames), clip_log_mel(clip.waveform, num_frames))
    output = seen["model"]
    tokens = _array(seen["tokens"])[0]
    if "frame_tokens" in seen:
        frame_tokens, indices = _array(seen["frame_tokens"]), output.local_indices
    else:
        frame_tokens, indices = np.repeat(tokens[None], num_frames, axis=0), output.global_indices
    return Semantics(
        fused=_array(seen["fused"])[0],
        tokens=tokens,
        token_probs=_array(output.token_logits[0].sigmoid())[0, 0],
        frame_tokens=frame_tokens,
        indices=None
        if indices is None
        else np.broadcast_to(indices[0].cpu().numpy(), frame_tokens.shape[:2]),
    )


@contextmanager
def _watch(modules: Mapping[str, nn.Module | None]) -> Iterator[dict[str, Any]]:
    """Record the outputs of modules while the context lasts."""
    seen: dict[str, Any] = {}

    def keep(name: str) -> Any:
        return lambda _module, _arguments, output: seen.update({name: output})

    handles = [
        module.register_forward_hook(keep(name)) for name, module in modules.items() if module
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _array(tensor: Tensor) -> NDArray[np.float32]:
    return tensor.float().cpu().numpy()
