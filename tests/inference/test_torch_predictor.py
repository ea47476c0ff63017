from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from avsegcli.config import load_config
from avsegcli.device import choose_device
from avsegcli.errors import ConfigError, WeightsError
from avsegcli.inference.checkpoint import LoadedModel, save_checkpoint
from avsegcli.inference.torch_predictor import Predictor
from avsegcli.model.qsd import build_qsd

CLASSES = ("background", "dog", "guitar")


@pytest.fixture(scope="module")
def loaded():
    small = {"hidden_dim": 16, "num_heads": 2, "ffn_dim": 16, "pyramid_dim": 16}
    config = replace(load_config("lite").model, **small, size=224, codebook_size=8)
    torch.manual_seed(0)
    model = build_qsd(config, num_classes=2).eval()
    # A class probability of 1 % would hide what the masks do.
    torch.nn.init.zeros_(model.mask_decoder.classes[-1].bias)
    return LoadedModel(model, config, CLASSES, "small")


@pytest.fixture(scope="module")
def predictor(loaded):
    return Predictor.from_model(loaded, torch.device("cpu"))


def make_clip(num_frames, height, width):
    """Soft blobs of colour, and noise in the log-mel examples."""
    rng = np.random.default_rng(1)
    blobs = rng.integers(0, 255, (num_frames, 6, 6, 3), np.uint8)
    frames = [cv2.resize(b, (width, height), interpolation=cv2.INTER_CUBIC) for b in blobs]
    return frames, rng.standard_normal((num_frames, 96, 64)).astype(np.float32)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((224, 224), (56, 56)),
        ((360, 640), (32, 56)),
        ((721, 1281), (32, 56)),
        ((333, 111), (56, 19)),
        ((64, 48), (56, 42)),
        ((10, 400), (1, 56)),
    ],
)
def test_the_answer_covers_frames_of_any_size(predictor, size, expected):
    probs = predictor.predict(*make_clip(2, *size))
    assert probs.shape == (2, 3, *expected)
    assert probs.dtype == np.float32
    assert probs.min() >= 0
    assert probs.max() <= 1
    assert np.allclose(probs[:, 0], 1 - probs[:, 1:].max(axis=1))


def test_a_model_is_asked_at_its_own_size(loaded):
    config = replace(loaded.config, size=96)
    small = Predictor.from_model(loaded._replace(config=config), torch.device("cpu"))
    assert small.predict(*make_clip(1, 200, 400)).shape == (1, 3, 12, 24)


def test_one_frame_will_do(predictor):
    assert predictor.predict(*make_clip(1, 100, 100)).shape == (1, 3, 56, 56)


def test_a_larger_picture_of_the_same_gives_nearly_the_same_answer(predictor):
    frames, log_mel = make_clip(2, 126, 224)
    doubled = [cv2.resize(frame, (448, 252), interpolation=cv2.INTER_CUBIC) for frame in frames]
    first, second = predictor.predict(frames, log_mel), predictor.predict(doubled, log_mel)
    assert first.std() > 0.01  # there is something to compare
    assert np.abs(first - second).mean() < 0.05 * first.std()


def test_the_network_is_told_what_is_padding(predictor, loaded):
    seen = []
    handle = loaded.model.register_forward_pre_hook(lambda _, inputs: seen.append(inputs))
    predictor.predict(*make_clip(1, 168, 224))
    predictor.predict(*make_clip(1, 224, 224))
    handle.remove()
    (frames, _, valid), (_, _, of_square) = seen
    assert frames.shape == (1, 1, 3, 192, 224)
    assert frames[..., 168:, :].eq(0).all()
    assert valid[0, :168].all()
    assert not valid[0, 168:].any()
    assert of_square is None


def test_a_predictor_reads_a_checkpoint(loaded, tmp_path):
    path = tmp_path / "small.safetensors"
    save_checkpoint(path, loaded.model, loaded.config, CLASSES, name="small")
    predictor = Predictor(path, device="cpu")
    assert (predictor.classes, predictor.model_name) == (CLASSES, "small")
    assert predictor.device_name == f"cpu, PyTorch, {torch.get_num_threads()} threads"
    clip = make_clip(1, 64, 64)
    expected = Predictor.from_model(loaded, torch.device("cpu")).predict(*clip)
    assert np.allclose(predictor.predict(*clip), expected, atol=1e-5)


def test_a_missing_checkpoint_and_device_are_refused(tmp_path):
    with pytest.raises(WeightsError, match="no weights at"):
        Predictor(tmp_path / "none.safetensors", device="cpu")
    for name in ("toaster", "cuda:x", "cuda:99", "cpu:7", "meta", ""):
        with pytest.raises(ConfigError, match=f"no device '{name}'") as caught:
            choose_device(name)
        assert "cpu" in caught.value.hint


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has what should be missing")
def test_a_device_that_this_machine_lacks_is_refused():
    with pytest.raises(ConfigError, match="no device 'cuda'"):
        choose_device("cuda")
    assert choose_device("auto").type in ("cpu", "mps")
