"""One video in, masks out: decode > window > network > masks > paint > encode.

    thread 1   decode, scale down, log-mel     windows of T analysed frames
    thread 2   the network                     (T, L + 1, h, w) probabilities
    caller     masks of every frame            FrameResult
               paint, encode, write (segment_file, outputs.py)

Each stage holds one window, so that memory does not grow with the video.
"""

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from numbers import Integral, Real
from pathlib import Path
from typing import Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from avsegcli.audio.load import SoundReader
from avsegcli.errors import ConfigError
from avsegcli.inference.masks import MaskFinder
from avsegcli.inference.predictor import Engine, open_predictor
from avsegcli.outputs.frame_result import FrameResult, Summary
from avsegcli.outputs.plan import Look, Outputs, Writers
from avsegcli.outputs.timeline import Timeline
from avsegcli.render.colors import Palette, parse_palette
from avsegcli.segment.windows import Window, cut_windows, interpolate_masks
from avsegcli.video.codecs import Encoding
from avsegcli.video.damage import problems_of
from avsegcli.video.prefetch import prefetch
from avsegcli.video.reader import SoundTrack, VideoReader
from avsegcli.video.span import Span
from avsegcli.video.still import open_pictures

Time = float | str  # seconds, or as FFmpeg takes times


class MaskPredictor(Protocol):
    """Turn frames and sound into probabilities; see `torch_predictor.Predictor`."""

    classes: tuple[str, ...]
    num_frames: int  # T, analysed frames asked about at a time
    size: int  # longer side of what it sees, in pixels
    threshold: float  # of a class probability; what reaches it is an object

    @property
    def model_name(self) -> str:
        """Name of the model, for the user."""
        ...

    @property
    def device_name(self) -> str:
        """Name of the device, for the user."""
        ...

    def predict(
        self, frames: Sequence[NDArray[np.uint8]], log_mel: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Return ``(T, L + 1, h, w)`` for T pictures ``(H, W, 3)`` and ``(T, 96, 64)``."""
        ...


def check_numbers(fps: float, threshold: float | None) -> None:
    """Raise a `ConfigError` if an argument of `Segmenter.segment` is out of its range."""
    if not (isinstance(fps, Real) and 0 < fps < math.inf):
        raise ConfigError(f"fps must be a number above 0, not {fps!r}")
    if threshold is not None and not (isinstance(threshold, Real) and 0 < threshold < 1):
        raise ConfigError(f"threshold must be above 0 and below 1, not {threshold!r}")


def _sound_track(
    video: str | Path, audio: str | Path | None, audio_stream: int | None, span: Span
) -> SoundTrack:
    if not (audio_stream is None or isinstance(audio_stream, Integral)):
        raise ConfigError(f"audio_stream must be a whole number, not {audio_stream!r}")
    return SoundTrack(Path(audio or video), audio_stream, span)


class Segmenter:
    """Finds the sounding objects in videos.

    Args:
        predictor: the model; None: `avsegcli.inference.predictor.open_predictor` opens it.
        weights: a checkpoint, or a graph of `avseg export`; None: the packaged one.
        device: auto, cpu, cuda or mps.
        engine: auto, onnx, openvino or torch.

    Example:
        Print the sounding classes of the first half minute::

            for result in Segmenter().segment("clip.mp4"):
                print(result.time, [region.class_index for region in result.masks.regions])
                if result.time > 30:
                    break
    """

    def __init__(
        self,
        predictor: MaskPredictor | None = None,
        *,
        weights: str | Path | None = None,
        device: str = "auto",
        engine: Engine = "auto",
    ) -> None:
        if engine not in get_args(Engine):
            raise ConfigError(f"no engine is called '{engine}'", f"One of {get_args(Engine)}.")
        self._predictor = predictor
        self._weights = None if weights is None else Path(weights)
        self._device = device
        self._engine: Engine = engine

    @property
    def predictor(self) -> MaskPredictor:
        """The predictor; loaded when it is first needed."""
        if self._predictor is None:
            self._predictor = open_predictor(self._weights, self._device, self._engine)
        return self._predictor

    def check_files(
        self,
        video: str | Path,
        wanted: Outputs,
        *,
        audio: str | Path | None = None,
        audio_stream: int | None = None,
        start: Time | None = None,
        end: Time | None = None,
        overwrite: bool = False,
    ) -> None:
        """Check the files as `segment_file` does, without loading the model."""
        video = Path(video)
        track = _sound_track(video, audio, audio_stream, Span.of(start, end))
        SoundReader(track).close()
        open_pictures(video, track).close()
        wanted.check(inputs=[video, track.path], overwrite=overwrite)

    def segment(
        self,
        video: str | Path,
        *,
        fps: float = 4.0,
        threshold: float | None = None,
        audio: str | Path | None = None,
        audio_stream: int | None = None,
        start: Time | None = None,
        end: Time | None = None,
        deinterlace: bool = True,
        problems: list[str] | None = None,
    ) -> Generator[FrameResult, None, None]:
        """Segment each frame of a video, without writing files.

        The network looks at `fps` frames a second, each with the 0.96 s of sound around it; the
        frames in between get probabilities that follow the motion of the picture.

        Args:
            video: a video file with sound, or a picture if there is `audio`.
            fps: analysed frames a second; of a video with fewer, all are.
            threshold: probability above which a pixel counts, in (0, 1); None: the predictor's.
            audio: a file whose sound is taken instead of the video's own.
            audio_stream: which sound stream of the file, from 1 on; None: its default one.
            start: where to begin, in seconds or as FFmpeg takes times ("1:30"); all times of the
                results count from there.
            end: where to end, likewise.
            deinterlace: make one picture of the two half pictures of interlaced video.
            problems: a list that takes what was wrong with the file, a line each, at the end.

        Yields:
            Every frame, in order.

        Raises:
            MediaError: if the file is not a readable video with sound.
            ConfigError: if an argument is out of its range.
        """
        track = _sound_track(video, audio, audio_stream, Span.of(start, end))
        with (
            closing(SoundReader(track)) as sound,
            closing(open_pictures(Path(video), track, deinterlace=deinterlace)) as pictures,
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
        check_numbers(fps, threshold)
        threshold = self.predictor.threshold if threshold is None else threshold
        find_masks = MaskFinder(video.width, video.height, threshold)

        def answers(
            windows: Generator[Window, None, None],
        ) -> Generator[tuple[Window, NDArray[np.float32]], None, None]:
            with closing(windows):
                for window in windows:
                    yield window, self.predictor.predict(window.pictures, window.log_mel)

        windows = cut_windows(
            video, sound, num_frames=self.predictor.num_frames, fps=fps, size=self.predictor.size
        )
        answered = prefetch(answers(prefetch(windows)))
        try:
            for index, (frame, analysed, probs) in enumerate(interpolate_masks(answered)):
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
                problems += problems_of(video, sound)

    def segment_file(
        self,
        video: str | Path,
        output: str | Path | None = None,
        *,
        fps: float = 4.0,
        threshold: float | None = None,
        audio: str | Path | None = None,
        audio_stream: int | None = None,
        start: Time | None = None,
        end: Time | None = None,
        deinterlace: bool = True,
        style: str = "overlay",
        alpha: float = 0.5,
        palette: str | Palette = (),
        legend: bool = True,
        labels: bool = True,
        codec: str | None = None,
        crf: int | None = None,
        preset: str | None = None,
        masks: str | Path | None = None,
        every_frame: bool = False,
        json: str | Path | None = None,
        alpha_video: str | Path | None = None,
        timeline: str | Path | Sequence[str | Path] = (),
        report: str | Path | None = None,
        overwrite: bool = False,
        progress: Callable[[float, float | None], None] | None = None,
    ) -> Summary:
        """Segment a video and write any number of output files.

        Files appear when all of them are complete.

        Args:
            video: a video file with sound, or a picture if there is `audio`.
            output: the painted video, with the size, frame rate and sound of the input: .mp4,
                .mov, .mkv, .webm or .gif.
            fps: analysed frames a second; of a video with fewer, all are.
            threshold: probability above which a pixel counts, in (0, 1); None: the predictor's.
            audio: a file whose sound is taken instead of the video's own.
            audio_stream: which sound stream of the file, from 1 on; None: its default one.
            start: where to begin, in seconds or as FFmpeg takes times ("1:30"); all times of the
                results count from there.
            end: where to end, likewise.
            deinterlace: make one picture of the two half pictures of interlaced video.
            style: how it is painted, one of `avsegcli.render.styles.STYLES`.
            alpha: opacity of the masks in [0, 1].
            palette: RGB colours of the classes, by their names or from index 1 on, also as
                `parse_palette` reads them; the rest take the built-in ones.
            legend: list the sounding classes in a corner.
            labels: write the class beside each mask.
            codec: FFmpeg's name of the encoder of `output`; None: that of its suffix.
            crf: quality of the encoder, lower is better; None: a good one.
            preset: of the encoder; None: a fast one.
            masks: a folder for a palette PNG of each analysed frame, and classes.json.
            every_frame: masks of every frame of the video.
            json: objects of each analysed frame with COCO run lengths, and events.
            alpha_video: the sounding objects, cut out: .mov (ProRes 4444) or .webm (VP9).
            timeline: which class sounds when: .png, .csv, .srt or .vtt; one or several.
            report: one self-contained HTML page.
            overwrite: replace outputs that exist.
            progress: is told after each frame how many seconds are done, and of how many (None
                if the file does not say).

        Raises:
            MediaError: if the video cannot be read or an output not be written.
            ConfigError: if an argument is out of its range.
        """
        video = Path(video)
        wanted = Outputs.of(output, masks, json, alpha_video, timeline, report)
        if isinstance(palette, str):
            palette = parse_palette(palette)
        palette = palette if isinstance(palette, Mapping) else tuple(palette)
        look = Look(style, alpha, palette, legend, labels)
        encoding = Encoding(codec, crf, preset)
        look.check()
        encoding.check(wanted.output)
        self.check_files(
            video,
            wanted,
            audio=audio,
            audio_stream=audio_stream,
            start=start,
            end=end,
            overwrite=overwrite,
        )
        track = _sound_track(video, audio, audio_stream, Span.of(start, end))
        events = Timeline(self.predictor.classes)
        problems: list[str] = []
        frames, seconds = 0, 0.0
        with (
            closing(SoundReader(track)) as sound,
            closing(open_pictures(video, track, deinterlace=deinterlace)) as pictures,
            closing(self._segment(pictures, sound, fps, threshold, problems)) as results,
            Writers(
                wanted,
                pictures,
                track,
                model=self.predictor.model_name,
                classes=self.predictor.classes,
                look=look,
                encoding=encoding,
                every_frame=every_frame,
            ) as writers,
        ):
            for result in results:
                writers.add(result)
                events.add(result.time, result.end, result.masks.regions)
                frames, seconds = result.index + 1, result.end
                if progress is not None:
                    progress(seconds, pictures.duration)
            results.close()
            writers.finish(events.events(), seconds)
            problems += dict.fromkeys(writers.problems)
        return Summary(wanted.paths(), frames, seconds, events.events(), problems)
