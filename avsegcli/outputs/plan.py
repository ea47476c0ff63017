"""The files that can be written of one video: which are wanted, and how they come about."""

import sys
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self

import av

from avsegcli.errors import ConfigError, MediaError
from avsegcli.files.atomic import resolved_path
from avsegcli.files.preflight import (
    EXISTS,
    PlannedOutput,
    atomic_write,
    check_conflicts,
    check_writable,
    wrap_write_errors,
)
from avsegcli.outputs.alpha import AlphaWriter, check_alpha
from avsegcli.outputs.frame_result import FrameResult
from avsegcli.outputs.html_page import TYPES, Report
from avsegcli.outputs.json_file import JsonFile
from avsegcli.outputs.mask_folder import (
    CLASSES_FILE,
    MaskFolder,
    atomic_mask_folder,
    holds_masks_only,
)
from avsegcli.outputs.timeline import Event
from avsegcli.outputs.timeline_files import check_timeline, write_timeline
from avsegcli.render.colors import class_colours
from avsegcli.render.look import Look
from avsegcli.video.codecs import Encoding
from avsegcli.video.containers import CONTAINERS, Container, container_of
from avsegcli.video.gif import GifWriter
from avsegcli.video.reader import SoundTrack, VideoReader, open_media
from avsegcli.video.writer import VideoWriter

PAGE_SUFFIXES = (".html", ".htm")
VIDEO_OF_BROWSERS = frozenset({"h264", "vp8", "vp9", "av1"})
SOUND_OF_BROWSERS = frozenset({"aac", "mp3", "opus", "vorbis", "flac"})
MP4 = CONTAINERS[".mp4"]
MP4_OF_PAGE = MP4._replace(copied=MP4.copied & SOUND_OF_BROWSERS)


@dataclass(frozen=True)
class Outputs:
    """The files that are wanted of one video."""

    output: Path | None = None  # the painted video
    masks: Path | None = None  # a folder
    json: Path | None = None
    alpha_video: Path | None = None
    timeline: tuple[Path, ...] = ()
    report: Path | None = None

    @classmethod
    def of(
        cls,
        output: str | Path | None = None,
        masks: str | Path | None = None,
        json: str | Path | None = None,
        alpha_video: str | Path | None = None,
        timeline: str | Path | Sequence[str | Path] = (),
        report: str | Path | None = None,
    ) -> "Outputs":
        """Make paths of what may be given as text."""
        if isinstance(timeline, str | Path):
            timeline = (timeline,)

        def path(given: str | Path | None) -> Path | None:
            return None if given is None else _without_detour(Path(given))

        return cls(
            path(output),
            path(masks),
            path(json),
            path(alpha_video),
            tuple(_without_detour(Path(one)) for one in timeline),
            path(report),
        )

    def paths(self) -> list[Path]:
        """Return all of them."""
        files = (self.output, self.masks, self.json, self.alpha_video, *self.timeline, self.report)
        return [path for path in files if path is not None]

    def planned(self, video: Path) -> list[PlannedOutput]:
        """Return them as what is to be written of a video."""
        return [PlannedOutput(path, video, path == self.masks) for path in self.paths()]

    def are_complete(self) -> bool:
        """Tell whether all exist; they appear under their names only when they are complete."""
        return all(
            (path / CLASSES_FILE if path == self.masks else path).exists() for path in self.paths()
        )

    def check_formats(self) -> None:
        """Raise a `MediaError` if a suffix stands for nothing that can be written."""
        if not self.paths():
            raise ConfigError(
                "no output is asked for",
                "Give -o FILE, --masks, --json, --alpha-video, --timeline or --report.",
            )
        if self.output and self.output.suffix.lower() != ".gif":
            container_of(self.output)
        if self.alpha_video:
            check_alpha(self.alpha_video)
        for path in self.timeline:
            check_timeline(path)
        if self.report and self.report.suffix.lower() not in PAGE_SUFFIXES:
            raise MediaError(
                f"cannot write {self.report}: a report is a page for browsers",
                f"Use one of {', '.join(PAGE_SUFFIXES)}.",
            )

    def check(self, *, inputs: Sequence[Path], overwrite: bool = False) -> None:
        """Make sure that all can be written.

        Args:
            inputs: the video, then what else is read.
            overwrite: they may replace what exists.

        Raises:
            MediaError: if one of them exists and is not to be replaced, is one of the inputs, or
                cannot be written.
            ConfigError: if none is wanted, or two of them are one file.
        """
        self.check_formats()
        check_conflicts(self.planned(inputs[0]), inputs)
        for path in self.paths():
            if path == self.masks and path.is_dir():
                _check_replaceable(path, overwrite)
            else:
                check_writable(path, force=overwrite)


