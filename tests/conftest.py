from pathlib import Path

import pytest
import torch

from avsegcli.config import load_config
from avsegcli.datasets.toy import write_toy_parts
from avsegcli.training import data, run


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
