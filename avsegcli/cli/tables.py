"""Tables: on the terminal, or as Markdown, LaTeX or CSV."""

import csv
import io
from collections.abc import Sequence
from typing import NamedTuple

import typer
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table

from avsegcli.cli.options import FormatChoice

LATEX_ESCAPES = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "&": r"\&",
        "%": r"\%",
        "$": r"\$",
        "#": r"\#",
        "_": r"\_",
        "{": r"\{",
        "}": r"\}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "±": r"$\pm$",
        "<": "$<$",
        ">": "$>$",
    }
)


def count_noun(number: int, one: str, several: str) -> str:
    """Write a number with its noun.

    Example:
        >>> count_noun(1, "class", "classes"), count_noun(24, "class", "classes")
        ('1 class', '24 classes')
    """
    return f"{number} {one if number == 1 else several}"


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


class PlainTable(NamedTuple):
    """The texts of a table."""

    title: str
    header: list[str]
    rows: list[list[str]]
    right: list[bool]  # columns that are aligned to the right


def print_tables(tables: Sequence[Table], form: FormatChoice = FormatChoice.TEXT) -> None:
    """Print tables to standard output."""
    if form is FormatChoice.TEXT:
        for table in tables:
            print_table(table)
        return
    write = {
        FormatChoice.MARKDOWN: to_markdown,
        FormatChoice.LATEX: to_latex,
        FormatChoice.CSV: to_csv,
    }[form]
    typer.echo("\n".join(write(read_table(table)) for table in tables), nl=False)


def read_table(table: Table) -> PlainTable:
    """Read the texts of a table, each in one line."""

    def text(cell: object) -> str:
        return " ".join(str(cell).split())

    columns = table.columns
    cells = [[text(cell) for cell in column.cells] for column in columns]
    return PlainTable(
        title=text(table.title or ""),
        header=[text(column.header) for column in columns],
        rows=[list(row) for row in zip(*cells, strict=True)],
        right=[column.justify == "right" for column in columns],
    )


def to_markdown(table: PlainTable) -> str:
    r"""Write a table in the Markdown of GitHub, its title above it.

    Example:
        >>> print(to_markdown(PlainTable("", ["metric", "value"], [["J|F", "0.5"]], [False, True])))
        | metric | value |
        |---|---:|
        | J\|F | 0.5 |
        <BLANKLINE>
    """

    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n"

    title = f"**{table.title}**\n\n" if table.title else ""
    rule = "".join("|---:" if right else "|---" for right in table.right)
    return title + line(table.header) + f"{rule}|\n" + "".join(map(line, table.rows))


def to_latex(table: PlainTable) -> str:
    r"""Write a table for LaTeX, with the rules of the package booktabs.

    Example:
        >>> print(to_latex(PlainTable("", ["metric"], [["J&F"]], [False])))
        \begin{tabular}{l}
        \toprule
        metric \\
        \midrule
        J\&F \\
        \bottomrule
        \end{tabular}
        <BLANKLINE>
    """

    def line(cells: Sequence[str]) -> str:
        return " & ".join(cell.translate(LATEX_ESCAPES) for cell in cells) + " \\\\\n"

    columns = "".join("r" if right else "l" for right in table.right)
    head = line(table.header) + "\\midrule\n" if any(table.header) else ""
    title = f"% {table.title}\n" if table.title else ""
    body = "".join(map(line, table.rows))
    return (
        f"{title}\\begin{{tabular}}{{{columns}}}\n\\toprule\n{head}{body}"
        "\\bottomrule\n\\end{tabular}\n"
    )


def to_csv(table: PlainTable) -> str:
    r"""Write a table as CSV, without its title.

    Example:
        >>> to_csv(PlainTable("", ["metric", "value"], [["J, F", "0.5"]], [False, True]))
        'metric,value\n"J, F",0.5\n'
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([table.header, *table.rows])
    return text.getvalue()
