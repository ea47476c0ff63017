"""How steady and how right the masks are at the full frame rate, between analysed frames too.

    python benchmarks/flicker.py PARTS --clips 20 --fps 4 1 25

Clips of the split test are composed (`avseg compose`), but filmed at 25 frames a second, so that
the truth of every frame is known, and segmented. Told are J over the frames in which something
visible sounds, and the mean IoU of neighbouring masks within a second, of ours and of the truth:
what is missing from the truth's is flicker. `--plain` mixes the analysed frames on both sides
instead of following the motion of the picture, and keeps what the network says about a single
frame only.
"""

import argparse
import tempfile
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from avsegcli.audio.log_mel import SAMPLE_RATE
from avsegcli.datasets.clip import IGNORE, Clip
from avsegcli.evaluation.metrics.avsbench import iou
from avsegcli.segment import optical_flow as motion
from avsegcli.segment.segmenter import Segmenter
from avsegcli.synthesis import composer as compose
from avsegcli.synthesis.parts import Parts

RATE, SECONDS = 25, 5  # frames a second; of a clip


def film_times(num_frames: int) -> NDArray[np.float64]:
    """In place of `compose.frame_times`: seconds from the middle of the clip."""
    return (np.arange(num_frames) + 0.5) / RATE - num_frames / RATE / 2


def compose_film(parts: Parts, index: int) -> tuple[Clip, NDArray[np.bool_]]:
    """Compose a clip of `RATE` frames a second; where something sounds in each, ``(T, H, W)``."""

    def clip(num_frames: int) -> Clip:
        composer = compose.Composer(parts, num_frames=num_frames, size=448, aspect="mixed")
        return composer.compose(seed=1, index=index).clip

    sound = clip(SECONDS)
    frame_times, compose.frame_times = compose.frame_times, film_times
    try:
        film = clip(RATE * SECONDS)
    finally:
        compose.frame_times = frame_times
    assert sound.heard is not None
    assert film.visible is not None
    heard = np.pad(np.repeat(sound.heard, RATE, axis=0), ((0, 0), (0, 256 - len(parts.classes))))
    visible = np.where(film.visible == IGNORE, 0, film.visible)
    sounding = np.take_along_axis(heard[:, None], visible.reshape(len(visible), 1, -1), axis=2)
    return film._replace(waveform=sound.waveform), sounding.reshape(visible.shape)


def write(path: Path, clip: Clip) -> None:
    with av.open(str(path), "w") as output:
        video = output.add_stream("libx264", rate=RATE, options={"crf": "12", "preset": "veryfast"})
        video.height, video.width = clip.frames.shape[1:3]
        video.pix_fmt = "yuv420p"
        sound = output.add_stream("pcm_s16le", rate=SAMPLE_RATE, layout="mono")
        for picture in clip.frames:
            output.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        output.mux(video.encode(None))
        samples = av.AudioFrame.from_ndarray(clip.waveform[None].astype(np.float32), "flt", "mono")
        samples.rate = SAMPLE_RATE
        output.mux(sound.encode(samples))
        output.mux(sound.encode(None))


def steadiness(masks: NDArray[np.bool_]) -> list[float]:
    """IoU of neighbouring masks of the same second, where there is one in either."""
    pairs = ((masks[t], masks[t + 1]) for t in range(len(masks) - 1) if (t + 1) % RATE)
    return [iou(one, other) for one, other in pairs if one.any() or other.any()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", type=Path)
    parser.add_argument("--clips", type=int, default=20)
    parser.add_argument("--fps", type=float, nargs="+", default=[4.0])
    parser.add_argument("--plain", action="store_true")
    arguments = parser.parse_args()
    if arguments.plain:
        motion.OpticalFlow._steps = lambda *_: (None, 0.0)  # type: ignore[method-assign]
        motion.OpticalFlow.temporal_median = lambda _, before, seen, after: seen  # type: ignore[method-assign]
    segmenter, parts = Segmenter(), Parts(arguments.parts, "test")
    scores: dict[float, list[list[float]]] = {fps: [[], []] for fps in arguments.fps}
    of_truth: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        for index in range(arguments.clips):
            clip, truth = compose_film(parts, index)
            path = Path(folder) / "clip.mkv"
            write(path, clip)
            of_truth += steadiness(truth)
            for fps, (right, temporal_median) in scores.items():
                results = segmenter.segment(path, fps=fps)
                masks = np.stack([result.masks.labels() > 0 for result in results])
                right += [iou(m, t) for m, t in zip(masks, truth, strict=True) if t.any()]
                temporal_median += steadiness(masks)
    print(f"IoU of neighbouring masks, of the truth: {np.mean(of_truth):.3f}")
    for fps, (right, temporal_median) in scores.items():
        print(f"{fps:g} analysed a second: {np.mean(temporal_median):.3f}, J {np.mean(right):.3f}")


if __name__ == "__main__":
    main()
