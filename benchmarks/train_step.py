"""Time one training step of a preset: forward, losses, backward, AdamW.

Clips of 5 frames at 224 x 224 with their 5 log-mel examples and two sounding objects of 70
classes each, random weights. On a CPU two times are told: the median of the wall clock, and the
median CPU time divided by the number of threads, which is what the wall clock would say if nothing
else ran and threads never waited; the peak is that of the process, torch included. On a GPU the
peak is that of what PyTorch took of its memory.

    python benchmarks/train_step.py r50 --threads 2
    python benchmarks/train_step.py r50 --device cuda --clips 8
"""

import argparse
import os
import resource
import statistics
import sys
import time
from pathlib import Path

# Threads that wait must sleep, or their waiting counts as CPU time; read when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

import torch

from avsegcli.config import PRESETS, load_config
from avsegcli.datasets.collate import Batch, Objects, Target
from avsegcli.training.ddp import DDP
from avsegcli.training.trainer import Trainer

NUM_FRAMES, SIZE, NUM_CLASSES, NUM_OBJECTS = 5, 224, 70, 2
CELLS = SIZE // 4


class NoClips:
    """Stands for training and validation data, of which the benchmark needs only the classes."""

    classes = ("background", *(f"class {number}" for number in range(NUM_CLASSES)))
    batches_per_epoch = 100
    notes = ()

    def __len__(self):
        return 0


def make_batch(clips: int) -> Batch:
    torch.manual_seed(0)
    masks = torch.zeros(NUM_OBJECTS, NUM_FRAMES, CELLS, CELLS)
    masks[0, :, 10:30, 5:25] = 1
    masks[1, :, 20:50, 30:50] = 1
    x, y = torch.tensor([15.0, 40.0]) / CELLS, torch.tensor([20.0, 35.0]) / CELLS
    box = torch.stack([x, y, torch.full((2,), 20 / CELLS), torch.tensor([20.0, 30.0]) / CELLS], 1)
    target = Target(
        labels=torch.tensor([3, 40]),
        masks=masks,
        boxes=box[:, None].expand(-1, NUM_FRAMES, -1),
        active=torch.ones(NUM_OBJECTS, NUM_FRAMES, dtype=torch.bool),
        known=torch.ones(NUM_FRAMES, CELLS, CELLS),
        annotated=torch.ones(NUM_FRAMES, dtype=torch.bool),
    )
    return Batch(
        frames=torch.randn(clips, NUM_FRAMES, 3, SIZE, SIZE),
        log_mel=torch.randn(clips, NUM_FRAMES, 1, 96, 64),
        valid=None,
        objects=Objects.of([target] * clips),
        known=target.known.repeat(clips, 1, 1, 1),
        annotated=target.annotated.repeat(clips, 1),
        heard=torch.full((clips, NUM_FRAMES, NUM_CLASSES), -1.0),
        imagined=torch.zeros(clips, NUM_FRAMES, NUM_CLASSES, dtype=torch.bool),
        visible=torch.full((clips, NUM_FRAMES, CELLS, CELLS), 255, dtype=torch.uint8),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Time one training step.")
    parser.add_argument("preset", nargs="?", default="r50", help=", ".join(PRESETS))
    parser.add_argument("--device", default="cpu", help="cpu or cuda; default cpu")
    parser.add_argument("--clips", type=int, default=1, help="in a step; default 1")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="default: all")
    parser.add_argument("--repeats", type=int, default=5, help="steps timed; default 5")
    parser.add_argument("--set", action="append", default=[], help="a setting, as of avseg train")
    parser.add_argument("--profile", action="store_true", help="say what takes the time")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    config = load_config(arguments.preset, overrides=arguments.set, dataset="avss")
    trainer = Trainer(config, Path(), NoClips(), NoClips(), ddp=DDP(device))
    parameters = sum(parameter.numel() for parameter in trainer.model.parameters()) / 1e6
    batch = make_batch(arguments.clips)

    def step() -> None:
        trainer.step([batch])
        if device.type == "cuda":
            torch.cuda.synchronize()

    step()  # the first step lays out weights, gradients and moments
    wall, cpu = [], []
    for _ in range(arguments.repeats):
        wall_start, cpu_start = time.perf_counter(), time.process_time()
        step()
        wall.append(time.perf_counter() - wall_start)
        cpu.append((time.process_time() - cpu_start) / arguments.threads)
    times = f"a step: wall {statistics.median(wall):.3f} s (fastest {min(wall):.3f})"
    print(f"{arguments.preset}: {parameters:.0f} M parameters, {arguments.clips} clips a step")
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated() / 2**30
        print(f"{times}, peak {peak:.2f} GiB of {torch.cuda.get_device_name()}")
    else:
        unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30
        each = f"CPU / {arguments.threads} threads {statistics.median(cpu):.3f} s"
        print(f"{times}, {each}, peak {peak:.2f} GiB")
    if arguments.profile:
        kinds = [torch.profiler.ProfilerActivity.CPU]
        if device.type == "cuda":
            kinds.append(torch.profiler.ProfilerActivity.CUDA)
        with torch.profiler.profile(activities=kinds) as profile:
            step()
        by = f"self_{device.type}_time_total"
        print(profile.key_averages().table(sort_by=by, row_limit=25))


if __name__ == "__main__":
    main()
