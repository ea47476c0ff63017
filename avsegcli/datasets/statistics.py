"""Count the contents of a data set: clips, frames, pixels and seconds of each class and split."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from rich.table import Table

from avsegcli.audio.log_mel import SAMPLE_RATE
from avsegcli.datasets.avsbench import AvsBench
from avsegcli.datasets.clip import IGNORE, Clip, ClipDataset
from avsegcli.device import usable_cpus


@dataclass
class ClassCount:
    """Counts of one class in a split."""

    clips: int = 0
    frames: int = 0  # labelled ones in which it is seen to sound
    pixels: int = 0  # in these
    seconds: int = 0  # in which it is heard; where clips do not say, those in which it is labelled

    def add(self, pixels: Sequence[int], seconds: int) -> None:
        """Count a clip: pixels of each labelled frame that has the class, seconds heard."""
        self.clips += 1
        self.frames += len(pixels)
        self.pixels += sum(pixels)
        self.seconds += seconds


@dataclass
class SplitStatistics:
    """The contents of one split."""

    subset: str
    split: str
    clips: int = 0
    frames: int = 0
    labelled_frames: int = 0
    silent_frames: int = 0  # labelled ones in which nothing visible sounds
    sources: Counter[int] = field(default_factory=Counter)  # classes in a frame -> labelled frames
    sizes: Counter[str] = field(default_factory=Counter)  # width x height -> clips
    sound_s: list[float] = field(default_factory=list)  # length of each clip's sound, seconds
    classes: dict[str, ClassCount] = field(default_factory=dict)  # without the background

    @property
    def silent_share(self) -> float | None:
        """Share of the labelled frames in which nothing visible sounds."""
        return self.silent_frames / self.labelled_frames if self.labelled_frames else None

    def add(self, clip: Clip, names: Sequence[str], category: str | None = None) -> None:
        """Count a clip.

        Args:
            clip: the clip.
            names: of its classes, background first.
            category: what the one class of the clip is called where its labels do not say.
        """
        self.clips += 1
        self.frames += len(clip.frames)
        height, width = clip.frames.shape[1:3]
        self.sizes[f"{width} x {height}"] += 1
        self.sound_s.append(round(len(clip.waveform) / SAMPLE_RATE, 3))
        pixels: dict[int, list[int]] = {}
        for t in np.flatnonzero(clip.annotated).tolist():
            counts = np.bincount(clip.labels[t].ravel(), minlength=256)
            found = [c for c in np.flatnonzero(counts).tolist() if c not in (0, IGNORE)]
            self.labelled_frames += 1
            self.silent_frames += not found
            self.sources[len(found)] += 1
            for index in found:
                pixels.setdefault(index, []).append(int(counts[index]))
        heard = [] if clip.heard is None else np.flatnonzero(clip.heard.any(axis=0)).tolist()
        for index in sorted({*pixels, *heard} - {0}):
            name = category or names[index]
            labelled = pixels.get(index, [])
            seconds = len(labelled) if clip.heard is None else int(clip.heard[:, index].sum())
            self.classes.setdefault(name, ClassCount()).add(labelled, seconds)

    def as_dict(self) -> dict[str, Any]:
        """Give all numbers as plain values for JSON."""
        return asdict(self) | {
            "silent_share": self.silent_share,
            "sources": {str(number): self.sources[number] for number in sorted(self.sources)},
            "sizes": dict(self.sizes.most_common()),
        }


def count_split(
    clips: ClipDataset,
    subset: str,
    split: str,
    on_progress: Callable[[int, int], None] | None = None,
) -> SplitStatistics:
    """Read every clip of a split and count what it holds.

    Args:
        clips: the split.
        subset: what it is called.
        split: likewise.
        on_progress: called with the clips that are done, and of all.

    Raises:
        DataError: if a clip cannot be read.
    """
    counted = SplitStatistics(subset, split)
    for done, (index, clip) in enumerate(_read_all(clips), start=1):
        category = clips.category(index) if isinstance(clips, AvsBench) else None
        counted.add(clip, clips.classes, category)
        if on_progress is not None:
            on_progress(done, len(clips))
    counted.classes = dict(sorted(counted.classes.items()))
    return counted


def _read_all(clips: ClipDataset) -> Iterator[tuple[int, Clip]]:
    """Read clips in order, a few at a time."""
    width = usable_cpus()
    with ThreadPoolExecutor(width) as pool:
        for start in range(0, len(clips), width):
            indices = range(start, min(start + width, len(clips)))
            yield from zip(indices, pool.map(clips.__getitem__, indices), strict=True)


def split_table(splits: Sequence[SplitStatistics]) -> Table:
    """Lay out a line for each split."""
    table = Table(title="Splits", title_justify="left")
    table.add_column("split", no_wrap=True)
    titles = ("clips", "frames", "labelled", "silent", "classes a frame", "sizes", "sound, s")
    for title in titles:
        table.add_column(title, justify="right")
    for split in splits:
        share = split.silent_share
        low, middle, high = np.quantile(split.sound_s, [0, 0.5, 1])
        sizes = [size for size, _ in split.sizes.most_common()]
        more = f" and {len(sizes) - 1} more" if len(sizes) > 1 else ""
        table.add_row(
            f"{split.subset} {split.split}",
            f"{split.clips:,}",
            f"{split.frames:,}",
            f"{split.labelled_frames:,}",
            "-" if share is None else f"{share:.1%}",
            ", ".join(f"{number}: {split.sources[number]:,}" for number in sorted(split.sources)),
            f"{sizes[0]}{more}",
            f"{low:.2f} / {middle:.2f} / {high:.2f}",
        )
    table.caption = "silent: share of labelled frames; sound: least, median, most"
    return table


def class_table(splits: Sequence[SplitStatistics]) -> Table:
    """Lay out a line for each class of each split, those with most frames first."""
    table = Table(title="Classes", title_justify="left")
    table.add_column("class", no_wrap=True)
    table.add_column("split", no_wrap=True)
    for title in ("clips", "frames", "pixels", "seconds"):
        table.add_column(title, justify="right")
    for split in splits:
        for name, count in sorted(
            split.classes.items(), key=lambda item: (-item[1].frames, item[0])
        ):
            numbers = (count.clips, count.frames, count.pixels, count.seconds)
            table.add_row(name, f"{split.subset} {split.split}", *(f"{n:,}" for n in numbers))
    return table
