"""Teach the small audio encoder of `lite` what an audio tagger hears.

    python examples/distil_audio.py --parts PARTS --teacher DIR --out audio.safetensors
    avseg train --preset lite --data PARTS --audio-weights audio.safetensors

DIR holds a YAMNet in PyTorch: `yamnet.py` with `YamNet()`, called with log-mel examples
(E, 96, 64), log(mel + 0.001), and returning embeddings (E, 1024) and tag probabilities (E, 521).
The student hears random mixtures of the train sounds of the parts and learns three things at
once: the teacher's embedding, its tags, and the classes that were mixed. Only the student's
encoder is kept; nothing of the teacher is.
"""

import argparse
import math
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from avsegcli.audio.log_mel import EXAMPLE_SAMPLES, log_mel
from avsegcli.checkpoint import load_checkpoint
from avsegcli.datasets.parts import Parts
from avsegcli.model.audio_encoder import SmallAudioEncoder

BATCH = 128
TEACHER_OFFSET, STUDENT_OFFSET = 0.001, 0.01  # added to the mel energies before the logarithm


class Mixer:
    """Draws 0.96 s mixtures of zero to three classes, mostly with some noise."""

    def __init__(self, parts: Parts, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.sounds = [
            [parts.recording(path).samples / 32768 for path in paths]
            for paths in parts.sounds.values()
        ]
        self.noise = [
            parts.recording(path).samples / 32768
            for paths in parts.noises.values()
            for path in paths
        ]

    def draw(self) -> tuple[np.ndarray, np.ndarray]:
        """Draw a waveform (15600,) and which classes are in it."""
        rng = self.rng
        mix = np.zeros(EXAMPLE_SAMPLES)
        heard = np.zeros(len(self.sounds), np.float32)
        count = rng.choice(4, p=(0.10, 0.45, 0.30, 0.15))
        for c in rng.choice(len(self.sounds), count, replace=False):
            piece = self._cut(self.sounds[c])
            if rng.random() < 0.6:
                piece = self._colour(piece)
            level = np.sqrt(np.mean(piece**2))
            if level > 2e-3:  # else: a pause in the recording
                mix += piece / level * 10 ** (rng.uniform(-12, 0) / 20)
                heard[c] = 1
        if rng.random() < 0.45 or count == 0:
            piece = self._cut(self.noise)
            level = np.sqrt(np.mean(piece**2)) + 1e-6
            mix += piece / level * 10 ** (rng.uniform(-30, -3 if count else 0) / 20)
        gain = 10 ** (rng.uniform(-35, 0) / 20)
        if count == 0 and rng.random() < 0.3:
            gain = 0.0
        return (mix / (np.abs(mix).max() + 1e-6) * gain).astype(np.float32), heard

    def _cut(self, recordings: list[np.ndarray]) -> np.ndarray:
        """Cut a piece out of one of the recordings, played 0.8 to 1.25 times as fast."""
        rng = self.rng
        recording = recordings[rng.integers(len(recordings))]
        speed = rng.uniform(0.8, 1.25)
        needed = int(EXAMPLE_SAMPLES * speed) + 2
        if len(recording) < needed:
            padded = np.zeros(needed)
            offset = rng.integers(0, needed - len(recording) + 1)
            padded[offset : offset + len(recording)] = recording
            recording = np.resize(recording, needed) if rng.random() < 0.5 else padded
        start = rng.integers(0, len(recording) - needed + 1)
        positions = np.arange(EXAMPLE_SAMPLES) * speed
        return np.interp(positions, np.arange(needed), recording[start : start + needed])

    def _colour(self, piece: np.ndarray) -> np.ndarray:
        """Filter with a random smooth curve, now and then with a low-pass."""
        rng = self.rng
        spectrum = np.fft.rfft(piece)
        place = np.linspace(0, 1, len(spectrum))
        gain_db = np.interp(place, (0, 0.05, 0.25, 1), rng.normal(0, 5, 4))
        if rng.random() < 0.15:
            gain_db -= np.where(place > rng.uniform(0.3, 0.9), 60, 0)
        return np.fft.irfft(spectrum * 10 ** (gain_db / 20), len(piece))


def make_bank(mixer: Mixer, teacher: nn.Module, size: int) -> list[Tensor]:
    """Draw mixtures and ask the teacher: log-mel, embedding, tags, classes."""
    columns: list[list[Tensor]] = [[], [], [], []]
    for _ in range(size // BATCH):
        waveforms, heard = zip(*(mixer.draw() for _ in range(BATCH)), strict=True)
        mel = torch.from_numpy(np.stack([log_mel(w) for w in waveforms]))
        energy = mel.exp() - STUDENT_OFFSET
        with torch.inference_mode():
            embedding, tags = teacher((energy + TEACHER_OFFSET).log())
        values = (mel, embedding, tags, torch.from_numpy(np.stack(heard)))
        for column, value in zip(columns, values, strict=True):
            column.append(value.half())
    return [torch.cat(column) for column in columns]


class Student(nn.Module):
    """The encoder and, for training only, a linear head for each thing to learn."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.encoder = SmallAudioEncoder()
        self.embedding = nn.Linear(SmallAudioEncoder.dim, 1024)
        self.tags = nn.Linear(SmallAudioEncoder.dim, 521)
        self.classes = nn.Linear(SmallAudioEncoder.dim, num_classes)

    def forward(self, log_mel: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        feature = self.encoder(log_mel[:, None])
        return self.embedding(feature), self.tags(feature), self.classes(feature)


def average_precision(scores: Tensor, truth: Tensor) -> float:
    """Compute the mean over classes of the average precision."""
    ordered = truth.gather(0, scores.argsort(0, descending=True))
    precision = ordered.cumsum(0) / torch.arange(1, len(truth) + 1)[:, None]
    return ((precision * ordered).sum(0) / ordered.sum(0)).mean().item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", type=Path, required=True)
    parser.add_argument("--teacher", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--init", type=Path, help="a checkpoint of avseg to go on from")
    parser.add_argument("--mixtures", type=int, default=40_960)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seed", type=int, default=100, help="of the mixtures")
    arguments = parser.parse_args()

    sys.path.insert(0, str(arguments.teacher))
    from yamnet import YamNet

    torch.manual_seed(0)
    parts = Parts(arguments.parts, "train")
    teacher = YamNet()
    held_out = make_bank(Mixer(Parts(arguments.parts, "val"), seed=1), teacher, 2048)
    bank = make_bank(Mixer(parts, arguments.seed), teacher, arguments.mixtures)
    mean = bank[1].float().mean(0)
    deviation = bank[1].float().std(0) + 0.1

    student = Student(len(parts.classes) - 1).to(memory_format=torch.channels_last)
    if arguments.init is not None:
        student.encoder.load_state_dict(
            load_checkpoint(arguments.init).model.audio_encoder.state_dict()
        )
    optimizer = torch.optim.AdamW(student.parameters(), weight_decay=1e-3)
    steps = arguments.epochs * (len(bank[0]) // BATCH)
    for step in range(steps):
        if step % (len(bank[0]) // BATCH) == 0:
            order = torch.randperm(len(bank[0])).split(BATCH)
        rate = 2e-3 * min(1, (step + 1) / 300) * 0.5 * (1.004 + math.cos(math.pi * step / steps))
        for group in optimizer.param_groups:
            group["lr"] = rate
        rows = order[step % (len(bank[0]) // BATCH)]
        mel, embedding, tags, heard = (column[rows].float() for column in bank)
        said = student.train()(mel)
        loss_embedding = F.mse_loss(said[0], (embedding - mean) / deviation)
        loss_tags = F.binary_cross_entropy_with_logits(said[1], tags.clamp(0, 1))
        loss_classes = F.binary_cross_entropy_with_logits(said[2], heard)
        optimizer.zero_grad()
        (loss_embedding + 20 * loss_tags + 3 * loss_classes).backward()
        optimizer.step()
        if step % 100 == 99 or step == steps - 1:
            print(f"step {step + 1}/{steps} embedding {loss_embedding:.3f}", flush=True)
        if step % 500 == 499 or step == steps - 1:
            with torch.inference_mode():
                scores = torch.cat([student.eval()(x.float())[2] for x in held_out[0].split(BATCH)])
            precision = average_precision(scores, held_out[3])
            print(f"held-out sounds: average precision {precision:.3f}", flush=True)
            save_file(
                {key: value.contiguous() for key, value in student.encoder.state_dict().items()},
                arguments.out,
            )


if __name__ == "__main__":
    main()