def _without_detour(path: Path) -> Path:
    """Take `..` out of a path that leads through folders that are not there."""
    return path if ".." not in path.parts or path.parent.exists() else resolved_path(path)


def _check_replaceable(folder: Path, overwrite: bool) -> None:
    """Raise if a folder holds anything but masks, or masks that are not to be replaced."""
    if not any(folder.iterdir()):
        return
    if not overwrite:
        raise MediaError(f"{folder} exists already", EXISTS)
    if not holds_masks_only(folder):
        raise MediaError(f"{folder} holds other files than masks", "Name a new folder.")


class Writers:
    """Writes all that is wanted of one video, frame by frame; see `Segmenter.segment_file`.

    Used as a context manager: the files appear under their names when the block ends without an
    error, after all of them are complete.

    Raises:
        MediaError: if a file cannot be written; so do the methods.
    """

    def __init__(
        self,
        wanted: Outputs,
        video: VideoReader,
        track: SoundTrack,
        *,
        model: str,
        classes: tuple[str, ...],
        look: Look,
        encoding: Encoding,
        every_frame: bool,
    ) -> None:
        self._wanted = wanted
        self._video = video
        self._track = track
        self._model = model
        self._classes = classes
        self._colours = class_colours(look.palette, classes)[: len(classes) - 1]
        self._look = look
        self._encoding = encoding
        self._every_frame = every_frame
        self._files = ExitStack()  # become visible at the end ...
        self._open = ExitStack()  # ... after these are closed
        self._painted: list[VideoWriter | GifWriter] = []
        self._encoded: list[VideoWriter] = []
        self._cut: AlphaWriter | None = None
        self._masks: MaskFolder | None = None
        self._json: JsonFile | None = None
        self._report: Report | None = None

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self

    def _start(self) -> None:
        wanted, video, name = self._wanted, self._video, self._wanted.output
        self._painter = self._look.painter(
            self._classes, video.width, video.height, colorspace=video.colorspace
        )
        parts = {
            path: self._files.enter_context(
                atomic_mask_folder(path) if path == wanted.masks else atomic_write(path)
            )
            for path in wanted.paths()
        }
        self._parts = parts
        if name is not None and name.suffix.lower() == ".gif":
            gif = GifWriter(parts[name], video, name=name, wide=self._painter.wide)
            self._painted.append(self._open.enter_context(gif))
        elif name is not None:
            self._painted.append(self._video_writer(parts[name], name))
        if wanted.alpha_video is not None:
            self._cut = AlphaWriter(
                parts[wanted.alpha_video], video, self._track, name=wanted.alpha_video
            )
            self._encoded.append(self._cut)
            self._open.enter_context(self._cut)
        if wanted.masks is not None:
            with wrap_write_errors(wanted.masks):
                self._masks = MaskFolder(parts[wanted.masks], self._classes, self._colours)
        if wanted.json is not None:
            about = {
                "video": video.path.name,
                "width": video.width,
                "height": video.height,
                "fps": float(video.rate),
                "model": self._model,
            }
            if video.span.start:
                about["start"] = float(video.span.start)  # seconds; times count from there
            self._json = JsonFile(parts[wanted.json], self._classes, about)
            self._open.callback(self._json.close)
        if wanted.report is not None:
            if name is not None and self._played_by_browsers(name):
                self._shown = parts[name]
            else:
                folder = Path(self._files.enter_context(TemporaryDirectory()))
                # Of H.264 with the full chroma of odd sizes not all browsers know what to do.
                self._shown = folder / ("painted.webm" if self._is_odd else "painted.mp4")
                container = None if self._is_odd else MP4_OF_PAGE
                page_video = self._video_writer(self._shown, wanted.report, container)
                self._painted.append(page_video)
            self._report = Report(video.path.name, self._model, self._classes, self._colours)

    @property
    def _is_odd(self) -> bool:
        return bool(self._painter.wide * self._video.width % 2 or self._video.height % 2)

    def _played_by_browsers(self, output: Path) -> bool:
        if output.suffix.lower() not in TYPES:
            return False
        video = av.Codec(self._encoding.encoder(output)[0], "w").canonical_name
        with closing(open_media(self._track.path)) as container:
            sound = self._track.stream_in(container).codec_context.codec.canonical_name
        copied = sound in container_of(output).copied
        if video not in VIDEO_OF_BROWSERS or (video == "h264" and self._is_odd):
            return False
        return sound in SOUND_OF_BROWSERS or not copied

    def _video_writer(
        self, part: Path, name: Path, container: Container | None = None
    ) -> VideoWriter:
        encoding = self._encoding if name == self._wanted.output else Encoding()
        pix_fmt, time_base = encoding.fit(part, self._video, odd=self._is_odd)
        writer = VideoWriter(
            part,
            self._video,
            self._track,
            name=name,
            container=container,
            encoder=encoding.encoder(part),
            pix_fmt=pix_fmt,
            time_base=time_base,
            wide=self._painter.wide,
            others=name != self._wanted.report,
        )
        self._encoded.append(writer)
        return self._open.enter_context(writer)

    @property
    def problems(self) -> list[str]:
        """Streams that are left out of the files, a line each."""
        return [line for writer in self._encoded for line in writer.problems]

    def add(self, result: FrameResult) -> None:
        """Write one frame; they come in order."""
        painted: Any = None
        if self._painted or (self._report and result.analysed):
            painted = self._painter.paint(result.frame, result.masks)
        for writer in self._painted:
            writer.write(painted)
        if self._cut is not None:
            self._cut.add(result.frame, result.masks)
        if self._masks is not None and (result.analysed or self._every_frame):
            with wrap_write_errors(self._wanted.masks):
                self._masks.add(result.index, result.time, result.masks)
        if self._json is not None and result.analysed:
            with wrap_write_errors(self._wanted.json):
                self._json.add(result.index, result.time, result.masks)
        if self._report is not None and result.analysed:
            self._report.add(result.time, painted, result.masks.regions)

    def finish(self, events: list[Event], seconds: float) -> None:
        """Write what can be said only when all frames are in."""
        if self._json is not None:
            with wrap_write_errors(self._wanted.json):
                self._json.finish(
                    [
                        {
                            "class": event.class_name,
                            "start": round(event.start, 4),
                            "end": round(event.end, 4),
                            "score": round(event.score, 4),
                        }
                        for event in events
                    ]
                )
        self._open.close()
        colours = dict(zip(self._classes[1:], self._colours, strict=True))
        for path in self._wanted.timeline:
            with wrap_write_errors(path):
                write_timeline(self._parts[path], events, seconds, colours)
        page = self._wanted.report
        if self._report is not None and page is not None:
            with wrap_write_errors(page):
                self._report.write(self._parts[page], self._shown, events, seconds)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._files:
            if error is not None:
                self._open.__exit__(kind, error, trace)
                raise error
