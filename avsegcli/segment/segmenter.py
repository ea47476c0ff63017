"""One video in, masks out: decode > window > network > masks > paint > encode.

    thread 1   decode, scale down, log-mel     windows of T analysed frames
    thread 2   the network                     (T, L + 1, h, w) probabilities
    caller     masks of every frame            FrameResult
               paint, encode, write (segment_file, outputs.py)

Each stage holds one window, so that memory does not grow with the video.
"""

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Protocol, Unpack, cast, get_args

import numpy as np
from numpy.typing import NDArray

from avsegcli.audio.load import SoundReader
from avsegcli.errors import ConfigError
from avsegcli.inference.masks import MaskFinder
from avsegcli.inference.predictor import Engine, open_predictor
from avsegcli.outputs.frame_result import FrameResult, Summary
from avsegcli.outputs.plan import Outputs, Writers
from avsegcli.outputs.timeline import Timeline
from avsegcli.segment.options import OptionArguments, SegmentOptions
from avsegcli.segment.windows import Window, cut_windows, interpolate_masks
from avsegcli.video.damage import problems_of
from avsegcli.video.prefetch import prefetch
from avsegcli.video.reader import VideoReader
from avsegcli.video.still import open_pictures

Progress = Callable[[float, float | None], None]  # seconds done, and of how many


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


class FileArguments(OptionArguments, total=False):
    """The keyword arguments of `Segmenter.segment_file`: files to write, and options."""

    masks: str | Path | None
    json: str | Path | None
    alpha_video: str | Path | None
    timeline: str | Path | Sequence[str | Path]
    report: str | Path | None


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
        options: SegmentOptions | None = None,
        *,
        overwrite: bool = False,
    ) -> None:
        """Check the files as `write` does, without loading the model."""
        video = Path(video)
        options = options or SegmentOptions()
        options.encoding.check(wanted.output)
        track = options.sound_of(video)
        SoundReader(track).close()
        open_pictures(video, track).close()
        wanted.check(inputs=[video, track.path], overwrite=overwrite)

    def segment(
        self,
        video: str | Path,
        options: SegmentOptions | None = None,
        *,
        problems: list[str] | None = None,
        **changes: Unpack[OptionArguments],
    ) -> Generator[FrameResult, None, None]:
        """Segment each frame of a video, without writing files.

        The network looks at `fps` frames a second, each with the 0.96 s of sound around it; the
        frames in between get probabilities that follow the motion of the picture.

        Args:
            video: a video file with sound, or a picture if there is `audio`.
            options: those of painting have no effect here.
            problems: a list that takes what was wrong with the file, a line each, at the end.
            changes: fields of `SegmentOptions` by name, such as `fps=2`.

        Yields:
            Every frame, in order.

        Raises:
            MediaError: if the file is not a readable video with sound.
            ConfigError: if an option is out of its range.
        """
        options = replace(options or SegmentOptions(), **changes)
        track = options.sound_of(Path(video))
        with (
            closing(SoundReader(track)) as sound,
            closing(open_pictures(Path(video), track, deinterlace=options.deinterlace)) as pictures,
        ):
            yield from self._segment(pictures, sound, options, problems)

    def _segment(
        self,
        video: VideoReader,
        sound: SoundReader,
        options: SegmentOptions,
        problems: list[str] | None,
    ) -> Generator[FrameResult, None, None]:
        threshold = self.predictor.threshold if options.threshold is None else options.threshold
        find_masks = MaskFinder(video.width, video.height, threshold)

        def answers(
            windows: Generator[Window, None, None],
        ) -> Generator[tuple[Window, NDArray[np.float32]], None, None]:
            with closing(windows):
                for window in windows:
                    yield window, self.predictor.predict(window.pictures, window.log_mel)

        num_frames, size = self.predictor.num_frames, self.predictor.size
        windows = cut_windows(video, sound, num_frames=num_frames, fps=options.fps, size=size)
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
        overwrite: bool = False,
        progress: Progress | None = None,
        **arguments: Unpack[FileArguments],
    ) -> Summary:
        """Segment a video and write any number of output files.

        Files appear when all of them are complete.

        Args:
            video: a video file with sound, or a picture if there is `audio`.
            output: the painted video, with the size, frame rate and sound of the input: .mp4,
                .mov, .mkv, .webm or .gif.
            overwrite: replace outputs that exist.
            progress: is told after each frame how many seconds are done, and of how many (None
                if the file does not say).
            arguments: the other files, `masks` (a folder for a palette PNG of each analysed frame,
                and classes.json), `json` (objects of each analysed frame with COCO run lengths,
                and events), `alpha_video` (the sounding objects, cut out: .mov or .webm),
                `timeline` (which class sounds when: .png, .csv, .srt or .vtt, one or several) and
                `report` (one self-contained HTML page); and the fields of `SegmentOptions`.

        Raises:
            MediaError: if the video cannot be read or an output not be written.
            ConfigError: if an argument is out of its range.
        """
        wanted = Outputs.of(
            output,
            arguments.pop("masks", None),
            arguments.pop("json", None),
            arguments.pop("alpha_video", None),
            arguments.pop("timeline", ()),
            arguments.pop("report", None),
        )
        options = SegmentOptions(**cast(OptionArguments, arguments))
        return self.write(Path(video), wanted, options, overwrite=overwrite, progress=progress)

    def write(
        self,
        video: Path,
        wanted: Outputs,
        options: SegmentOptions,
        *,
        overwrite: bool = False,
        progress: Progress | None = None,
    ) -> Summary:
        """Write files of a video, as `segment_file` does.

        Args:
            video: a video file with sound, or a picture if `options.audio` names a sound.
            wanted: the files.
            options: what is analysed, and how it is shown.
            overwrite: replace outputs that exist.
            progress: as of `segment_file`.

        Raises:
            MediaError: if the video cannot be read or an output not be written.
            ConfigError: if an option is out of its range.
        """
        self.check_files(video, wanted, options, overwrite=overwrite)
        track = options.sound_of(video)
        events = Timeline(self.predictor.classes)
        problems: list[str] = []
        frames, seconds = 0, 0.0
        with (
            closing(SoundReader(track)) as sound,
            closing(open_pictures(video, track, deinterlace=options.deinterlace)) as pictures,
            closing(self._segment(pictures, sound, options, problems)) as results,
            Writers(
                wanted,
                pictures,
                track,
                model=self.predictor.model_name,
                classes=self.predictor.classes,
                look=options.look,
                encoding=options.encoding,
                every_frame=options.every_frame,
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
