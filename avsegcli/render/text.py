"""Texts and other small drawings, and how they get on YUV planes."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from avsegcli.render.colors import Colour
from avsegcli.video.reader import HD_HEIGHT

FONT = cv2.FONT_HERSHEY_SIMPLEX
DRAWN_LARGER = 5  # texts are drawn this much larger and scaled down, for smooth letters
LEGEND_TITLE = "sounding now"
LEGEND_OPACITY = 0.62


class RenderedText(NamedTuple):
    """A small picture with transparency, ready to be put on yuv420p planes at even places."""

    width: int
    height: int
    opaque: list[NDArray[np.float32]]  # Y, U, V, already multiplied with the opacity
    transparency: list[NDArray[np.float32]]  # of Y, U, V, in [0, 1]

    def put(self, planes: list[NDArray[np.uint8]], left: int, top: int) -> None:
        """Draw the sprite; it must lie inside the frame, at even coordinates."""
        for index, plane in enumerate(planes):
            step = 1 if index == 0 else 2
            height, width = self.opaque[index].shape
            window = plane[top // step :, left // step :][:height, :width]
            mixed = window * self.transparency[index] + self.opaque[index]
            window[:] = (mixed + 0.5).astype(np.uint8)


class YuvColours:
    """RGB colours as the Y, U, V (limited range) of one video.

    Args:
        colorspace: FFmpeg's number of the video's matrix; 2 is "not said".
        height: of the video: if the matrix is not said, it is taken as players take it.
    """

    def __init__(self, colorspace: int, height: int) -> None:
        if colorspace in (9, 10):  # ITU-R BT.2020
            red, blue = 0.2627, 0.0593
        elif colorspace == 1 or (colorspace == 2 and height >= HD_HEIGHT):  # BT.709
            red, blue = 0.2126, 0.0722
        else:  # BT.601
            red, blue = 0.299, 0.114
        luma = np.array([red, 1 - red - blue, blue])
        self._matrix = np.stack(
            [
                luma * 219 / 255,
                (np.array([0, 0, 1]) - luma) / (1 - blue) * 112 / 255,
                (np.array([1, 0, 0]) - luma) / (1 - red) * 112 / 255,
            ]
        ).astype(np.float32)

    def __call__(self, rgb: NDArray[Any]) -> NDArray[np.float32]:
        """Convert colours ``(..., 3)`` in [0, 255]."""
        # Not by a matrix product: OpenBLAS ends the process where memory is short.
        yuv: NDArray[np.float32] = np.einsum("...c,yc->...y", rgb.astype(np.float32), self._matrix)
        return yuv + np.array([16, 128, 128], np.float32)


def draw_text(text: str, capital: int) -> NDArray[np.float32]:
    """Draw a line of text as opacity in [0, 1], ``(H, W)``.

    Capitals are `capital` pixels high and stand in the middle, so that all texts sit alike; above
    and below is a third of that, for accents and what hangs below the line.
    """
    above = round(capital / 3)
    large = capital * DRAWN_LARGER
    rows = np.flatnonzero((_draw_large("H", large) > 127).any(axis=1))
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    scale = (bottom - top) / capital
    above_large = round(above * scale)
    canvas = _draw_large(text, large)[top - above_large : bottom + above_large]
    columns = np.flatnonzero(canvas.any(axis=0))
    if len(columns):
        canvas = canvas[:, columns[0] : columns[-1] + 1]
    size = max(1, round(canvas.shape[1] / scale)), capital + 2 * above
    small = cv2.resize(canvas, size, interpolation=cv2.INTER_AREA)
    return small.astype(np.float32) / np.float32(255)


def _draw_large(text: str, size: int) -> NDArray[np.uint8]:
    """Draw a line of text, ``(3 size, W)``, whose letters stand on row ``2 size``."""
    scale = cv2.getFontScaleFromHeight(FONT, size, 1)
    thickness = max(1, round(size / 11))
    (width, _), _ = cv2.getTextSize(text, FONT, scale, thickness)
    canvas = np.zeros((3 * size, width + 2 * size), np.uint8)
    cv2.putText(canvas, text, (size, 2 * size), FONT, scale, 255, thickness, cv2.LINE_AA)
    return canvas


def draw_label(name: str, colour: Colour, capital: int, to_yuv: YuvColours) -> RenderedText:
    """Draw a name on a rounded chip of a colour.

    Args:
        name: what it says.
        colour: of the chip, RGB.
        capital: height of a capital letter, in pixels.
        to_yuv: the video's colours.
    """
    text = draw_text(name, capital)
    height, width = text.shape
    pad, above = round(capital * 0.8), round(capital * 0.5)
    size = (height + 2 * above, width + 2 * pad)
    opacity = _rounded(size, radius=size[0] // 3)
    light = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] > 130
    picture = np.empty((*size, 3), np.float32)
    picture[:] = colour
    _write(picture, text, pad, above, (0, 0, 0) if light else (255, 255, 255))
    return _render(picture, opacity, to_yuv)


def draw_legend(
    names: Sequence[str], colours: Sequence[Colour], capital: int, to_yuv: YuvColours
) -> RenderedText:
    """Draw a dark translucent panel: a title, then a dot and a name for each class.

    Args:
        names: of the classes, at least one.
        colours: theirs, RGB.
        capital: height of a capital letter, in pixels.
        to_yuv: the video's colours.
    """
    pad, dot, row = round(capital * 4 / 3), round(capital * 1.5), round(capital * 2.8)
    small = max(5, round(capital * 0.72))
    title = draw_text(LEGEND_TITLE, small)
    texts = [draw_text(name, capital) for name in names]
    width = max(title.shape[1], max(text.shape[1] for text in texts) + 2 * dot) + 2 * pad
    first = pad + small + pad // 2  # top of the rows
    height = first + row * len(texts) + pad // 3
    opacity = _rounded((height, width), radius=pad // 2) * np.float32(LEGEND_OPACITY)
    picture = np.zeros((height, width, 3), np.float32)
    picture[:] = (16, 18, 22)
    top = pad - (title.shape[0] - small) // 2
    _write(picture, title, pad, top, (190, 195, 200))
    _strengthen(opacity, title, pad, top)
    middle = first + row // 2
    for text, colour in zip(texts, colours, strict=True):
        disc = _rounded((dot, dot), radius=dot // 2)
        _write(picture, disc, pad, middle - dot // 2, colour)
        _strengthen(opacity, disc, pad, middle - dot // 2)
        top = middle - text.shape[0] // 2
        _write(picture, text, pad + 2 * dot, top, (255, 255, 255))
        _strengthen(opacity, text, pad + 2 * dot, top)
        middle += row
    return _render(picture, opacity, to_yuv)


def _render(
    picture: NDArray[np.float32], opacity: NDArray[np.float32], to_yuv: YuvColours
) -> RenderedText:
    """Convert ``(H, W, 3)`` RGB with ``(H, W)`` opacity in [0, 1]."""
    height, width = opacity.shape
    padding = ((0, height % 2), (0, width % 2))  # to even sizes
    opacity = np.pad(opacity, padding)
    yuv = to_yuv(np.pad(picture, (*padding, (0, 0))))
    premultiplied = yuv * opacity[..., None]
    half = (opacity.shape[1] // 2, opacity.shape[0] // 2)
    transparent = 1 - opacity
    chroma, transparent_half = (
        np.asarray(cv2.resize(plane, half, interpolation=cv2.INTER_AREA), np.float32)
        for plane in (premultiplied[..., 1:], transparent)
    )
    return RenderedText(
        width=opacity.shape[1],
        height=opacity.shape[0],
        opaque=[premultiplied[..., 0], chroma[..., 0], chroma[..., 1]],
        transparency=[transparent, transparent_half, transparent_half],
    )


def _rounded(size: tuple[int, int], radius: int) -> NDArray[np.float32]:
    """Draw a filled rectangle with round corners as opacity, ``(H, W)``."""
    height, width = size
    y = np.abs(np.arange(height) - (height - 1) / 2) - (height / 2 - radius)
    x = np.abs(np.arange(width) - (width - 1) / 2) - (width / 2 - radius)
    distance = np.hypot(np.maximum(y, 0)[:, None], np.maximum(x, 0)[None, :])
    return np.asarray(np.clip(radius + 0.5 - distance, 0, 1), np.float32)


def _write(
    picture: NDArray[np.float32],
    opacity: NDArray[np.float32],
    left: int,
    top: int,
    colour: Colour,
) -> None:
    height, width = opacity.shape
    window = picture[top : top + height, left : left + width]
    window += (np.array(colour, np.float32) - window) * opacity[..., None]


def _strengthen(
    panel: NDArray[np.float32], opacity: NDArray[np.float32], left: int, top: int
) -> None:
    height, width = opacity.shape
    window = panel[top : top + height, left : left + width]
    np.maximum(window, opacity, out=window)
