"""Two processes on the CPU train like one that sees both their batches."""

import csv
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from avsegcli.cli.main import main
from avsegcli.distributed import launched_processes
from avsegcli.errors import AvsegError, ConfigError
from avsegcli.synthesis.fake_avsbench import write_fake
from avsegcli.training import trainer
from avsegcli.training.ddp import init_ddp

# Batch norms would see one process's clips only: they are synchronised on GPUs alone. So none
# learns here; dropout is off.
SETTINGS = [
    "model.backbone=small",
    "optim.backbone_lr_factor=0.25",
    "optim.frozen_affine=false",
    "model.decoder_layers=2",
    "model.codebook_warmup=[0, 0]",
    "model.recombination=false",
    "data.size=64",
    "optim.schedule=step",
    "optim.accumulate=2",
    "optim.warmup_steps=0",
    "optim.audio_lr_factor=0.0",
    "optim.frozen_stages=0",
]
TINY = Path(__file__).parents[1] / "tiny.toml"
PROGRAM = """
import sys
from avsegcli.cli.main import main
from avsegcli.training import trainer

trainer.LOG_EVERY = 1
evaluate = trainer.evaluate


def say(*given, progress, **options):
    def both(done, clips):
        print(f"validated {done} of {clips}", file=sys.stderr)
        progress(done, clips)

    return evaluate(*given, **options, progress=both)


trainer.evaluate = say
sys.exit(main(sys.argv[1:]))
"""
# One process only: RANK and what happens to it stand in UPSET.
UPSET = """
import os
import signal

from avsegcli.cli import main as cli
from avsegcli.datasets.avsbench import AvsBench
from avsegcli.errors import DataError
from avsegcli.training import trainer
from avsegcli.training.data import StoredData

trainer.LOG_EVERY = 1
rank, event = os.environ["UPSET"].split()
happens = rank == os.environ["RANK"]
batches, read = StoredData.batches, AvsBench.__getitem__


def upset_batches(self, epoch, skip=0):
    for number, batch in enumerate(batches(self, epoch, skip), start=skip + 1):
        if happens and number == 2 and event == "SIGINT":
            signal.raise_signal(signal.SIGINT)
        if happens and number == 2 and event == "damage":
            raise DataError("clip 2 is damaged")
        yield batch


def upset_read(self, index):
    if happens and self._rows[0]["split"] == "val" and event == "SIGTERM":
        os.kill(os.getpid(), signal.SIGTERM)
    return read(self, index)


StoredData.batches, AvsBench.__getitem__ = upset_batches, upset_read
cli.script()
"""


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def run_two(arguments, program=PROGRAM, ends=(0, 0), **environment):
    """Run `avseg` in two processes as torchrun starts them; returns what each says."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    several = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", program, *arguments],
            env=os.environ
            | several
            | environment
            | {"RANK": rank, "LOCAL_RANK": rank, "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in "01"
    ]
    said = [process.communicate(timeout=300)[1] for process in started]
    assert [process.returncode for process in started] == list(ends), "\n".join(said)
    return said


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder with MS3, eight clips to train and four to validate."""
    pytest.importorskip("accelerate")
    root = tmp_path_factory.mktemp("processes")
    write_fake(root, "ms3", clips=8, splits=("train", "val"))
    return root


def arguments(root, run, batch_size, epochs):
    options = ["--config", str(TINY), "--out", str(run)]
    settings = [*SETTINGS, f"data.batch_size={batch_size}", f"optim.epochs={epochs}"]
    options += [f"--set={setting}" for setting in settings]
    return ["train", "--dataset", "ms3", "--data-root", str(root), "--device", "cpu", *options]


@pytest.fixture(scope="module")
def runs(root):
    """Folders of a run of one process with batches of two, and of two with batches of one; what
    these two said.

    Each has two epochs of two steps of two batches; that of two processes is resumed in between.
    """
    one, two = root / "one", root / "two"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "LOG_EVERY", 1)
        assert main(arguments(root, one, 2, epochs=2)) == 0
    said = run_two(arguments(root, two, 1, epochs=1))
    assert "training on 2 x cpu: 4 batches of 1 clips an epoch" in said[0]
    assert "training on" not in said[1]
    assert "find_unused_parameters" not in "".join(said)
    run_two([*arguments(root, two, 1, epochs=2), "--resume"])
    return one, two, said


