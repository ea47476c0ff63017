"""One video in, masks out: decode > window > network > masks > paint > encode.

    thread 1   decode, scale down, log-mel     windows of T analysed frames
    thread 2   the network                     (T, L + 1, h, w) probabilities
    caller     masks of every frame            FrameResult
               paint, encode, mux (segment_file)

Each stage holds one window, so that memory does not grow with the video.
"""

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from avsegcli.errors import ConfigError, MediaError
from avsegcli.media.decode import SoundReader, VideoReader
from avsegcli.media.encode import VideoWriter, check_writable, container_of, written_whole
from avsegcli.media.masks import MaskFinder, Masks
from avsegcli.media.overlay import Painter
from avsegcli.media.prefetch import prefetch
from avsegcli.media.windows import Window, cut_windows, spread_masks
from avsegcli.timeline import Event, Timeline

PICTURE_SIZE = 224  # longer side of what the network sees, in pixels


class MaskPredictor(Protocol):
    """What turns pictures and sound into probabilities; see `avsegcli.predictor`."""

    classes: tuple[str, ...]
    num_frames: int  # T, analysed frames asked about at a time
    threshold: float  # of a class probability; what reaches it is an object

    @property
    def model_name(self) -> str:
        """What a person calls it."""
        ...

    @property
    def device_name(self) -> str:
        """Where it runs, in words."""
        ...

    def predict(
        self, frames: Sequence[NDArray[np.uint8]], log_mel: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Return ``(T, L + 1, h, w)`` for T pictures ``(H, W, 3)`` and ``(T, 96, 64)``."""
        ...


@dataclass(frozen=True)
class FrameResult:
    """One frame of a video and what sounds where in it."""

    index: int  # number of the frame, from 0 on
    time: float  # seconds from the start of the file
    end: float  # seconds; when the next frame is shown
    analysed: bool  # the network has seen this very frame; else between two that it has
    probs: NDArray[np.float32]  # (L + 1, h, w) class probabilities; index 0 background
    frame: Any  # av.VideoFrame, yuv420p, upright, full size; copy it before drawing on it
    masks: Masks

    @cached_property
    def labels(self) -> NDArray[np.uint8]:
        """The class of every pixel, ``(H, W)``; 0 is the background."""
        return self.masks.labels()

    @cached_property
    def rgb(self) -> NDArray[np.uint8]:
        """The picture, ``(H, W, 3)``."""
        array: NDArray[np.uint8] = self.frame.to_ndarray(format="rgb24")
        return array


class Summary(NamedTuple):
    """What `Segmenter.segment_file` found."""

    output: Path
    frames: int
    seconds: float  # end of the last frame
    events: list[Event]  # which class sounds when
    problems: list[str]  # what was wrong with the input, a line each


class Segmenter:
    """Finds the sounding objects in videos.

    Args:
        predictor: what to ask; None: an `avsegcli.predictor.Predictor` of `weights`, `device`.
        weights: a checkpoint; None: the packaged one.
        device: auto, cpu, cuda or mps.

    Example:
        Print what sounds in the first half minute::

            for result in Segmenter().segment("clip.mp4"):
                print(result.time, [region.class_index for region in result.masks.regions])
                if result.time > 30:
                    break
    """

    def __init__(
        self,
        predictor: MaskPredictor | None = None,
        *,
        weights: Path | None = None,
        device: str = "auto",
    ) -> None:
        self._predictor = predictor
        self._weights = weights
        self._device = device

    @property
    def predictor(self) -> MaskPredictor:
        """What is asked; loaded when it is first needed."""
        if self._predictor is None:
            from avsegcli.predictor import Predictor  # loads torch

            self._predictor = Predictor(self._weights, self._device)
        return self._predictor

    def check_files(self, video: str | Path, output: str | Path, *, force: bool = False) -> None:
        """Raise what `segment_file` would raise about its files, without loading the model."""
        video, output = Path(video), Path(output)
        container_of(output)
        VideoReader(video).close()
        SoundReader(video).close()
        if output.exists() and output.samefile(video):
            raise MediaError(f"{output} is the video itself", "Give another name to the output.")
        check_writable(output, force=force)

    def segment(
        self,
        video: str | Path,
        *,
        fps: float = 4.0,
        threshold: float | None = None,
        problems: list[str] | None = None,
    ) -> Generator[FrameResult, None, None]:
        """Find what sounds where in each frame of a video, without writing files.

        The network looks at `fps` frames a second, each with the 0.96 s of sound around it; the
        frames in between get probabilities linear in time.

        Args:
            video: a video file with sound.
            fps: analysed frames a second; of a video with fewer, all are.
            threshold: probability from which a pixel counts, in (0, 1]; None: the predictor's.
            problems: a list that takes what was wrong with the file, a line each, at the end.

        Yields:
            Every frame, in order.

        Raises:
            MediaError: if the file is not a readable video with sound.
            ConfigError: if an argument is out of its range.
        """
        with (
            closing(VideoReader(Path(video))) as pictures,
            closing(SoundReader(Path(video))) as sound,
        ):
            yield from self._segment(pictures, sound, fps, threshold, problems)

    def _segment(
        self,
        video: VideoReader,
        sound: SoundReader,
        fps: float,
        threshold: float | None,
        problems: list[str] | None,
    ) -> Generator[FrameResult, None, None]:
        threshold = self.predictor.threshold if threshold is None else threshold
        if not fps > 0:
            raise ConfigError(f"fps must be above 0, not {fps}")
        if not 0 < threshold <= 1:
            raise ConfigError(f"threshold must be above 0 and at most 1, not {threshold}")
        find_masks = MaskFinder(video.width, video.height, threshold)

        def answers(
            windows: Generator[Window, None, None],
        ) -> Generator[tuple[Window, NDArray[np.float32]], None, None]:
            with closing(windows):
                for window in windows:
                    yield window, self.predictor.predict(window.pictures, window.log_mel)

        windows = cut_windows(
            video, sound, num_frames=self.predictor.num_frames, fps=fps, size=PICTURE_SIZE
        )
        answered = prefetch(answers(prefetch(windows)))
        try:
            for index, (frame, analysed, probs) in enumerate(spread_masks(answered)):
                yield FrameResult(
                    index=index,
                    time=frame.time,
                    end=float((frame.pts + frame.duration) * frame.time_base),
                    analysed=analysed,
                    probs=probs,
                    frame=frame,
                    masks=find_masks(probs),
                )
        finally:
            answered.close()
            if problems is not None:
                problems += video.problems() + sound.problems()

    def segment_file(
        self,
        video: str | Path,
        output: str | Path,
        *,
        fps: float = 4.0,
        alpha: float = 0.5,
        threshold: float | None = None,
        force: bool = False,
        progress: Callable[[float, float | None], None] | None = None,
    ) -> Summary:
        """Paint the sounding objects of a video, keeping its size, frame rate and sound.

        Args:
            video: a video file with sound.
            output: .mp4, .mov, .mkv or .webm; it appears when it is complete.
            fps: analysed frames a second; of a video with fewer, all are.
            alpha: opacity of the masks in [0, 1].
            threshold: probability from which a pixel counts, in (0, 1]; None: the predictor's.
            force: replace `output` if it exists.
            progress: is told after each frame how many seconds are done, and of how many (None
                if the file does not say).

        Raises:
            MediaError: if the video cannot be read or the output not be written.
            ConfigError: if an argument is out of its range.
        """
        video, output = Path(video), Path(output)
        if not 0 <= alpha <= 1:
            raise ConfigError(f"alpha must be from 0 to 1, not {alpha}")
        self.check_files(video, output, force=force)
        timeline = Timeline(self.predictor.classes)
        problems: list[str] = []
        frames, seconds = 0, 0.0
        with (
            closing(VideoReader(video)) as pictures,
            closing(SoundReader(video)) as sound,
            written_whole(output) as part,
            closing(self._segment(pictures, sound, fps, threshold, problems)) as results,
            VideoWriter(part, pictures, video, name=output) as writer,
        ):
            painter = Painter(
                self.predictor.classes,
                pictures.width,
                pictures.height,
                colorspace=pictures.colorspace,
                alpha=alpha,
            )
            for result in results:
                writer.write(painter.paint(result.frame, result.masks))
                timeline.add(result.time, result.end, result.masks.regions)
                frames, seconds = result.index + 1, result.end
                if progress is not None:
                    progress(seconds, pictures.duration)
        return Summary(output, frames, seconds, timeline.events(), problems)
