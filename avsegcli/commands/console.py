"""Where tables and bars are shown."""

from rich.console import Console


def open_console(*, stderr: bool = False) -> Console:
    """Open standard output or error for texts as they are: names may hold `[a]` or `:b:`."""
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False)
