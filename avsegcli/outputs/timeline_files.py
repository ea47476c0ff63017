"""Timeline files: a table (.csv), subtitles (.srt, .vtt) or a picture (.png)."""

import csv
import io
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from avsegcli.errors import MediaError
from avsegcli.outputs.timeline import Event
from avsegcli.render.colors import Colour
from avsegcli.render.text import draw_text

SUFFIXES = (".png", ".csv", ".srt", ".vtt")
PNG_WIDTH, ROW, MARGIN = 1600, 52, 40  # pixels
CAPITAL = 13  # height of a capital letter, pixels
BACKGROUND, LANE, INK = (250, 250, 252), (233, 235, 240), (40, 44, 52)
TICK_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600)  # seconds
MOST_TICKS = 10


def check_timeline(path: Path) -> None:
    """Make sure that the suffix of a timeline is known.

    Raises:
        MediaError: if it is not.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise MediaError(
            f"cannot write the timeline {path}: its suffix is not known",
            f"Use one of {', '.join(SUFFIXES)}.",
        )


def write_timeline(
    path: Path, events: Sequence[Event], seconds: float, colours: dict[str, Colour]
) -> None:
    """Write the events of a video in the format that the suffix says.

    Args:
        path: ends in one of `SUFFIXES`.
        events: by start.
        seconds: length of the video.
        colours: RGB of the classes, for the picture.
    """
    suffix = path.suffix.lower()
    if suffix == ".png":
        path.write_bytes(_picture(events, seconds, colours))
    elif suffix == ".csv":
        path.write_text(_table(events), encoding="utf-8", newline="")
    else:
        path.write_text(_subtitles(events, srt=suffix == ".srt"), encoding="utf-8")


def _table(events: Sequence[Event]) -> str:
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["class", "start", "end", "score"])
    for event in events:
        times = f"{event.start:.3f}", f"{event.end:.3f}"
        rows.writerow([event.class_name, *times, f"{event.score:.4f}"])
    return text.getvalue()


def _subtitles(events: Sequence[Event], *, srt: bool) -> str:
    mark = "," if srt else "."
    blocks = [] if srt else ["WEBVTT\n"]
    for number, (start, end, names) in enumerate(together(events), 1):
        times = f"{_stamp(start, mark)} --> {_stamp(end, mark)}"
        blocks.append((f"{number}\n" if srt else "") + f"{times}\n{', '.join(names)}\n")
    return "\n".join(blocks)


def together(events: Sequence[Event]) -> Iterator[tuple[float, float, list[str]]]:
    """Yield stretches of time in which the same classes sound: start, end, names.

    Example:
        >>> list(together([Event("dog", 0, 2, 1.0), Event("cat", 1, 2, 1.0)]))
        [(0, 1, ['dog']), (1, 2, ['cat', 'dog'])]
    """
    edges = sorted({edge for event in events for edge in (event.start, event.end)})
    for start, end in pairwise(edges):
        names = {e.class_name for e in events if e.start <= start and end <= e.end}
        if names and round(end * 1000) > round(start * 1000):
            yield start, end, sorted(names)


def _stamp(seconds: float, mark: str) -> str:
    whole, thousandths = divmod(round(seconds * 1000), 1000)
    hours, minutes = whole // 3600, whole % 3600 // 60
    return f"{hours:02d}:{minutes:02d}:{whole % 60:02d}{mark}{thousandths:03d}"


def tick_step(seconds: float) -> float:
    """Return how far apart the marks of a time axis are, in seconds."""
    return next((step for step in TICK_STEPS if seconds / step <= MOST_TICKS), seconds / MOST_TICKS)


def _picture(events: Sequence[Event], seconds: float, colours: dict[str, Colour]) -> bytes:
    """Draw a lane for each class over a time axis."""
    names = list(dict.fromkeys(event.class_name for event in events))
    texts = [draw_text(name, CAPITAL) for name in names or ["nothing is found to sound"]]
    left = 2 * MARGIN + max(text.shape[1] for text in texts)
    lanes = PNG_WIDTH - left - MARGIN
    height = 2 * MARGIN + ROW * len(texts) + ROW // 2
    canvas = np.full((height, PNG_WIDTH, 3), BACKGROUND, np.float32)
    bottom = MARGIN + ROW * len(texts)
    scale = lanes / max(seconds, 1e-3)
    step = tick_step(seconds)
    for lane, text in enumerate(texts):
        top = MARGIN + lane * ROW
        _bar(canvas, left, left + lanes, top + 8, top + ROW - 8, LANE)
        ink = np.array(INK, np.float32)
        y = top + ROW // 2 - text.shape[0] // 2
        window = canvas[y : y + text.shape[0], MARGIN : MARGIN + text.shape[1]]
        window += (ink - window) * text[..., None]
    for event in events:
        top = MARGIN + names.index(event.class_name) * ROW
        begin, end = (round(left + time * scale) for time in (event.start, event.end))
        end = max(end, begin + 2)
        _bar(canvas, begin, end, top + 8, top + ROW - 8, colours[event.class_name])
    for number in range(int(seconds / step) + 1):
        x = round(left + number * step * scale)
        canvas[MARGIN:bottom, x : x + 1] *= 0.88
        label = draw_text(_clock(number * step, tenths=step < 1), CAPITAL - 3)
        at = min(max(0, x - label.shape[1] // 2), PNG_WIDTH - label.shape[1])
        window = canvas[bottom + 10 : bottom + 10 + label.shape[0], at : at + label.shape[1]]
        window += (np.array(INK, np.float32) - window) * label[: window.shape[0], :, None]
    bgr = np.ascontiguousarray(canvas[..., ::-1].round().astype(np.uint8))
    return bytes(cv2.imencode(".png", bgr)[1])


def _clock(seconds: float, *, tenths: bool) -> str:
    """Write a time as minutes and seconds, rounded before it is split.

    Example:
        >>> _clock(59.97, tenths=True), _clock(25259.7, tenths=False)
        ('1:00.0', '421:00')
    """
    if tenths:
        minutes, rest = divmod(round(10 * seconds), 600)
        return f"{minutes}:{rest / 10:04.1f}"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"


def _bar(canvas: np.ndarray, left: int, right: int, top: int, bottom: int, colour: Colour) -> None:
    canvas[top:bottom, left:right] = colour
