"""The scripts in examples/ run."""

import os
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).parents[1] / "examples"


def test_train_toy_trains_composes_and_scores(tmp_path):
    beside_python = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [EXAMPLES / "train_toy.sh", tmp_path / "toy"],
        env={**os.environ, "PATH": beside_python, "CLIPS": "16", "TEST_CLIPS": "2"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "training on cpu: 2 batches of 8 clips an epoch" in done.stderr
    assert (tmp_path / "toy" / "run" / "last.safetensors").exists()
    for word in ("tpavi", "mute", "swap"):
        assert word in done.stdout
