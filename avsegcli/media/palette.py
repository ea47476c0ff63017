"""Colours of the classes as a user writes them."""

import re
from pathlib import Path

from avsegcli.errors import ConfigError
from avsegcli.media.overlay import Colour


def parse_palette(text: str) -> tuple[Colour, ...]:
    """Read colours, the first for class 1: `#rrggbb` with commas or spaces between.

    Args:
        text: the colours, or the name of a file that holds them.

    Raises:
        ConfigError: if it is neither.

    Example:
        >>> parse_palette("#ff0000,00ff00")
        ((255, 0, 0), (0, 255, 0))
    """
    path = Path(text)
    if len(text) < 256 and path.is_file():
        text = path.read_text(encoding="utf-8", errors="replace")
    colours = []
    for word in re.split(r"[,\s]+", text.strip()):
        if not re.fullmatch(r"#?[0-9a-fA-F]{6}", word):
            raise ConfigError(
                f"'{word}' in the palette is no colour", "Write them as '#ff6348,#2ec4ff'."
            )
        value = int(word.lstrip("#"), 16)
        colours.append((value >> 16, value >> 8 & 255, value & 255))
    return tuple(colours[:255])
