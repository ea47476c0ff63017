import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from avsegcli.config import ModelConfig, load_config
from avsegcli.inference.checkpoint import save_checkpoint
from avsegcli.model.qsd import build_qsd
from avsegcli.synthesis.toy import CLASSES, write_toy_parts
from avsegcli.synthesis.writer import write_avss
from avsegcli.training import data, run

# Who runs the tests may ignore signals (nohup, a shell's background), and programs inherit that.
for name, handler in {"SIGINT": signal.default_int_handler, "SIGHUP": signal.SIG_DFL}.items():
    if hasattr(signal, name) and signal.getsignal(getattr(signal, name)) == signal.SIG_IGN:
        signal.signal(getattr(signal, name), handler)


@pytest.fixture(scope="session")
def toy_parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A parts folder of shapes that beep, drawn once a session; not to be changed."""
    root = tmp_path_factory.mktemp("parts")
    write_toy_parts(root)
    return root


@pytest.fixture(scope="session")
def toy_run(toy_parts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run on them: a tiny model that has learned; about 90 s, once."""
    out = tmp_path_factory.mktemp("toy") / "run"
    settings = Path(__file__).parents[1] / "examples" / "toy.toml"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # layers this small only wait for each other
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "VALIDATION_CLIPS", (4, 4))
        patch.setattr(run, "_packaged_efficientnet", lambda: None)  # the same run everywhere
        config = load_config("lite", settings)
        run.start_training(config, toy_parts, out, device="cpu", report=lambda _: None)
    torch.set_num_threads(threads)
    return out


@pytest.fixture(scope="session")
def tiny_toml() -> Path:
    """Settings of a tiny model and of a training of a few steps."""
    return Path(__file__).parent / "tiny.toml"


@pytest.fixture(scope="session")
def tiny() -> ModelConfig:
    """The whole method, small: 16 channels, three tokens, sixteen codes."""
    return ModelConfig(
        backbone="small",
        audio_encoder="small",
        attention="plain",
        hidden_dim=16,
        num_heads=2,
        ffn_dim=32,
        dropout=0.0,
        encoder_layers=2,
        decomposition_layers=2,
        decoder_layers=2,
        num_tokens=3,
        codebook_size=16,
        codebook_ema=True,
        codebook_norm=True,
        pyramid_dim=16,
        mask_dim=4,
        pyramid="light",
    )


@pytest.fixture(scope="session")
def untrained(tiny: ModelConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a tiny model of the toy classes that has learned nothing."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "untrained.safetensors"
    classes = ("background", *CLASSES)
    save_checkpoint(path, build_qsd(tiny, len(CLASSES)), tiny, classes, name="untrained")
    return path


@pytest.fixture(scope="session")
def single_clips(toy_parts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of twelve clips of two frames, in each of which one shape beeps."""
    root = tmp_path_factory.mktemp("single") / "clips"
    options = {"clips": 12, "seed": 1, "num_frames": 2, "size": 64}
    write_avss(toy_parts, root, task="single", splits=["test"], **options)
    return root


@pytest.fixture
def stir() -> Callable[[nn.Module], None]:
    """Move every parameter and batch norm away from its simple initial value."""

    def shake(module: nn.Module) -> None:
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.05)
            for child in module.modules():
                if isinstance(child, nn.BatchNorm2d):
                    assert child.running_mean is not None
                    assert child.running_var is not None
                    child.running_mean.normal_(std=0.1)
                    child.running_var.uniform_(0.5, 2.0)

    return shake
