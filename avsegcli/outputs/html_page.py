"""One self-contained HTML page about a video: it plays, and its timeline seeks on a click."""

import base64
import html
import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any, BinaryIO

import av
import cv2
import numpy as np

from avsegcli.files.atomic import printable
from avsegcli.inference.masks import Region
from avsegcli.outputs.timeline import BRIDGED_S, Event
from avsegcli.render.colors import Colour

THUMB_WIDTH = 320  # pixels
MOST_KEY_FRAMES = 24
MOST_KEPT = 512  # pictures in memory, of the longest stretches of sounding; two of each class
CHUNK = 3 * 1024 * 1024  # bytes of the video encoded at a time; divisible by 3
TYPES = {".mp4": "video/mp4", ".m4v": "video/mp4", ".webm": "video/webm"}
VIDEO_MARK = "<video>"  # escaped text holds none


class Report:
    """Collects key frames of a video and writes the page.

    Args:
        video: name of the video.
        model: name of the model.
        classes: names; index 0 is the background.
        colours: RGB of the classes from index 1 on.
    """

    def __init__(
        self, video: str, model: str, classes: Sequence[str], colours: Sequence[Colour]
    ) -> None:
        self._video = video
        self._model = model
        self._classes = classes
        self._colours = dict(zip(classes[1:], colours, strict=True))
        # By class and since when it sounds: score, time and JPEG of the best frame.
        self._best: dict[tuple[str, float], tuple[float, float, bytes]] = {}
        self._until: dict[tuple[str, float], float] = {}  # when it was last seen to sound
        self._now: dict[str, tuple[str, float]] = {}  # of each class the latest of these
        self._before = 0.0  # seconds; the frame before

    def add(self, time: float, painted: Any, regions: Sequence[Region]) -> None:
        """Consider a painted frame as a key frame of what sounds in it."""
        step, self._before = time - self._before, time
        jpeg: bytes | None = None
        for region in regions:
            name = self._classes[region.class_index]
            key = self._now.get(name, (name, time))
            if time - self._until.get(key, time) > step + BRIDGED_S:  # another event, as Timeline's
                key = name, time
            self._now[name], self._until[key] = key, time
            if key not in self._best or region.score > self._best[key][0] + 0.02:
                jpeg = jpeg or _thumbnail(painted)
                self._best[key] = region.score, time, jpeg
        if len(self._best) > MOST_KEPT:
            by_length = sorted(self._best, key=lambda key: (self._until[key] - key[1], key))
            longest = {key[0]: key for key in by_length}  # of each class
            kept = {*self._now.values(), *longest.values()}
            shortest = next(key for key in by_length if key not in kept)
            del self._best[shortest], self._until[shortest]

    def write(self, path: Path, shown: Path, events: Sequence[Event], seconds: float) -> None:
        """Write the page.

        Args:
            path: of the page.
            shown: the painted video that it carries, one that browsers play.
            events: which class sounds when.
            seconds: length of the video.
        """
        kind = TYPES[shown.suffix.lower()]
        data = {
            "seconds": max(seconds, 1e-3),
            "lanes": [
                {
                    "name": name,
                    "colour": "#{:02x}{:02x}{:02x}".format(*self._colours[name]),
                    "events": [
                        [round(e.start, 3), round(e.end, 3), round(e.score, 3)]
                        for e in events
                        if e.class_name == name
                    ],
                }
                for name in dict.fromkeys(event.class_name for event in events)
            ],
            "frames": [
                {
                    "name": name,
                    "time": round(time, 3),
                    "picture": "data:image/jpeg;base64," + base64.b64encode(jpeg).decode(),
                }
                for name, time, jpeg in self._key_frames(events)
            ],
        }
        template = files("avsegcli.outputs").joinpath("html_page.html").read_text(encoding="utf-8")
        page = Template(template).substitute(
            title=html.escape(self._video),
            model=html.escape(self._model),
            data=json.dumps(data).replace("<", "\\u003c"),
            shape=f"{_shape(shown):.4f}",
            video=f"data:{kind};base64,{VIDEO_MARK}",
        )
        before, after = printable(page).split(VIDEO_MARK)
        with path.open("wb") as output, shown.open("rb") as source:
            output.write(before.encode())
            _copy_as_base64(source, output)
            output.write(after.encode())

    def _key_frames(self, events: Sequence[Event]) -> list[tuple[str, float, bytes]]:
        """Return the best frame of each of the longest events: class, time, JPEG; by time.

        The longest of each class comes before all others.
        """
        by_length = sorted(events, key=lambda event: event.end - event.start)
        longest = {event.class_name: event for event in by_length}  # of each class
        by_length.sort(key=lambda event: event is longest[event.class_name])
        chosen = []
        for event in by_length[-MOST_KEY_FRAMES:]:
            frames = [
                frame
                for (name, _), frame in self._best.items()
                if name == event.class_name and event.start <= frame[1] < event.end
            ]
            if frames:
                _, time, jpeg = max(frames, key=lambda frame: frame[0])
                chosen.append((event.class_name, time, jpeg))
        return sorted(chosen, key=lambda frame: frame[1])


def _shape(video: Path) -> float:
    """Return width / height of a video as players show it; its pixels need not be square."""
    with av.open(f"file:{video}") as container:
        stream = container.streams.video[0]
        return float(stream.width / stream.height * (stream.sample_aspect_ratio or 1))


def _thumbnail(painted: Any) -> bytes:
    """Return a small JPEG of a frame; where pixels are not square, the page stretches it."""
    rgb = painted.to_ndarray(format="rgb24")
    height = max(1, round(rgb.shape[0] * THUMB_WIDTH / rgb.shape[1]))
    small = cv2.resize(rgb, (THUMB_WIDTH, height), interpolation=cv2.INTER_AREA)
    bgr = np.ascontiguousarray(small[..., ::-1])
    return bytes(cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 82])[1])


def _copy_as_base64(source: BinaryIO, output: BinaryIO) -> None:
    while chunk := source.read(CHUNK):
        output.write(base64.b64encode(chunk))
