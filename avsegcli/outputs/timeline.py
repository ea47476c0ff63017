"""Timeline of a video: when each class sounds."""

from typing import NamedTuple

from avsegcli.inference.masks import Region

BRIDGED_S = 0.3  # a shorter silence does not end an event
SHORTEST_S = 0.08  # what is shorter is no event


class Event(NamedTuple):
    """A stretch of time in which something of one class is seen to sound."""

    class_name: str
    start: float  # seconds
    end: float  # seconds
    score: float  # mean over its frames of the mean probability in the mask, in [0, 1]


class Timeline:
    """Collects events from the frames of a video, in order.

    Memory grows with the number of events, not with that of frames.

    Args:
        classes: names; index 0 is the background.
    """

    def __init__(self, classes: tuple[str, ...]) -> None:
        self.classes = classes
        self._ended: list[Event] = []
        self._open: dict[int, Event] = {}
        self._frames: dict[int, int] = {}  # how many are in the open event of a class

    def add(self, start: float, end: float, regions: list[Region]) -> None:
        """Add a frame.

        Args:
            start: when it is shown, in seconds; not before the frame before it.
            end: when the next one is.
            regions: what sounds in it.
        """
        for region in regions:
            index = region.class_index
            event = self._open.get(index)
            if event is not None and start - event.end <= BRIDGED_S:
                count = self._frames[index]
                score = (event.score * count + region.score) / (count + 1)
                self._open[index] = event._replace(end=end, score=score)
                self._frames[index] = count + 1
                continue
            if event is not None:
                self._ended.append(event)
            self._open[index] = Event(self.classes[index], start, end, region.score)
            self._frames[index] = 1

    def events(self) -> list[Event]:
        """Return all events so far, by start, then by class name."""
        events = [*self._ended, *self._open.values()]
        return sorted(
            (event for event in events if event.end - event.start >= SHORTEST_S),
            key=lambda event: (event.start, event.class_name),
        )
