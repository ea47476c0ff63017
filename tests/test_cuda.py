"""What a GPU computes is what a CPU computes; skipped where there is no GPU."""

from pathlib import Path

import av
import numpy as np
import pytest
import torch

from avsegcli.cli.main import main
from avsegcli.config import load_config
from avsegcli.datasets.collate import collate, make_sample
from avsegcli.datasets.registry import open_dataset
from avsegcli.datasets.testset import packaged_testset
from avsegcli.datasets.transforms import log_mel_of
from avsegcli.inference.checkpoint import load_checkpoint
from avsegcli.inference.torch_predictor import Predictor
from avsegcli.segment.segmenter import Segmenter
from avsegcli.training.data import StoredData
from avsegcli.training.ddp import DDP
from avsegcli.training.trainer import Trainer

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

EXAMPLES = Path(__file__).parents[1] / "examples"
SMALL = [
    "model.dropout=0",  # drawn by the device
    "model.hidden_dim=32",
    "model.ffn_dim=32",
    "model.codebook_size=16",
    # Tokens stay as they are: one between two code vectors may take the other one elsewhere.
    "model.codebook_warmup=[1000, 2000]",
    "data.size=64",
    "data.batch_size=2",
    "optim.frozen_norm=true",
    "optim.warmup_steps=0",
]


@pytest.fixture(scope="module")
def clips():
    return open_dataset(str(packaged_testset()), "test")


@pytest.fixture(scope="module")
def batch(clips):
    return collate([make_sample(clips[i], len(clips.classes) - 1, 64) for i in (0, 1)])


def make_trainer(clips, run, preset, device, *overrides):
    config = load_config(preset, overrides=[*SMALL, *overrides], dataset="avss")
    data = StoredData(clips, config.data, seed=0)
    return Trainer(config, run, data, clips, ddp=DDP(torch.device(device)))


def test_the_packaged_weights_say_the_same(clips):
    there, here = Predictor(device="cuda"), Predictor(device="cpu")
    differences, changed = [], []
    for index in range(6):
        clip = clips[index]
        one, other = (p.predict(clip.frames, log_mel_of(clip)) for p in (there, here))
        differences.append(np.abs(one - other).max())
        changed.append((one.argmax(1) != other.argmax(1)).mean())
    # A token between two code vectors may take the other one, hence the median.
    assert np.median(differences) < 0.03
    assert np.mean(changed) < 0.01


def together(tensors):
    return torch.cat([tensor.detach().cpu().flatten() for tensor in tensors])


@pytest.mark.parametrize("preset", ["lite", "r50"])
def test_a_training_step_is_the_same(clips, batch, tmp_path, preset, monkeypatch):
    # Its rounding, small in the losses, is a quarter of some gradients of an untrained model.
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    terms, gradients, moves = {}, {}, {}
    for device in ("cpu", "cuda"):
        trainer = make_trainer(clips, tmp_path, preset, device, "optim.precision=fp32")
        decoder = trainer.model.mask_decoder
        before = together(decoder.parameters())
        terms[device] = {key: value.item() for key, value in trainer.step([batch]).items()}
        # Of AdamW's first step: -1 or 1 wherever there is a gradient.
        moves[device] = (together(decoder.parameters()) - before) / trainer.config.optim.lr
        gradients[device] = {
            name: together(p.grad for p in part.parameters() if p.grad is not None)
            for name, part in trainer.model.named_children()
            if any(p.grad is not None for p in part.parameters())
        }
    assert terms["cuda"] == pytest.approx(terms["cpu"], rel=0.02, abs=1e-3)
    for name, gradient in gradients["cpu"].items():
        assert (gradients["cuda"][name] - gradient).norm() < 0.1 * gradient.norm(), name
    assert moves["cpu"].abs().mean() > 0.5
    assert (moves["cuda"] - moves["cpu"]).abs().mean() < 0.1


@pytest.mark.parametrize("preset", ["lite", "r50"])
def test_bf16_learns(clips, batch, tmp_path, preset):
    trainer = make_trainer(clips, tmp_path, preset, "cuda", "optim.precision=bf16")
    losses = [trainer.step([batch])["loss"].item() for _ in range(30)]
    assert np.mean(losses[-3:]) < 0.8 * np.mean(losses[:3])


def test_a_run_trains_resumes_and_is_scored(toy_parts, tmp_path, capsys):
    run = tmp_path / "run"
    settings = [f"--set={value}" for value in [*SMALL, "data.clips_per_epoch=8"]]
    command = ["train", "--data", str(toy_parts), "--out", str(run), "--device", "cuda", *settings]
    assert main([*command, "--set=optim.epochs=1"]) == 0
    assert "training on cuda" in capsys.readouterr().err
    assert main([*command, "--set=optim.epochs=2", "--resume"]) == 0
    assert len((run / "val_log.csv").read_text().splitlines()) == 3
    weights = run / "last.safetensors"
    assert all(value.isfinite().all() for value in load_checkpoint(weights).model.parameters())
    data = tmp_path / "clips"
    composed = ["compose", str(toy_parts), "-o", str(data), "--clips", "3", "--split", "test"]
    assert main(composed) == 0
    scored = ["eval", "--data", str(data), "--weights", str(weights), "--split", "test"]
    assert main([*scored, "--device", "cuda"]) == 0


def test_a_video_is_segmented_as_on_the_cpu(tmp_path):
    video = EXAMPLES / "djembe_and_guitar.mp4"
    labels = {
        device: np.stack([r.masks.labels() for r in Segmenter(device=device).segment(video)])
        for device in ("cuda", "cpu")
    }
    assert (labels["cuda"] > 0).any()
    assert (labels["cuda"] == labels["cpu"]).mean() > 0.995
    out = tmp_path / "out.mp4"
    assert main(["segment", str(video), "-o", str(out), "--device", "cuda", "-q"]) == 0
    with av.open(str(out)) as container:
        assert sum(1 for _ in container.decode(video=0)) == len(labels["cuda"])
