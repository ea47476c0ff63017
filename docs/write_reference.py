"""Write the option tables of docs/reference.md anew, from the commands themselves.

    python docs/write_reference.py

A table stands between ``<!-- options: COMMAND -->`` and ``<!-- end -->``; the text around the
tables is written by hand and stays as it is.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from avsegcli.cli.main import app

PAGE = Path(__file__).with_name("reference.md")
BLOCK = re.compile(r"(<!-- options: ([\w -]+) -->\n).*?(<!-- end -->)", re.DOTALL)
LIMIT = re.compile(r"x[<>]=|<x")  # as the help shows the range of a number
VALUES = {"str": "text", "path": "path", "Path": "path", "int": "integer", "float": "number"}


def find_commands(group: Any = None, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every command with its name, as "eval" or "data fake"."""
    for name, command in (group or typer.main.get_command(app)).commands.items():
        if hasattr(command, "commands"):
            yield from find_commands(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command


def _escape(text: str) -> str:
    return re.sub(r"([|<])", r"\\\1", text)


def _code(text: str) -> str:
    return f"`{text}`".replace("|", r"\|")


def _value(kind: str) -> str:
    """Describe the value of an option by its place holder in the help.

    Example:
        >>> _value("int range"), _value("list[path]"), _value("on|off"), _value("FILE...")
        ('integer', 'path, repeatable', '`on`, `off`', '`FILE...`')
    """
    if kind.startswith("list["):
        return f"{_value(kind[5:-1])}, repeatable"
    if "|" in kind:
        return ", ".join(_code(choice) for choice in kind.split("|"))
    return VALUES.get(kind.removesuffix(" range"), _code(kind) if kind else "")


def _row(parameter: Any, context: Any) -> str:
    """Format the row of one argument or option: names, values, meaning, default."""
    shown, text = parameter.get_help_record(context)
    names = [*parameter.opts, *parameter.secondary_opts]
    if parameter.param_type_name == "argument":
        names = [shown.partition(" <")[0]]
    kind = shown.rpartition(names[-1])[2].strip(" <>")
    meaning = parameter.help.partition("  [")[0]
    remarks = "; ".join(re.findall(r"  \[(.+?)\](?=  \[|$)", text)).split("; ")
    limits = [remark for remark in remarks if LIMIT.search(remark)]
    default = "; ".join(remark for remark in remarks if remark not in limits)
    default = re.sub(r"^default: \(?|\)$", "", default)
    value = "; ".join([_value(kind), *map(_escape, limits)])
    cells = ", ".join(map(_code, names)), value, _escape(meaning), _escape(default)
    return f"| {' | '.join(cells)} |"


def options_table(command: Any) -> str:
    """Format the table of a command's arguments and options."""
    context = command.make_context(command.name, [], resilient_parsing=True)
    rows = [_row(parameter, context) for parameter in command.params if not parameter.hidden]
    return "\n".join(["| option | value | meaning | default |", "|---|---|---|---|", *rows, ""])


def write_tables(page: str) -> str:
    """Return the page with its tables as the commands have them now.

    Raises:
        KeyError: if the page has a table of a command that does not exist.
    """
    commands = dict(find_commands())
    return BLOCK.sub(lambda found: found[1] + options_table(commands[found[2]]) + found[3], page)


if __name__ == "__main__":
    PAGE.write_text(write_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