def test_two_processes_log_the_losses_of_one_with_the_doubled_batch(runs):
    one, two = (rows(run / "train_log.csv") for run in runs[:2])
    assert [row["step"] for row in two] == ["1", "2", "3", "4"]
    for expected, row in zip(one, two, strict=True):
        for key in expected:
            if key.startswith("loss") or key == "gradient_norm":
                assert float(row[key]) == pytest.approx(float(expected[key]), rel=2e-3, abs=1e-5)


def test_two_processes_end_with_the_weights_of_one(runs):
    one, two = (load_file(run / "last.safetensors") for run in runs[:2])
    assert one.keys() == two.keys()
    for key, value in one.items():
        torch.testing.assert_close(two[key], value, rtol=1e-2, atol=1e-3, msg=key)


def test_two_processes_validate_together_and_the_main_one_saves(runs):
    one, two = (rows(run / "val_log.csv") for run in runs[:2])
    assert [row["epoch"] for row in two] == ["1", "2"]
    for said in runs[2]:
        validated = [line for line in said.splitlines() if line.startswith("validated")]
        assert validated == [f"validated {done} of 4" for done in (1, 2, 3, 4)]
    for key in ("avsbench_j", "avsbench_f", "miou", "silent_area"):
        if one[1][key]:
            assert float(two[1][key]) == pytest.approx(float(one[1][key]), abs=0.01)
    assert (runs[1] / "state.pt").exists()
    assert (runs[1] / "best.safetensors").exists()


@pytest.mark.parametrize(
    ("event", "code", "step"), [("SIGINT", 130, 1), ("SIGTERM", 143, 2)], ids=["step", "validation"]
)
def test_processes_stop_at_the_same_step_if_one_is_asked_to(root, tmp_path, event, code, step):
    """Ctrl-C between the two batches of the first step; SIGTERM while the epoch is scored."""
    said = run_two(arguments(root, tmp_path, 1, epochs=2), UPSET, (code, code), UPSET=f"1 {event}")
    assert "Traceback" not in "".join(said)
    assert f"stopped at step {step}; go on with --resume" in said[0]
    progress = torch.load(tmp_path / "state.pt", weights_only=True)["progress"]
    assert (progress["epoch"], progress["step"]) == (0, step)


def test_a_process_that_is_left_alone_says_so_in_two_lines(root, tmp_path):
    said = run_two(arguments(root, tmp_path, 1, epochs=2), UPSET, (1, 1), UPSET="1 damage")
    assert said[1].splitlines()[-1] == "avseg: clip 2 is damaged"
    message, hint = said[0].splitlines()[-2:]
    assert message == "avseg: process 0 ends: another one has ended"
    assert "--resume" in hint
    assert "Traceback" not in "".join(said)


def test_several_processes_without_accelerate_are_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(AvsegError, match="need the package accelerate") as caught:
        init_ddp("cpu")
    assert caught.value.exit_code == 1


def test_several_processes_that_cannot_find_each_other_are_refused(monkeypatch):
    pytest.importorskip("accelerate")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    for join in (init_ddp, launched_processes):
        with pytest.raises(ConfigError, match="MASTER_ADDR"):
            join()


@pytest.mark.slow
def test_several_processes_on_cpus_that_accelerate_does_not_start_are_told(toy_parts, tmp_path):
    environment = {k: v for k, v in os.environ.items() if k not in ("MASTER_ADDR", "WORLD_SIZE")}
    environment["HF_HOME"] = str(tmp_path)  # no configuration of the user's
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2"]
    train = ["-m", "avsegcli", "train", "--data", str(toy_parts), "--out", str(tmp_path / "run")]
    done = subprocess.run([*launch, *train], env=environment, capture_output=True, text=True)
    assert done.returncode != 0
    assert "avseg: accelerate launch started one process instead of several" in done.stderr
    assert not (tmp_path / "run").exists()
