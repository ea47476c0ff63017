from fractions import Fraction

import av
import numpy as np
import pytest

from avsegcli.video.hdr import ToneMapper

PQ, HLG, BT2020 = 16, 18, 9  # FFmpeg's numbers
WHITE = 203  # nits, of ordinary white in HDR (ITU-R BT.2408)
TO_BT2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.088, 0.8956]])
LUMA = np.array([0.2627, 0.678, 0.0593])


def as_pq(light):
    """ITU-R BT.2100's curve of nits."""
    y = (light / 10_000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * y) / (1 + 18.6875 * y)) ** 78.84375


def as_hlg(light):
    """ITU-R BT.2100's curve of what a screen of 1,000 nits is to show."""
    shown = light / 1000
    scene = shown * max(shown @ LUMA, 1e-9) ** (1 / 1.2 - 1)
    bright = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), bright)


def film(rgb, curve):
    """A frame of one colour, RGB of an ordinary screen, in ten bits of high dynamic range."""
    light = WHITE * (TO_BT2020 @ (np.array(rgb) / 255) ** 2.4)
    red, _, blue = stored = {PQ: as_pq, HLG: as_hlg}[curve](light)
    y = stored @ LUMA
    frame = av.VideoFrame(64, 64, "yuv444p10le")
    values = 64 + 876 * y, 512 + 896 * (blue - y) / 1.8814, 512 + 896 * (red - y) / 1.4746
    for plane, value in zip(frame.planes, values, strict=True):
        np.frombuffer(plane, np.uint16)[:] = round(value)
    frame.color_trc, frame.color_primaries, frame.colorspace = curve, BT2020, BT2020
    frame.pts, frame.time_base = 0, Fraction(1, 25)
    return frame


@pytest.mark.parametrize("curve", [PQ, HLG])
def test_colours_are_those_of_an_ordinary_screen(curve):
    greys, others = [(0,) * 3, (90,) * 3, (255,) * 3], [(200, 40, 40), (40, 180, 60), (50, 60, 200)]
    tone_mapper = ToneMapper()
    for rgb in greys + others:
        mapped = tone_mapper(film(rgb, curve))
        assert (mapped.format.name, int(mapped.colorspace)) == ("yuv420p", 1)
        seen = mapped.to_ndarray(format="rgb24")[32, 32].tolist()
        assert seen == pytest.approx(rgb, abs=6)
