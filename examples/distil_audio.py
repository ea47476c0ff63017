"""Teach the small audio encoder of `lite` what an audio tagger hears.

    python examples/distil_audio.py --parts PARTS --teacher DIR --out audio.safetensors
    avseg train --preset lite --data PARTS --audio-weights audio.safetensors

DIR holds a YAMNet in PyTorch: `yamnet.py` with `YamNet()`, called with log-mel examples
(E, 96, 64), log(mel + 0.001), and returning embeddings (E, 1024) and tag probabilities (E, 521).
The student hears random mixtures of the train sounds of the parts and learns three things at
once: the teacher's embedding, its tags, and the classes that were mixed. A process beside it
draws ever new mixtures. Only the student's encoder is kept; nothing of the teacher is.
"""

import argparse
import math
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from avsegcli.audio.log_mel import EXAMPLE_SAMPLES, log_mel
from avsegcli.model.audio_encoder import SmallAudioEncoder
from avsegcli.synthesis.audio_mixer import add_reverberation
from avsegcli.synthesis.parts import Parts

BATCH = 128
BANK = 320  # batches that are kept to be heard again
TEACHER_OFFSET, STUDENT_OFFSET = 0.001, 0.01  # added to the mel energies before the logarithm


class Mixer:
    """Draws 0.96 s mixtures of zero to three classes, mostly with some noise.

    Of a class each source (the second part of a file's name) is drawn by the square root of the
    number of its recordings, so that a class is not the sound of its largest collection.
    """

    def __init__(self, parts: Parts, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.sounds = [_by_source(parts, paths) for paths in parts.sounds.values()]
        self.noise = [_by_source(parts, paths) for paths in parts.noises.values()]

    def draw(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Draw a waveform (15600,) and which classes are in it."""
        rng = self.rng
        mix = np.zeros(EXAMPLE_SAMPLES)
        heard = np.zeros(len(self.sounds), np.float32)
        count = rng.choice(4, p=(0.10, 0.50, 0.28, 0.12))
        for c in rng.choice(len(self.sounds), count, replace=False):
            piece = self._change(self._cut(self.sounds[c]))
            level = np.sqrt(np.mean(piece**2))
            if level > 2e-3:  # else: a pause in the recording
                mix += piece / level * 10 ** (rng.uniform(-12, 0) / 20)
                heard[c] = 1
        if rng.random() < 0.45 or count == 0:
            piece = self._cut(self.noise[rng.integers(len(self.noise))])
            level = np.sqrt(np.mean(piece**2)) + 1e-6
            mix += piece / level * 10 ** (rng.uniform(-30, -3 if count else 0) / 20)
        gain = 10 ** (rng.uniform(-35, 0) / 20)
        if count == 0 and rng.random() < 0.3:
            gain = 0.0
        return (mix / (np.abs(mix).max() + 1e-6) * gain).astype(np.float32), heard

    def _cut(self, sources: list[list[NDArray[np.float32]]]) -> NDArray[np.float32]:
        """Cut a piece out of one of the recordings, played 0.75 to 1.33 times as fast."""
        rng = self.rng
        weights = np.sqrt([len(recordings) for recordings in sources])
        source = sources[rng.choice(len(sources), p=weights / weights.sum())]
        recording = source[rng.integers(len(source))]
        speed = np.exp(rng.uniform(-0.29, 0.29))
        needed = int(EXAMPLE_SAMPLES * speed) + 2
        if len(recording) < needed:
            padded = np.zeros(needed, np.float32)
            offset = rng.integers(0, needed - len(recording) + 1)
            padded[offset : offset + len(recording)] = recording
            recording = np.resize(recording, needed) if rng.random() < 0.5 else padded
        start = rng.integers(0, len(recording) - needed + 1)
        positions = np.arange(EXAMPLE_SAMPLES) * speed
        piece = np.interp(positions, np.arange(needed), recording[start : start + needed])
        return piece.astype(np.float32)

    def _change(self, piece: NDArray[np.float32]) -> NDArray[np.floating]:
        """Play it in a room, overdrive it, filter it with a smooth curve or a low-pass: or not."""
        rng = self.rng
        if rng.random() < 0.35:
            piece = add_reverberation(rng, piece)
        if rng.random() < 0.1:
            drive = rng.uniform(1, 8) / (np.abs(piece).max() + 1e-6)
            piece = np.tanh(piece * drive) / drive
        if rng.random() < 0.7:
            spectrum = np.fft.rfft(piece)
            place = np.linspace(0, 1, len(spectrum))
            gain_db = np.interp(place, (0, 0.03, 0.1, 0.3, 1), rng.normal(0, 6, 5))
            if rng.random() < 0.2:
                gain_db -= np.where(place > rng.uniform(0.25, 0.9), 60, 0)
            piece = np.fft.irfft(spectrum * 10 ** (gain_db / 20), len(piece))
        return piece


def _by_source(parts: Parts, paths: tuple[Path, ...]) -> list[list[NDArray[np.float32]]]:
    sources = defaultdict(list)
    for path in paths:
        samples = parts.recording(path).samples
        sources[path.name.split("-")[1]].append(samples.astype(np.float32) / 32768)
    return list(sources.values())


class Mixtures(IterableDataset[list[Tensor]]):
    """Batches of new mixtures without end: log-mel, the teacher's embedding and tags, classes."""

    def __init__(self, parts: Path, split: str, teacher: Path, seed: int) -> None:
        self.parts, self.split, self.teacher, self.seed = parts, split, teacher, seed

    def __iter__(self) -> Iterator[list[Tensor]]:
        sys.path.insert(0, str(self.teacher))
        from yamnet import YamNet

        torch.set_num_threads(1)
        teacher, mixer = YamNet(), Mixer(Parts(self.parts, self.split), self.seed)
        while True:
            waveforms, heard = zip(*(mixer.draw() for _ in range(BATCH)), strict=True)
            mel = torch.from_numpy(np.stack([log_mel(w) for w in waveforms]))
            with torch.inference_mode():
                embedding, tags = teacher((mel.exp() - STUDENT_OFFSET + TEACHER_OFFSET).log())
            values = (mel, embedding, tags, torch.from_numpy(np.stack(heard)))
            yield [value.half() for value in values]


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
    parser.add_argument("--init", type=Path, help="weights of the encoder to go on from")
    parser.add_argument("--steps", type=int, default=6000, help=f"of {BATCH} mixtures")
    parser.add_argument("--seed", type=int, default=100, help="of the mixtures")
    arguments = parser.parse_args()

    torch.manual_seed(0)
    unheard = iter(Mixtures(arguments.parts, "val", arguments.teacher, seed=1))
    batches = [next(unheard) for _ in range(16)]
    held_out = [torch.cat(column) for column in zip(*batches, strict=True)]
    mixtures = Mixtures(arguments.parts, "train", arguments.teacher, arguments.seed)
    fresh = iter(DataLoader(mixtures, batch_size=None, num_workers=1, prefetch_factor=8))
    bank = [next(fresh) for _ in range(BANK // 8)]
    embeddings = torch.cat([batch[1].float() for batch in bank])
    mean, deviation = embeddings.mean(0), embeddings.std(0) + 0.1

    student = Student(held_out[3].shape[1]).to(memory_format=torch.channels_last)
    if arguments.init is not None:
        student.encoder.load_state_dict(load_file(arguments.init))
    optimizer = torch.optim.AdamW(student.parameters(), weight_decay=1e-3)
    for step in range(arguments.steps):
        if step % 2 == 0:  # each is heard twice, but for those that leave the bank early
            bank.append(next(fresh))
            bank = bank[-BANK:]
        share = step / arguments.steps
        rate = 2e-3 * min(1, (step + 1) / 300) * 0.5 * (1.004 + math.cos(math.pi * share))
        for group in optimizer.param_groups:
            group["lr"] = rate
        drawn = [bank[int(i)] for i in torch.randint(len(bank), (4,))]
        rows = [torch.randperm(BATCH)[: BATCH // 4] for _ in drawn]
        mel, embedding, tags, heard = (
            torch.cat([batch[k][row] for batch, row in zip(drawn, rows, strict=True)]).float()
            for k in range(4)
        )
        said = student.train()(mel)
        loss_embedding = F.mse_loss(said[0], (embedding - mean) / deviation)
        loss_tags = F.binary_cross_entropy_with_logits(said[1], tags.clamp(0, 1))
        loss_classes = F.binary_cross_entropy_with_logits(said[2], heard)
        optimizer.zero_grad()
        (loss_embedding + 20 * loss_tags + 3 * loss_classes).backward()
        optimizer.step()
        if step % 100 == 99 or step == arguments.steps - 1:
            losses = f"embedding {loss_embedding:.3f} classes {loss_classes:.3f}"
            print(f"step {step + 1}/{arguments.steps} {losses}", flush=True)
        if step % 500 == 499 or step == arguments.steps - 1:
            with torch.inference_mode():
                scores = torch.cat([student.eval()(x.float())[2] for x in held_out[0].split(BATCH)])
            precision = average_precision(scores, held_out[3].float())
            print(f"held-out sounds: average precision {precision:.3f}", flush=True)
            save_file(
                {key: value.contiguous() for key, value in student.encoder.state_dict().items()},
                arguments.out,
            )


if __name__ == "__main__":
    main()
