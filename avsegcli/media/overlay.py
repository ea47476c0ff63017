"""Paint masks, class names and a legend on frames, straight on their YUV planes."""

from collections.abc import Sequence
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from avsegcli.media.decode import HD_HEIGHT, copy_of, planes_of
from avsegcli.media.masks import Box, Masks, Region

# Bright, and neighbours far apart; index 1 takes the first.
COLOURS = (
    (255, 99, 72),  # tomato
    (46, 196, 255),  # sky
    (255, 201, 40),  # amber
    (64, 220, 120),  # emerald
    (190, 110, 255),  # violet
    (255, 110, 190),  # pink
    (30, 215, 200),  # turquoise
    (255, 150, 40),  # orange
    (90, 140, 255),  # cornflower
    (180, 225, 50),  # lime
    (235, 70, 120),  # raspberry
    (120, 235, 235),  # ice
    (240, 180, 120),  # apricot
    (150, 150, 255),  # lavender
    (250, 235, 110),  # lemon
    (40, 190, 90),  # grass
    (225, 90, 225),  # magenta
    (255, 170, 160),  # salmon
    (60, 170, 235),  # azure
    (205, 190, 255),  # lilac
)
PALER = 0.4  # share of white in the colours of the second round, of black in those of the third
FONT = cv2.FONT_HERSHEY_SIMPLEX
TEXT_SHARE = 0.026  # height of a capital letter, of the shorter side of the frame, ...
TEXT_PIXELS = 9  # ... but at least this
DRAWN_LARGER = 4  # texts are drawn this much larger and scaled down, for smooth letters
OUTLINE_SHARE = 1 / 280  # thickness of outlines, of the shorter side of the frame
OUTLINE_STEP = 4  # of an outline every so many pixels become a point of the line drawn, ...
OUTLINE_STEP_SHARE = 1 / 90  # ... or this part of the shorter side of the frame, if it is more
SUBPIXEL_BITS = 4
LABEL_INERTIA = 0.75  # of a label's place in the last frame
LABEL_JUMP = 0.15  # of the shorter side; farther than this it does not glide
LEGEND_TITLE = "sounding now"
LEGEND_OPACITY = 0.62

Colour = tuple[int, int, int]


def class_colour(index: int) -> Colour:
    """Return the colour of a class, always the same one, as RGB.

    Args:
        index: of the class, from 1 on.

    Example:
        >>> class_colour(1)
        (255, 99, 72)
    """
    round_number, place = divmod(index - 1, len(COLOURS))
    red, green, blue = COLOURS[place]
    if round_number % 3 == 0:
        return red, green, blue
    target = 255 if round_number % 3 == 1 else 0
    mixed = [round(value + PALER * (target - value)) for value in (red, green, blue)]
    return mixed[0], mixed[1], mixed[2]


def class_colours(palette: Sequence[Colour] = ()) -> list[Colour]:
    """Return the RGB colours of the classes 1 to 255: the palette, then the built-in ones."""
    return [*palette, *(class_colour(index) for index in range(len(palette) + 1, 256))]


class Sprite(NamedTuple):
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
        yuv: NDArray[np.float32] = rgb.astype(np.float32) @ self._matrix.T
        return yuv + np.array([16, 128, 128], np.float32)


