"""Read mask pictures of other systems by their content.

All pictures of a set are looked at before one is read, since one alone does not tell: a frame of
0 and 1 is a mask if no other has more, and nearly empty if the others go up to 255.

- **grey**: masks of 0 and 1 or of 0 and 255, object ids 1 to k, else probabilities times 255
  (16 bits: times 65535); for data with more classes than one, class indices;
- **palette**: object ids or class indices, as SAM 2, XMem, Cutie and DAVIS write them; colours if
  the palette holds AVSBench's colours in another order;
- **colour**: AVSBench's colours;
- **alpha**: masks or probabilities in the alpha channel, whatever the colours are;
- **JPEG**: masks, 128 and above being an object, since its values are not exact.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from avsegcli.datasets.label_colors import colours_to_labels, label_colours, nearest_labels
from avsegcli.errors import DataError
from avsegcli.inference.postprocess import above_threshold

Kind = Literal["grey", "palette", "colour"]
BLACK = {(0, 0, 0)}
FEW = 8  # values; probabilities have more
MOST_IDS = 20  # of objects in grey pictures; higher values are probabilities
HALF_OF_255 = 128
MOST_COLOURS = 255  # of AVSBench's palette, which goes on as those of VOC and DAVIS
NEARLY_GREY = 16  # difference of channels that a JPEG may add to grey
_SCALED = {"L;2": 85, "L;4": 17}  # by how much Pillow multiplies values of 2 and 4 bits
BLENDED = (
    "Colours are blended by resizing with interpolation, as AVSBench's RESIZE_PRED_MASK does: save "
    "with nearest-neighbour, or add --nearest-colour."
)


class Frame(NamedTuple):
    """A mask that was read, at the size of its picture."""

    probs: NDArray[np.float32]  # (H, W) in [0, 1]
    labels: NDArray[np.uint8]  # (H, W), class indices
    soft: bool = False  # probs are probabilities, not a mask


class _Stored(NamedTuple):
    """What must be alike for pictures to be read alike."""

    kind: Kind
    has_alpha: bool
    is_jpeg: bool


class Picture(NamedTuple):
    """A picture as it is stored."""

    kind: Kind
    values: NDArray[Any]  # (H, W) grey values or indices of a palette, or (H, W, 3) RGB
    alpha: NDArray[np.uint8] | None = None  # (H, W)
    palette: NDArray[np.int16] | None = None  # (256, 3) RGB; -1 where there is no entry
    peak: int | None = None  # of a JPEG: its highest value, before it became a mask

    @property
    def stored(self) -> _Stored:
        """The form in which it is stored."""
        return _Stored(self.kind, self.alpha is not None, self.peak is not None)

    @property
    def rgb(self) -> NDArray[np.uint8]:
        """The colours, ``(H, W, 3)``."""
        if self.palette is not None:
            return self.palette[self.values].astype(np.uint8)
        return np.asarray(self.values, np.uint8)


def open_picture(path: Path) -> Picture:
    """Open a picture without turning indices into colours or 16 bits into 8.

    Raises:
        DataError: if it cannot be read, or masks are never stored so.
    """
    try:
        with Image.open(path) as image:
            raw = str(image.tile[0][3]) if image.tile else ""
            image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        message = f"{path} is not a readable picture"
        raise DataError(message, "Replace or remove the file.") from error
    if image.format in ("JPEG", "MPO"):
        return _open_jpeg(path, image)
    if image.mode in ("1", "L"):
        return Picture("grey", np.asarray(image, np.uint8) // np.uint8(_SCALED.get(raw, 1)))
    if image.mode.startswith("I"):
        return Picture("grey", np.asarray(image).astype(np.uint16))
    if "16" in raw:
        raise DataError(f"{path} has 16 bits for each colour", "Save masks with 8 bits.")
    if image.mode == "P":
        palette = np.full((256, 3), -1, np.int16)
        given = np.array(image.getpalette("RGB"), np.int16).reshape(-1, 3)
        palette[: len(given)] = given
        return Picture("palette", np.asarray(image), palette=palette)
    if image.mode in ("LA", "RGBA"):
        *colours, alpha = (np.asarray(band) for band in image.split())
        values = np.stack(colours, axis=2) if len(colours) == 3 else colours[0]
        return Picture("colour" if len(colours) == 3 else "grey", values, alpha)
    if image.mode == "RGB":
        return Picture("colour", np.asarray(image))
    raise DataError(f"{path} is a picture of mode {image.mode}", "Save masks as grey or RGB PNG.")


def _open_jpeg(path: Path, image: Image.Image) -> Picture:
    """Open a JPEG as a mask of 0 and 255."""
    rgb = np.asarray(image.convert("RGB")).astype(np.int16)
    if (np.ptp(rgb, axis=2) > NEARLY_GREY).any():
        raise DataError(f"{path} is a JPEG with colours, which blends them", "Save masks as PNG.")
    grey = rgb[..., 1]
    return Picture("grey", (grey >= HALF_OF_255).astype(np.uint8) * 255, peak=int(grey.max()))


class _Survey:
    """What all pictures of a set hold that are stored alike."""

    def __init__(self) -> None:
        self.greys: set[int] = set()  # values of grey pictures, or of RGB ones that are all grey
        self.alphas: set[int] = set()  # values of alpha channels
        self.has_colours = False  # an RGB picture is not grey
        self.colours_of: dict[int, set[tuple[int, ...]]] = defaultdict(set)  # of a palette's index
        self.peaks: list[int] = []  # of JPEGs
        self.contradicts: Path | None = None  # has one mask in its colours, another as its alpha

    def add(self, path: Path, picture: Picture) -> None:
        """Look at one picture."""
        if picture.peak is not None:
            self.peaks.append(picture.peak)
        if picture.alpha is not None:
            self._add_alpha(path, picture, picture.alpha)
        if picture.palette is not None:
            for index in _values_in(picture.values):
                self.colours_of[index].add(tuple(picture.palette[index].tolist()))
        elif picture.values.ndim == 2:
            self.greys.update(_values_in(picture.values))
        elif not self.has_colours and (picture.values == picture.values[..., :1]).all():
            self.greys.update(_values_in(picture.values[..., 0]))
        else:
            self.has_colours = True

    def _add_alpha(self, path: Path, picture: Picture, alpha: NDArray[np.uint8]) -> None:
        values = _values_in(alpha)
        self.alphas.update(values)
        shown = picture.values[alpha > 0]
        grey = shown if shown.ndim == 1 else shown[:, 0]
        is_grey = shown.ndim == 1 or bool((shown == shown[:, :1]).all())
        if values != [255] and is_grey and _values_in(grey) == [0, 255]:
            self.contradicts = path


def _values_in(plane: NDArray[Any]) -> list[int]:
    return np.flatnonzero(np.bincount(plane.ravel())).tolist()


class _Reading(NamedTuple):
    """The way in which pictures that are stored alike are read."""

    how: str
    read: Callable[[Picture], Frame]  # raises ValueError if the picture is not of this kind

    def of(self, plane: Callable[[Picture], NDArray[Any]]) -> "_Reading":
        """Read one plane of a picture in the same way."""
        return _Reading(self.how, lambda one: self.read(Picture("grey", plane(one))))


class MaskPictures:
    """A set of mask pictures that are read alike.

    Args:
        paths: all pictures of the set.
        classes: what their indices and colours mean, background first.
        nearest_colour: a colour of no class is read as the class with the nearest colour.

    Attributes:
        how: how they are read, for the user.
        warnings: what may go wrong with it, one sentence each.
        changed_pixels: number of pixels read so far by the nearest colour.
        read_pixels: number of all pixels read so far.

    Raises:
        DataError: if a picture cannot be read, or does not tell what its values mean.
    """

    def __init__(
        self, paths: Iterable[Path], classes: tuple[str, ...], *, nearest_colour: bool = False
    ) -> None:
        self._classes, self._nearest_colour = classes, nearest_colour
        self.changed_pixels = self.read_pixels = 0
        surveys: dict[_Stored, _Survey] = defaultdict(_Survey)
        examples: dict[_Stored, Path] = {}
        for path in paths:
            picture = open_picture(path)
            examples.setdefault(picture.stored, path)
            surveys[picture.stored].add(path, picture)
        self._readings: dict[_Stored, _Reading] = {}
        for stored, survey in surveys.items():
            try:
                self._readings[stored] = self._choose(stored, survey)
            except ValueError as error:
                message = f"masks such as {examples[stored]} are not read: {error}"
                hint = "Save masks as 0 and 255." if self._binary else "Save class indices as PNG."
                raise DataError(message, hint) from error
        self.how = "; ".join(dict.fromkeys(reading.how for reading in self._readings.values()))
        self.warnings = (
            ["JPEG changes values near the edges of masks: 128 and above counts as an object"]
            if any(stored.is_jpeg for stored in surveys)
            else []
        )

    def read(self, path: Path) -> Frame:
        """Read one of the pictures.

        Raises:
            DataError: if it has a value or a colour of no class.
        """
        picture = open_picture(path)
        self.read_pixels += picture.values.shape[0] * picture.values.shape[1]
        try:
            return self._readings[picture.stored].read(picture)
        except _UnknownColourError as error:
            raise DataError(f"{path}: {error}", BLENDED) from error
        except ValueError as error:
            raise DataError(f"{path} {error}") from error

    @property
    def _binary(self) -> bool:
        return len(self._classes) == 2

    def _choose(self, stored: "_Stored", survey: _Survey) -> _Reading:
        if survey.alphas - {255}:
            return self._choose_alpha(survey)
        if stored.is_jpeg:
            return self._choose_jpeg(survey)
        choices = {
            "grey": self._choose_grey,
            "palette": self._choose_palette,
            "colour": self._choose_colour,
        }
        return choices[stored.kind](survey)

    def _choose_jpeg(self, survey: _Survey) -> _Reading:
        if not self._binary:
            raise ValueError("JPEG blends class indices")
        if 0 < max(survey.peaks) < HALF_OF_255:
            raise ValueError(f"no value of the JPEGs reaches {HALF_OF_255}")
        return _Reading(f"JPEG, masks from {HALF_OF_255} on", _read_ids)

    def _choose_grey(self, survey: _Survey) -> _Reading:
        if self._binary:
            return _choose_scale("grey PNG", survey.greys)
        how = f"grey PNG, values 0 to {max(survey.greys)} as class indices"
        return _Reading(how, self._read_indices)

    def _choose_palette(self, survey: _Survey) -> _Reading:
        found = survey.colours_of
        colours, highest = set().union(*found.values()), max(found)
        zero_is_black = found.get(0, BLACK) == BLACK
        places = {tuple(colour): index for index, colour in enumerate(self._colours.tolist())}
        in_order = all({places.get(one) for one in found[index]} == {index} for index in found)
        if not in_order and colours <= places.keys() and not (self._binary and zero_is_black):
            return _Reading("palette PNG in AVSBench's colours", self._read_colours)
        if self._binary and colours - BLACK and all(len({*colour}) == 1 for colour in colours):
            scale = _choose_scale("palette PNG, grey", {colour[0] for colour in colours})
            return scale.of(lambda picture: picture.rgb[..., 0])
        if not in_order and any(len(several) > 1 for several in found.values()):
            raise ValueError("their palettes differ, and have colours of no class")
        if self._binary and not zero_is_black:
            raise ValueError(f"index 0 has the colour {min(found[0])}, not black")
        if self._binary:
            return _Reading(f"palette PNG, ids 1 to {highest} as objects", _read_ids)
        return _Reading(f"palette PNG, indices 0 to {highest} as classes", self._read_indices)

    def _choose_colour(self, survey: _Survey) -> _Reading:
        if self._binary and not survey.has_colours:
            return _choose_scale("RGB PNG, grey", survey.greys).of(lambda one: one.values[..., 0])
        greys = {colour[0] for colour in self._colours.tolist() if len({*colour}) == 1}
        if not (survey.has_colours or self._nearest_colour or survey.greys <= greys):
            raise ValueError("they are RGB, but grey, and no class is")
        said = ", every one an object" if self._binary else ""
        nearest = ", the nearest ones" if self._nearest_colour and not self._binary else ""
        return _Reading(f"RGB PNG in AVSBench's colours{nearest}{said}", self._read_colours)

    @property
    def _colours(self) -> NDArray[np.uint8]:
        """The colours of the classes; of objects all, since any may stand for one."""
        return label_colours(MOST_COLOURS if self._binary else len(self._classes) - 1)

    def _choose_alpha(self, survey: _Survey) -> _Reading:
        if not self._binary:
            raise ValueError("they have an alpha channel, which says no class")
        if survey.contradicts is not None:
            raise ValueError(f"{survey.contradicts} has masks in colours and in its alpha channel")
        scale = _choose_scale("alpha channel of PNG", survey.alphas)
        return scale.of(lambda picture: np.asarray(picture.alpha))

    def _read_indices(self, picture: Picture) -> Frame:
        highest = int(picture.values.max())
        if highest >= len(self._classes):
            raise ValueError(f"has index {highest} of {len(self._classes)} classes")
        labels = np.asarray(picture.values, np.uint8)
        return Frame((labels > 0).astype(np.float32), labels)

    def _read_colours(self, picture: Picture) -> Frame:
        num_classes = len(self._colours) - 1
        if self._nearest_colour and not self._binary:
            labels, changed = nearest_labels(picture.rgb, num_classes)
            self.changed_pixels += changed
        else:
            try:
                labels = colours_to_labels(picture.rgb, num_classes)
            except ValueError as error:
                raise _UnknownColourError(str(error)) from error
        if self._binary:
            labels = (labels > 0).astype(np.uint8)
        return Frame((labels > 0).astype(np.float32), labels)


class _UnknownColourError(ValueError):
    """A colour is of no class."""


def _choose_scale(noun: str, values: set[int]) -> _Reading:
    """Find out what the grey values of a whole set of masks of objects mean.

    Raises:
        ValueError: if they may mean several things.
    """
    highest = max(values)
    white = 65535 if highest > 255 else 255
    if highest == 0:
        return _Reading(f"{noun}, all of them empty", _read_ids)
    if values <= {0, 1} or values <= {0, white}:
        return _Reading(f"{noun}, masks of 0 and {highest}", _read_ids)
    if highest <= MOST_IDS and {*range(1, highest + 1)} == values - {0}:
        return _Reading(f"{noun}, ids 1 to {highest} as objects", _read_ids)
    if len(values) <= FEW and white not in values and 0 in values:
        listed = ", ".join(map(str, sorted(values)))
        raise ValueError(f"the values {listed} are neither masks, object ids nor probabilities")

    def read(picture: Picture) -> Frame:
        probs = picture.values.astype(np.float32) / np.float32(white)
        soft = bool(((probs > 0) & (probs < probs.max())).any())
        return Frame(probs, above_threshold(probs).astype(np.uint8), soft)

    weak = "" if highest > white / 2 else f"; none above one half, the highest is {highest}"
    return _Reading(f"{noun}, value / {white} as probability{weak}", read)


def _read_ids(picture: Picture) -> Frame:
    """Read everything above 0 as an object."""
    labels = (picture.values > 0).astype(np.uint8)
    return Frame(labels.astype(np.float32), labels)
