"""Time `avseg segment` as whole processes against a plain transcode of the same file.

    python benchmarks/segment.py --seconds 60 --pairs 3

The file is an example clip, looped and scaled to 1280 x 720 at 30 frames a second (H.264, AAC).
Four programs take turns, each from start to end in a process of its own: `ffmpeg` with avseg's
encoder settings, `avseg segment` with its defaults, the same with a free model that says one steady
disc sounds, so that all is done but the asking, and with one that says nothing sounds. Told are
wall and CPU time, their ratios to the transcode, peak memory, and how long after its start
`avseg segment` has the first painted frame ready.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

EXAMPLE = Path(__file__).parents[1] / "examples" / "djembe_and_guitar.mp4"
X264 = ["-c:v", "libx264", "-preset", "veryfast", "-crf", "20", "-pix_fmt", "yuv420p"]
FFMPEG = ["ffmpeg", "-v", "error", "-y"]


class Run(NamedTuple):
    wall_s: float
    cpu_s: float
    peak_mib: float


def time_process(command: list[str]) -> Run:
    """Run a command to its end."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - began
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"{' '.join(command)} failed:\n{said.decode()}")
    return Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def make_video(path: Path, seconds: int) -> None:
    source = ["-stream_loop", "-1", "-i", str(EXAMPLE), "-t", str(seconds)]
    picture = ["-vf", "scale=1280:720", "-r", "30", *X264]
    subprocess.run([*FFMPEG, *source, *picture, "-c:a", "aac", str(path)], check=True)


def segment_without_model(video: Path, output: Path, radius: float) -> None:
    """What `--without-model` runs; the disc has a radius in cells, 32 to the height."""
    import numpy as np

    from avsegcli.segment.segmenter import Segmenter

    class Disc:
        classes, threshold, num_frames, size = ("background", "disc"), 0.5, 5, 224
        model_name, device_name = "disc", "nothing"

        def predict(self, frames: list[np.ndarray], log_mel: np.ndarray) -> np.ndarray:
            y, x = np.mgrid[:32, :56]
            inside = (np.hypot(y - 16, x - 28) < radius).astype(np.float32)
            return np.repeat(np.stack([1 - inside, inside])[None], len(frames), axis=0)

    Segmenter(Disc()).segment_file(video, output, overwrite=True)


def tell_first_frame(video: Path, output: Path, began: float) -> None:
    """What `--first-frame` runs: `avseg segment`, until it has painted a frame."""
    from avsegcli.cli.main import main as avseg
    from avsegcli.render import overlay
    from avsegcli.render.styles import STYLES

    class Painter(overlay.Painter):
        def paint(self, frame: object, masks: object) -> object:
            super().paint(frame, masks)
            print(time.time() - began, flush=True)
            os._exit(0)

    STYLES["overlay"] = Painter
    avseg(["segment", str(video), "-o", str(output), "-q", "--overwrite"])


def time_first_frame(video: Path, output: Path) -> float:
    files = [str(video), str(output), str(time.time())]
    command = [sys.executable, __file__, "--first-frame", *files]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--without-model", nargs=3, metavar=("VIDEO", "OUTPUT", "RADIUS"))
    parser.add_argument("--first-frame", nargs=3, metavar=("VIDEO", "OUTPUT", "BEGAN"))
    arguments = parser.parse_args()
    if arguments.first_frame:
        files, began = arguments.first_frame[:2], float(arguments.first_frame[2])
        tell_first_frame(Path(files[0]), Path(files[1]), began)
        return
    if arguments.without_model:
        files, radius = arguments.without_model[:2], float(arguments.without_model[2])
        segment_without_model(Path(files[0]), Path(files[1]), radius)
        return
    with tempfile.TemporaryDirectory() as folder:
        video, output = Path(folder) / "in.mp4", Path(folder) / "out.mp4"
        make_video(video, arguments.seconds)
        files = [str(video), str(output)]
        segment = ["segment", files[0], "-o", files[1], "-q", "--overwrite"]
        programs = {
            "transcode": [*FFMPEG, "-i", files[0], *X264, "-c:a", "copy", files[1]],
            "avseg segment": [sys.executable, "-m", "avsegcli", *segment],
            "a disc, no model": [sys.executable, __file__, "--without-model", *files, "10"],
            "nothing, no model": [sys.executable, __file__, "--without-model", *files, "0"],
        }
        runs: dict[str, list[Run]] = {name: [] for name in programs}
        for _ in range(arguments.pairs):
            for name, command in programs.items():
                runs[name].append(time_process(command))
        first = statistics.median(time_first_frame(video, output) for _ in range(arguments.pairs))
    print(f"{arguments.seconds} s of 1280 x 720 at 30 frames a second, {os.cpu_count()} cores")
    print("                    wall s   CPU s  x transcode (wall, CPU)  peak MiB")
    for name, own in runs.items():
        pairs = list(zip(own, runs["transcode"], strict=True))
        wall_ratio = statistics.median(ours.wall_s / plain.wall_s for ours, plain in pairs)
        cpu_ratio = statistics.median(ours.cpu_s / plain.cpu_s for ours, plain in pairs)
        wall, cpu, peak = (statistics.median(column) for column in zip(*own, strict=True))
        print(
            f"{name:18}  {wall:6.1f}  {cpu:6.1f}  {wall_ratio:15.2f}  {cpu_ratio:6.2f}  {peak:8.0f}"
        )
    print(f"first painted frame after {first:.2f} s")


if __name__ == "__main__":
    main()
