"""The example of parts of one's own works, and parts that do not are refused."""

import json
import sys
import tomllib
from pathlib import Path

import pytest

from avsegcli.cli.main import main
from avsegcli.datasets.registry import open_dataset
from avsegcli.errors import AvsegError
from avsegcli.evaluation.metrics import registry
from avsegcli.model.audio_encoder import build_audio_encoder
from avsegcli.model.backbone import build_backbone
from avsegcli.plugins import METRICS, load_plugin

EXAMPLE = Path(__file__).parents[1] / "examples" / "own_parts"


def install(folder, monkeypatch, groups):
    """Make entry points known as an installed package would."""
    info = folder / "own_parts-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: own-parts\nVersion: 1.0\n")
    lines = []
    for group, entries in groups.items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in entries.items())]
    (info / "entry_points.txt").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.syspath_prepend(str(EXAMPLE))
    registry.own_metrics.cache_clear()


@pytest.fixture(autouse=True)
def _forgotten():
    yield
    registry.own_metrics.cache_clear()
    sys.modules.pop("own_parts", None)


@pytest.fixture
def own_parts(tmp_path, monkeypatch):
    """The example, as if it were installed."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    install(tmp_path / "installed", monkeypatch, project["entry-points"])


def test_own_parts_are_trained_resumed_and_scored(own_parts, tiny_toml, tmp_path, capsys):
    run, scores = tmp_path / "run", tmp_path / "scores.json"
    parts = ["--set=model.backbone=tiny-convnet", "--set=model.audio_encoder=band-energies"]
    options = ["--config", str(tiny_toml), "--device", "cpu", "--out", str(run)]
    assert main(["train", "--dataset", "blinking-squares", *options, *parts]) == 0
    assert main(["train", "--resume", str(run), "--set=optim.epochs=2", "--device=cpu"]) == 0
    notes = [line for line in capsys.readouterr().err.splitlines() if " was " in line]
    assert notes == ["note: optim.epochs was 1, is now 2"]
    words = ["eval", "--dataset", "blinking-squares", "--weights", str(run / "last.safetensors")]
    assert main([*words, "--device", "cpu", "--json", str(scores), "--bootstrap", "50"]) == 0
    saved = json.loads(scores.read_text())
    assert saved["summary"]["num_clips"] == 8
    assert 0 <= saved["own"]["area_error"] <= 1
    low, high = saved["intervals"]["own.area_error"]
    assert low <= saved["own"]["area_error"] <= high
    assert "error of the painted area" in capsys.readouterr().out


def test_a_checkpoint_whose_part_is_not_installed_is_told(untrained, tmp_path, capsys):
    with pytest.raises(AvsegError, match="unknown backbone 'tiny-convnet'"):
        build_backbone("tiny-convnet")
    with pytest.raises(AvsegError, match="unknown audio encoder 'band-energies'"):
        build_audio_encoder("band-energies")


def test_parts_that_are_something_else_are_refused(tmp_path, monkeypatch):
    install(
        tmp_path / "installed",
        monkeypatch,
        {
            "avseg.backbones": {"list": "builtins:list"},
            "avseg.audio_encoders": {"list": "builtins:list"},
            "avseg.datasets": {"missing": "no_such_module:Clips"},
            "avseg.metrics": {"list": "builtins:list"},
        },
    )
    with pytest.raises(AvsegError, match="not a module with four channels"):
        build_backbone("list")
    with pytest.raises(AvsegError, match="not a module with a width"):
        build_audio_encoder("list")
    with pytest.raises(AvsegError, match="cannot be loaded from no_such_module:Clips"):
        open_dataset("missing")
    with pytest.raises(AvsegError, match="not a subclass of FrameMetric"):
        registry.all_metrics()
    assert load_plugin(METRICS, "list") is list
