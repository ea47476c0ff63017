"""Video of high dynamic range, as phones film it, as ordinary screens show it."""

from typing import Any

from av.video.reformatter import ColorTrc

from avsegcli.video.filters import FilterChain

CURVES = frozenset({ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67})  # PQ, HLG
PLAIN = "out_transfer=bt709:out_primaries=bt709:out_color_matrix=bt709:out_range=tv"


class ToneMapper:
    """Turns the frames of a video of high dynamic range into plain ones.

    What a network has learned from, what a GIF or a JPEG can hold and what the colours of masks
    are meant for is ITU-R BT.709. FFmpeg's scaler maps light and colours into that.
    """

    def __init__(self) -> None:
        self._chain: FilterChain | None = None

    def __call__(self, frame: Any) -> Any:
        """Turn one frame into yuv420p, BT.709, limited range."""
        if self._chain is None or not self._chain.fits(frame):
            self._chain = FilterChain(frame, ("scale", PLAIN), ("format", "yuv420p"))
        (plain,) = self._chain.push(frame)
        return plain
