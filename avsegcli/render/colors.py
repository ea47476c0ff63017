"""Colours of the classes: the built-in ones, and those that a user writes."""

import re
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral
from pathlib import Path

from avsegcli.errors import ConfigError
from avsegcli.files.text import as_utf8

Colour = tuple[int, int, int]
Palette = Sequence[Colour] | Mapping[str, Colour]  # of the classes from 1 on, or by their names

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
EXAMPLES = "Write them as '#ff6348,#2ec4ff', or with names as 'drum=#ff6348,guitar=#2ec4ff'."
PALER = 0.4  # share of white in the colours of the second round, of black in those of the third


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


def class_colours(palette: Palette = (), classes: Sequence[str] = ()) -> list[Colour]:
    """Return the RGB colours of the classes 1 to 255: the palette's, then the built-in ones.

    Args:
        palette: colours.
        classes: names; index 0 is the background.

    Raises:
        ConfigError: if a name in the palette is that of no class.
    """
    if isinstance(palette, Mapping):
        names = classes[1:]
        unknown = next((name for name in palette if name not in names), None)
        if unknown is not None:
            raise ConfigError(
                f"no class is called '{unknown}', as one in the palette",
                f"The model knows {', '.join(names)}.",
            )
        palette = [palette.get(name, class_colour(i)) for i, name in enumerate(names, 1)]
    return [*palette, *(class_colour(index) for index in range(len(palette) + 1, 256))]


def check_colours(palette: Sequence[object] | Mapping[str, object]) -> None:
    """Raise a `ConfigError` if a colour is not of three whole numbers from 0 to 255."""
    for colour in palette.values() if isinstance(palette, Mapping) else palette:
        values = list(colour) if isinstance(colour, Iterable) else []
        whole = all(isinstance(value, Integral) and 0 <= int(value) <= 255 for value in values)
        if len(values) != 3 or not whole:
            raise ConfigError(
                f"{colour!r} in the palette is not three whole numbers from 0 to 255",
                "Such as (255, 99, 72); or give all colours as one text, '#ff6348,#2ec4ff'.",
            )


def parse_palette(text: str) -> tuple[Colour, ...] | dict[str, Colour]:
    """Read colours, `#rrggbb` or `#rgb`: the first for class 1, or each with the name of its class.

    Args:
        text: the colours, with commas, spaces or ends of lines between, spaces only if there are no
            names; or the name of a file that holds them.

    Raises:
        ConfigError: if it is neither.

    Example:
        >>> parse_palette("#ff0000,00ff00")
        ((255, 0, 0), (0, 255, 0))
        >>> parse_palette("drum=#f00, guitar=#00ff00")
        {'drum': (255, 0, 0), 'guitar': (0, 255, 0)}
    """
    path = Path(text)
    if len(text) < 256 and path.is_file():
        text = as_utf8(path.read_bytes()).decode(errors="replace")
    if "=" not in text:
        return tuple(_parse_colour(word) for word in re.split(r"[,\s]+", text.strip(", \r\n\t")))
    named = {}
    for item in filter(str.strip, re.split(r"[,\r\n]", text)):
        name, _, colour = item.rpartition("=")
        if not name.strip() or "=" in name or name.strip() in named:
            raise ConfigError(f"'{item.strip()}' in the palette is not one new name", EXAMPLES)
        named[name.strip()] = _parse_colour(colour.strip())
    return named


def _parse_colour(word: str) -> Colour:
    if not re.fullmatch(r"#?[0-9a-fA-F]{6}|#[0-9a-fA-F]{3}", word):
        raise ConfigError(f"'{word}' in the palette is no colour", EXAMPLES)
    digits = word.lstrip("#")
    if len(digits) == 3:
        digits = "".join(digit * 2 for digit in digits)
    red, green, blue = bytes.fromhex(digits)
    return red, green, blue
