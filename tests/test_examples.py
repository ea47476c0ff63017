"""The scripts in examples/ run."""

import json
import os
import subprocess
import sys
from pathlib import Path

from videos import write_video

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
    assert "model.size" not in done.stderr  # asked about frames as large as those it was taught by
    assert (tmp_path / "toy" / "run" / "last.safetensors").exists()
    for word in ("avsbench", "mute", "swap"):
        assert word in done.stdout


def test_results_writes_the_page_with_what_each_command_prints(single_clips, untrained, tmp_path):
    beside_python = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    inputs = {"WEIGHTS": str(untrained), "DATA": str(single_clips)}
    less = {"SEEDS": "1", "RATIOS": "0 inf", "MIXTURES": "3"}
    done = subprocess.run(
        [EXAMPLES / "results.sh", tmp_path],
        env={**os.environ, "PATH": beside_python, **inputs, **less},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "results.md").read_text()
    for words in (
        "avseg noise-test --noise babble --snr 0 inf --seeds 1 -o figures\n",
        "12 clips, noise: music",
        "3 mixtures of ",
        "of 16 codewords are used",
    ):
        assert words in page
    for link in page.split("](results/")[1:]:
        assert (tmp_path / "results" / link.split(")")[0]).stat().st_size > 1000


def test_ablate_toy_trains_and_scores_rows(tmp_path):
    beside_python = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    less = {"ROWS": "1 2", "SEEDS": "1", "CLIPS": "8", "TEST_CLIPS": "1"}
    done = subprocess.run(
        [EXAMPLES / "ablate_toy.sh", tmp_path / "toy"],
        env={**os.environ, "PATH": beside_python, **less},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "row 2 (separate first), semantic, seed 0" in done.stderr
    assert "Table 2, one seed" in done.stdout


def test_batch_paints_a_folder_and_goes_on(tmp_path):
    (tmp_path / "videos").mkdir()
    write_video(tmp_path / "videos" / "a.mp4", seconds=0.3)
    beside_python = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for status in ("done", "skipped"):
        done = subprocess.run(
            [EXAMPLES / "batch.sh", tmp_path / "videos", tmp_path / "out"],
            env={**os.environ, "PATH": beside_python},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        (record,) = json.loads((tmp_path / "out" / "avseg-summary.json").read_text())
        assert record["status"] == status
        assert len(record["outputs"]) == 3
