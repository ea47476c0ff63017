"""Interlaced video: two half pictures a frame, taken one after the other, become one picture."""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

from avsegcli.video.filters import FilterChain

BWDIF = ("bwdif", "mode=send_frame:parity=auto:deint=interlaced")


def deinterlace(frames: Iterable[Any]) -> Iterator[Any]:
    """Deinterlace the frames of a stream that are flagged interlaced; the others stay as they are.

    One frame comes out for each that goes in, with its time stamps.
    """
    chain: FilterChain | None = None  # as long as no frame is interlaced
    times: deque[tuple[Any, ...]] = deque()  # of the frames that are in the chain

    def push(frame: Any | None) -> Iterator[Any]:
        assert chain is not None
        for done in chain.push(frame):
            done.time_base, done.pts, done.dts, done.duration = times.popleft()
            yield done

    for frame in frames:
        if chain is None and not frame.interlaced_frame:
            yield frame
            continue
        if chain is not None and not chain.fits(frame):
            yield from push(None)
            chain = None
        chain = chain or FilterChain(frame, BWDIF)
        times.append((frame.time_base, frame.pts, frame.dts, frame.duration))
        yield from push(frame)
    if chain is not None:
        yield from push(None)


def is_top_field_first(frame: Any) -> bool:
    """Tell whether the upper one of the two half pictures of an interlaced frame comes first."""
    return bool(FilterChain(frame, ("select", "eq(interlace_type,TOPFIRST)")).push(frame))


def flag_interlaced(first: Any, *, top_field_first: bool) -> FilterChain:
    """Return a filter that flags frames like `first` as interlaced; pixels stay as they are."""
    return FilterChain(first, ("setfield", "tff" if top_field_first else "bff"))
