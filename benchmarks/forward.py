"""Time one forward pass of the presets, with random weights, on this machine's CPU.

A clip of 5 frames at 224 x 224 with its 5 log-mel examples, fp32, batch norms folded. Two times
are told: the median of the wall clock, and the median CPU time divided by the number of threads,
which is what the wall clock would say if nothing else ran and threads never waited.

    python benchmarks/forward.py lite r50 swin-t pvt-b5 --threads 2
"""

import argparse
import multiprocessing
import os
import resource
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

# Threads that wait must sleep, or their waiting counts as CPU time; read when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("GOMP_SPINCOUNT", "0")

from avsegcli.config import PRESETS, load_config

NUM_FRAMES, SIZE, NUM_CLASSES = 5, 224, 24


class Timing(NamedTuple):
    parameters: float  # millions
    wall_ms: float
    fastest_ms: float
    cpu_ms: float  # divided by the number of threads
    peak_mib: float  # of the whole process, torch included


def time_forward(preset: str, threads: int, repeats: int) -> Timing:
    """Build a preset and time it; one preset a process, or the peak would be that of all."""
    import torch

    from avsegcli.inference.fuse import fuse_for_inference
    from avsegcli.model.qsd import build_qsd

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model = build_qsd(load_config(preset).model, NUM_CLASSES).eval()
    parameters = sum(p.numel() for p in model.parameters()) / 1e6
    fuse_for_inference(model)
    frames = torch.randn(1, NUM_FRAMES, 3, SIZE, SIZE)
    log_mel = torch.randn(1, NUM_FRAMES, 1, 96, 64)
    wall, cpu = [], []
    with torch.inference_mode():
        model(frames, log_mel)  # the first pass lays out weights and memory
        for _ in range(repeats):
            wall_start, cpu_start = time.perf_counter(), time.process_time()
            model(frames, log_mel)
            wall.append(time.perf_counter() - wall_start)
            cpu.append(time.process_time() - cpu_start)
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
    median, cpu_median = statistics.median(wall) * 1e3, statistics.median(cpu) * 1e3
    return Timing(parameters, median, min(wall) * 1e3, cpu_median / threads, peak)


def main() -> None:
    parser = argparse.ArgumentParser(description="Time one forward pass of the presets on the CPU.")
    parser.add_argument("presets", nargs="*", default=["lite"], help=", ".join(PRESETS))
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="default: all")
    parser.add_argument("--repeats", type=int, default=10, help="passes timed; default 10")
    arguments = parser.parse_args()
    if unknown := set(arguments.presets) - set(PRESETS):
        parser.error(f"unknown: {', '.join(unknown)}; known: {', '.join(PRESETS)}")
    print(f"{NUM_FRAMES} frames of {SIZE} x {SIZE}, fp32, {arguments.threads} threads")
    print("preset    params M   wall ms  (fastest)  CPU ms / threads  peak MiB")
    for preset in arguments.presets:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
            t = process.submit(time_forward, preset, arguments.threads, arguments.repeats).result()
        print(
            f"{preset:8}  {t.parameters:8.1f}  {t.wall_ms:8.0f}  {t.fastest_ms:9.0f}"
            f"  {t.cpu_ms:16.0f}  {t.peak_mib:8.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
