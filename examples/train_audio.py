"""Teach the second tail of YAMNet the classes of a parts folder, without forgetting AudioSet.

    python examples/train_audio.py --parts PARTS --yamnet yamnet.safetensors --out audio.safetensors
    avseg train --preset lite --data PARTS --audio-weights audio.safetensors

The trunk, AudioSet's tail and its classifier stay as released, so that what the trunk says of a
mixture is computed once. The second tail learns which classes were mixed, and as a regulariser to
give AudioSet's tags as the first one does; further recordings (--unlabelled) only regularise.
"""

import argparse
import math
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from avsegcli.audio.log_mel import EXAMPLE_SAMPLES, SAMPLE_RATE, log_mel
from avsegcli.config import load_config
from avsegcli.datasets.io import read_soundtrack
from avsegcli.model.yamnet import YAMNet
from avsegcli.synthesis.audio_mixer import in_a_room
from avsegcli.synthesis.parts import Parts

BATCH = 128


class Mixer:
    """Draws 0.96 s mixtures of zero to three classes, mostly with some noise.

    Of a class each source (the second part of a file's name) is drawn by the square root of the
    number of its recordings, so that a class is not the sound of its largest collection.
    """

    def __init__(self, parts: Parts, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.num_classes = len(parts.classes) - 1
        self.sounds = {c - 1: _by_source(parts, paths) for c, paths in parts.sounds.items()}
        self.noise = [_by_source(parts, paths) for paths in parts.noises.values()]

    def draw(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Draw a waveform (15600,) and the classes in it (L,)."""
        rng = self.rng
        mix = np.zeros(EXAMPLE_SAMPLES)
        present = np.zeros(self.num_classes, np.float32)
        count = rng.choice(4, p=(0.10, 0.50, 0.28, 0.12))
        for c in rng.choice(list(self.sounds), count, replace=False):
            piece = self._change(self._cut(self.sounds[c]))
            level = np.sqrt(np.mean(piece**2))
            if level > 2e-3:  # else: a pause in the recording
                mix += piece / level * 10 ** (rng.uniform(-12, 0) / 20)
                present[c] = 1
        if rng.random() < 0.45 or count == 0:
            piece = self._cut(self.noise[rng.integers(len(self.noise))])
            level = np.sqrt(np.mean(piece**2)) + 1e-6
            mix += piece / level * 10 ** (rng.uniform(-30, -3 if count else 0) / 20)
        gain = 10 ** (rng.uniform(-35, 0) / 20)
        if count == 0 and rng.random() < 0.3:
            gain = 0.0
        return (mix / (np.abs(mix).max() + 1e-6) * gain).astype(np.float32), present

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
        """Add reverberation, overdrive, and a smooth filter or a low-pass, each at random."""
        rng = self.rng
        if rng.random() < 0.35:
            piece = in_a_room(rng, piece)
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


@torch.inference_mode()
def encode(network: YAMNet, waveforms: list[NDArray[np.float32]]) -> tuple[Tensor, Tensor]:
    """Compute the trunk's features (M, 512, 6, 4) in half precision and AudioSet's logits."""
    features, tags = [], []
    for i in range(0, len(waveforms), BATCH):
        mel = torch.from_numpy(np.stack([log_mel(w) for w in waveforms[i : i + BATCH]]))
        trunk = network.encode_trunk(mel[:, None])
        features.append(trunk.half())
        tags.append(network.classifier(network.tail(trunk).mean((2, 3))))
    return torch.cat(features), torch.cat(tags)


def mixtures(network: YAMNet, mixer: Mixer, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Draw mixtures and encode them: features, AudioSet's logits, classes."""
    features, tags, present = [], [], []
    for i in range(0, count, 4 * BATCH):
        waveforms, classes = zip(
            *(mixer.draw() for _ in range(min(4 * BATCH, count - i))), strict=True
        )
        encoded = encode(network, list(waveforms))
        features.append(encoded[0])
        tags.append(encoded[1])
        present.append(torch.from_numpy(np.stack(classes)))
        if i % (16 * BATCH) == 0:
            print(f"{i + len(waveforms)}/{count} mixtures", flush=True)
    return torch.cat(features), torch.cat(tags), torch.cat(present)


def pieces(folder: Path) -> list[NDArray[np.float32]]:
    """Cut every video of a folder into pieces of 0.975 s, half a second apart."""
    found = []
    for path in sorted(folder.glob("*.mp4")):
        sound = read_soundtrack(path)
        for start in range(0, max(1, len(sound) - EXAMPLE_SAMPLES), SAMPLE_RATE // 2):
            piece = sound[start : start + EXAMPLE_SAMPLES]
            found.append(np.pad(piece, (0, EXAMPLE_SAMPLES - len(piece))).astype(np.float32))
    return found


def average_precision(scores: Tensor, truth: Tensor) -> float:
    """Compute the mean over the classes present of the average precision."""
    some = truth.any(0)
    scores, truth = scores[:, some], truth[:, some]
    ordered = truth.gather(0, scores.argsort(0, descending=True))
    precision = ordered.cumsum(0) / torch.arange(1, len(truth) + 1)[:, None]
    return ((precision * ordered).sum(0) / ordered.sum(0)).mean().item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", type=Path, required=True)
    parser.add_argument("--yamnet", type=Path, required=True, help="released weights")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--unlabelled", type=Path, help="a folder of videos")
    parser.add_argument("--mixtures", type=int, default=24_000)
    parser.add_argument("--steps", type=int, default=3000, help=f"of {BATCH} mixtures")
    arguments = parser.parse_args()

    torch.manual_seed(0)
    classes = load_config("lite", Path(__file__).with_name("packaged.toml")).data.classes
    network = YAMNet()
    network.load_released(load_file(arguments.yamnet))
    parts = {split: Parts(arguments.parts, split, classes) for split in ("train", "val", "test")}
    held_out = {split: mixtures(network, Mixer(parts[split], 1), 2048) for split in ("val", "test")}
    features, tags, present = mixtures(network, Mixer(parts["train"], 100), arguments.mixtures)
    recorded = torch.zeros(present.shape[1], dtype=torch.bool)
    recorded[[c - 1 for c in parts["train"].sounds]] = True
    known = recorded.expand_as(present).float()
    if arguments.unlabelled is not None:
        more, more_tags = encode(network, pieces(arguments.unlabelled))
        features, tags = torch.cat([features, more]), torch.cat([tags, more_tags])
        known = torch.cat([known, known.new_zeros(len(more), known.shape[1])])
        present = torch.cat([present, present.new_zeros(len(more), present.shape[1])])

    learned = network.learned_tail
    head = nn.Linear(network.dim + network.num_tags, present.shape[1])
    nn.init.constant_(head.bias, -3.0)
    optimizer = torch.optim.AdamW(
        [{"params": learned.parameters(), "lr": 3e-4}, {"params": head.parameters(), "lr": 2e-3}],
        weight_decay=1e-2,
    )
    rates = [group["lr"] for group in optimizer.param_groups]

    def classify(x: Tensor, tag_logits: Tensor, dropout: float = 0.0) -> tuple[Tensor, Tensor]:
        embedding = learned(x.float()).mean((2, 3))
        joined = torch.cat([embedding, (tag_logits / 2).sigmoid()], 1)
        return embedding, head(F.dropout(joined, dropout, training=dropout > 0))

    for step in range(arguments.steps):
        share = step / arguments.steps
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = (
                rate * min(1, (step + 1) / 200) * 0.5 * (1.004 + math.cos(math.pi * share))
            )
        rows = torch.randint(len(features), (BATCH,))
        embedding, logits = classify(features[rows], tags[rows], 0.2)
        entropy = F.binary_cross_entropy_with_logits(logits, present[rows], reduction="none")
        loss_classes = (entropy * known[rows]).sum() / known[rows].sum().clamp(min=1)
        loss_tags = F.binary_cross_entropy_with_logits(
            network.classifier(embedding), tags[rows].sigmoid()
        )
        optimizer.zero_grad()
        (3 * loss_classes + 10 * loss_tags).backward()
        optimizer.step()
        if step % 100 == 99:
            print(f"step {step + 1} classes {loss_classes:.3f} tags {loss_tags:.4f}", flush=True)
        if step % 500 == 499 or step == arguments.steps - 1:
            for split, (x, t, truth) in held_out.items():
                with torch.inference_mode():
                    scores = torch.cat(
                        [
                            classify(a, b)[1]
                            for a, b in zip(x.split(BATCH), t.split(BATCH), strict=True)
                        ]
                    )
                precision = average_precision(scores, truth)
                print(f"{split}: mean average precision {precision:.3f}", flush=True)
    state = {f"encoder.{key}": value for key, value in network.state_dict().items()}
    state |= {f"classes.{key}": value for key, value in head.state_dict().items()}
    save_file({key: value.contiguous() for key, value in state.items()}, arguments.out)


if __name__ == "__main__":
    main()