class Painter:
    """Paints what sounds on the frames of one video, in order.

    Each class has its own colour: a translucent fill, an outline, a label with its name above
    the largest piece. A legend in the corner lists what sounds in the frame. Labels glide from
    frame to frame, hence the order.

    Args:
        classes: names; index 0 is the background.
        width: of the frames, in pixels.
        height: of the frames, in pixels.
        colorspace: FFmpeg's number of the video's YUV matrix.
        alpha: opacity of the fill in [0, 1]; 0 leaves outlines and names only.
        palette: RGB colours of the classes, from index 1 on; the rest take the built-in ones.
        legend: list in a corner what sounds.
        labels: write the class beside each mask.
    """

    wide = 1  # times the width of the video: that of painted frames

    def __init__(
        self,
        classes: tuple[str, ...],
        width: int,
        height: int,
        *,
        colorspace: int = 2,
        alpha: float = 0.5,
        palette: Sequence[Colour] = (),
        legend: bool = True,
        labels: bool = True,
    ) -> None:
        self.classes = classes
        self.colours = class_colours(palette)
        self._with_legend = legend
        self._with_labels = labels
        self.width = width
        self.height = height
        self.alpha = alpha
        self._to_yuv = YuvColours(colorspace, height)
        shorter = min(width, height)
        self._capital = max(TEXT_PIXELS, round(TEXT_SHARE * shorter))  # pixels
        self._thickness = max(1, round(OUTLINE_SHARE * shorter))
        self._step = max(OUTLINE_STEP, round(OUTLINE_STEP_SHARE * shorter))
        self._margin = self._capital & ~1
        self._label = lru_cache(maxsize=256)(self._draw_label)
        self._legend = lru_cache(maxsize=64)(self._draw_legend)
        self._places: dict[int, tuple[float, float]] = {}  # of the labels in the last frame

    @cached_property
    def _tables(self) -> list[NDArray[np.uint8]]:
        """Y, U and V of the class indices, each ``(256,)``."""
        colours = [(0, 0, 0), *self.colours]
        yuv = (self._to_yuv(np.array(colours)) + 0.5).astype(np.uint8)
        return list(np.ascontiguousarray(yuv.T))

    def paint(self, frame: Any, masks: Masks) -> Any:
        """Paint one frame.

        Args:
            frame: yuv420p; it is not drawn on.
            masks: what sounds where in it.

        Returns:
            A painted copy; the frame itself if nothing sounds in it.
        """
        if not masks.regions:
            self._places.clear()
            return frame
        painted = copy_of(frame)
        planes = planes_of(painted)
        for region in masks.regions:
            self._fill(planes, region)
            self._outline(planes, region)
        self.write_texts(planes, masks)
        return painted

    def write_texts(self, planes: list[NDArray[np.uint8]], masks: Masks) -> None:
        """Draw the legend and the labels on the planes of a frame, as far as they are wanted."""
        if not masks.regions:
            self._places.clear()
            return
        legend = self._legend(tuple(region.class_index for region in masks.regions))
        taken = []
        if self._with_legend and self._fits(legend):
            taken.append(self._put(planes, legend, self._margin, self._margin))
        places = self._glide(masks.regions)
        for region in masks.regions:
            label = self._label(region.class_index)
            if self._with_labels and self._fits(label):
                place = self._free_place(label, places[region.class_index], taken)
                taken.append(self._put(planes, label, *place))

    def _fill(self, planes: list[NDArray[np.uint8]], region: Region) -> None:
        for index, (plane, table) in enumerate(zip(planes, self._tables, strict=True)):
            step = 1 if index == 0 else 2
            mask = np.ascontiguousarray(region.mask[::step, ::step]).view(np.uint8)
            height, width = mask.shape
            window = plane[region.box.top // step :, region.box.left // step :][:height, :width]
            colour = float(table[region.class_index])
            filled = cv2.convertScaleAbs(window, alpha=1 - self.alpha, beta=self.alpha * colour)
            cv2.copyTo(filled, mask, window)

    def _outline(self, planes: list[NDArray[np.uint8]], region: Region) -> None:
        lines = [_smooth(outline, self._step) for outline in region.outlines]
        for index, (plane, table) in enumerate(zip(planes, self._tables, strict=True)):
            step = 1 if index == 0 else 2
            cv2.polylines(
                plane,
                [np.rint(line / step * (1 << SUBPIXEL_BITS)).astype(np.int32) for line in lines],
                isClosed=True,
                color=int(table[region.class_index]),
                thickness=max(1, self._thickness // step),
                lineType=cv2.LINE_AA if index == 0 else cv2.LINE_8,  # eyes see it in luma only
                shift=SUBPIXEL_BITS,
            )

    def _glide(self, regions: list[Region]) -> dict[int, tuple[float, float]]:
        """Return where the middle of the lower edge of each class's label wants to be."""
        jump = LABEL_JUMP * min(self.width, self.height)
        places = {}
        for region in regions:
            x, y = region.centre[0], float(region.largest.top)
            before = self._places.get(region.class_index)
            if before is not None and max(abs(before[0] - x), abs(before[1] - y)) < jump:
                x += LABEL_INERTIA * (before[0] - x)
                y += LABEL_INERTIA * (before[1] - y)
            places[region.class_index] = x, y
        self._places = places
        return places

    def _free_place(
        self, sprite: Sprite, foot: tuple[float, float], taken: list[Box]
    ) -> tuple[int, int]:
        """Return the corner of a label: near `foot`, inside the frame, beside other texts."""
        left = round(foot[0] - sprite.width / 2)
        top = round(foot[1] - sprite.height - 2 * self._thickness)
        left = max(0, min(left, self.width - sprite.width)) & ~1
        top = max(0, min(top, self.height - sprite.height)) & ~1
        for _ in taken:
            for other in taken:
                if (
                    left < other.right
                    and other.left < left + sprite.width
                    and top < other.bottom
                    and other.top < top + sprite.height
                ):
                    top = min(other.bottom + 2, self.height - sprite.height) & ~1
        return left, top

    def _fits(self, sprite: Sprite) -> bool:
        return (
            sprite.width + self._margin <= self.width
            and sprite.height + self._margin <= self.height
        )

    def _put(self, planes: list[NDArray[np.uint8]], sprite: Sprite, left: int, top: int) -> Box:
        sprite.put(planes, left, top)
        return Box(left, top, left + sprite.width, top + sprite.height)

    def _draw_label(self, class_index: int) -> Sprite:
        """Draw a name on a rounded chip of the class's colour."""
        colour = self.colours[class_index - 1]
        text = draw_text(self.classes[class_index], self._capital)
        height, width = text.shape
        pad = round(self._capital * 0.6)  # below the line draw_text leaves a third of a capital
        size = (height + pad + pad // 2, width + 2 * pad)
        opacity = _rounded(size, radius=size[0] // 3)
        light = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] > 130
        picture = np.empty((*size, 3), np.float32)
        picture[:] = colour
        _write(picture, text, pad, pad, (0, 0, 0) if light else (255, 255, 255))
        return self._sprite(picture, opacity)

    def _draw_legend(self, class_indices: tuple[int, ...]) -> Sprite:
        """Draw a dark translucent panel: a title, then a dot and a name for each class."""
        capital = self._capital
        pad, dot = capital, round(capital * 1.1)
        title = draw_text(LEGEND_TITLE, max(7, round(capital * 0.72)))
        names = [draw_text(self.classes[index], capital) for index in class_indices]
        row = round(capital * 2.1)
        width = max(title.shape[1], max(name.shape[1] for name in names) + 2 * dot) + 2 * pad
        height = pad + title.shape[0] + pad // 3 + row * len(names) + pad // 3
        opacity = _rounded((height, width), radius=capital // 2) * np.float32(LEGEND_OPACITY)
        picture = np.zeros((height, width, 3), np.float32)
        picture[:] = (16, 18, 22)
        _write(picture, title, pad, pad, (190, 195, 200))
        _strengthen(opacity, title, pad, pad)
        middle = pad + title.shape[0] + pad // 3 + row // 2
        for index, name in zip(class_indices, names, strict=True):
            disc = _rounded((dot, dot), radius=dot // 2)
            _write(picture, disc, pad, middle - dot // 2, self.colours[index - 1])
            _strengthen(opacity, disc, pad, middle - dot // 2)
            top = middle - name.shape[0] // 2
            _write(picture, name, pad + 2 * dot, top, (255, 255, 255))
            _strengthen(opacity, name, pad + 2 * dot, top)
            middle += row
        return self._sprite(picture, opacity)

    def _sprite(self, picture: NDArray[np.float32], opacity: NDArray[np.float32]) -> Sprite:
        """Convert ``(H, W, 3)`` RGB with ``(H, W)`` opacity in [0, 1]."""
        height, width = opacity.shape
        padding = ((0, height % 2), (0, width % 2))  # to even sizes
        opacity = np.pad(opacity, padding)
        yuv = self._to_yuv(np.pad(picture, (*padding, (0, 0))))
        premultiplied = yuv * opacity[..., None]
        half = (opacity.shape[1] // 2, opacity.shape[0] // 2)
        transparent = 1 - opacity
        chroma, transparent_half = (
            np.asarray(cv2.resize(plane, half, interpolation=cv2.INTER_AREA), np.float32)
            for plane in (premultiplied[..., 1:], transparent)
        )
        return Sprite(
            width=opacity.shape[1],
            height=opacity.shape[0],
            opaque=[premultiplied[..., 0], chroma[..., 0], chroma[..., 1]],
            transparency=[transparent, transparent_half, transparent_half],
        )


def _smooth(outline: NDArray[np.int32], step: int) -> NDArray[np.float32]:
    """Thin out and smooth a closed line of pixels, ``(P, 1, 2)``, to every `step`-th point."""
    if len(outline) < 6 * step:
        return outline.astype(np.float32)
    points = outline[::step].astype(np.float32)
    around = np.roll(points, 1, axis=0) + np.roll(points, -1, axis=0)
    return np.asarray((around + 2 * points) / 4, np.float32)


def draw_text(text: str, capital: int) -> NDArray[np.float32]:
    """Draw a line of text as opacity in [0, 1], ``(H, W)``, capitals `capital` pixels high."""
    large = capital * DRAWN_LARGER
    scale = cv2.getFontScaleFromHeight(FONT, large, 1)
    thickness = max(1, round(large / 11))
    (width, height), below = cv2.getTextSize(text, FONT, scale, thickness)
    pad = thickness + DRAWN_LARGER
    canvas = np.zeros((height + below + 2 * pad, width + 2 * pad), np.uint8)
    cv2.putText(canvas, text, (pad, height + pad), FONT, scale, 255, thickness, cv2.LINE_AA)
    columns = np.flatnonzero(canvas.any(axis=0))
    if len(columns):
        canvas = canvas[:, columns[0] : columns[-1] + 1]
    # From the top of a capital to a little below the line, so that all texts sit alike.
    canvas = canvas[max(0, height + pad - large - 2) : height + pad + large // 3]
    size = (
        max(1, round(canvas.shape[1] / DRAWN_LARGER)),
        max(1, round(canvas.shape[0] / DRAWN_LARGER)),
    )
    small = cv2.resize(canvas, size, interpolation=cv2.INTER_AREA)
    return small.astype(np.float32) / np.float32(255)


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
