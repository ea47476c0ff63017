"""Where tables and bars are shown."""

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table


def open_console(*, stderr: bool = False) -> Console:
    """Open standard output or error for texts as they are: names may hold `[a]` or `:b:`."""
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False)


def print_table(table: Table) -> None:
    """Print a table to standard output; no number is cut, however narrow the terminal is.

    The terminal breaks lines that are too long for it.
    """
    for column in table.columns:
        if column.no_wrap or column.justify == "right":
            texts = "\n".join(map(str, (column.header, *column.cells, column.footer)))
            pieces = texts.splitlines() if column.no_wrap else texts.split()
            column.min_width = max(map(cell_len, pieces), default=0)
    console = open_console()
    console.width = max(console.width, 5 * len(table.columns))  # rich drops what has no room at all
    console.print(table, crop=False)
