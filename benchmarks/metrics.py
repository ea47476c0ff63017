"""How long scoring takes without any model: 64 clips of 5 frames at 224 x 224, every convention.

python benchmarks/metrics.py
"""

import time

import cv2
import numpy as np

from avsegcli.evaluation.metrics.avsbench import AvsBenchJF, ScoredFrame, SummaryMetric
from avsegcli.evaluation.metrics.davis import Davis
from avsegcli.evaluation.metrics.miou import Avss, Pooled

CLIPS, FRAMES, SIZE, CLASSES = 64, 5, 224, 71


def draw_frames():
    """Blobs as truth, and the same blobs moved and blurred as prediction."""
    random = np.random.default_rng(0)
    for clip in range(CLIPS):
        for index in range(FRAMES):
            noise = cv2.GaussianBlur(random.random((SIZE, SIZE), np.float32), (0, 0), 12)
            blob = noise > np.quantile(noise, 0.8)
            target = blob * np.uint8(1 + clip % (CLASSES - 1))
            probs = cv2.GaussianBlur(np.roll(blob, 6, 1).astype(np.float32), (0, 0), 4)
            labels = (probs >= 0.5) * np.uint8(1 + (clip + index // 4) % (CLASSES - 1))
            yield ScoredFrame(f"clip {clip}", index, probs, labels, target)


def main():
    frames = list(draw_frames())
    metrics = [SummaryMetric(), AvsBenchJF(), Avss(CLASSES), Pooled(CLASSES), Davis()]
    total, cpu_total = 0.0, 0.0
    for metric in metrics:
        start, cpu_start = time.perf_counter(), time.process_time()
        for frame in frames:
            metric.update(frame)
        metric.compute()
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu_start
        total, cpu_total = total + seconds, cpu_total + cpu
        print(f"{type(metric).__name__:10} {seconds:6.2f} s, of CPU {cpu:.2f} s")
    print(f"{'all':10} {total:6.2f} s, of CPU {cpu_total:.2f} s, for {len(frames)} frames")


if __name__ == "__main__":
    main()
