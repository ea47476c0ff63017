"""`avseg download`: get the weights that training begins from."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from avsegcli.errors import ConfigError


def download(
    names: Annotated[
        list[str] | None, typer.Argument(help="Weights to get.", metavar="[NAME]...")
    ] = None,
    list_known: Annotated[
        bool, typer.Option("--list", help="Say which weights there are, and where they would live.")
    ] = False,
    source: Annotated[
        Path | None,
        typer.Option(
            "--from", help="Copy from this file or folder instead: for a machine without network."
        ),
    ] = None,
    offline: Annotated[
        bool,
        typer.Option(
            "--offline", help="Do not use the network: fail if they are not here already."
        ),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Download again.")] = False,
) -> None:
    """Get the weights that training begins from, and check them.

    They come from the Hugging Face Hub (HF_ENDPOINT names another server) or from GitHub, and go to
    AVSEG_HOME. What breaks off goes on with the same command. Without a name: the list.

    Example: avseg download resnet50 vggish
    """
    from avsegcli.files import weights

    if list_known or not names:
        for line in _describe():
            typer.echo(line)
        return
    if source is not None and len(names) > 1 and source.is_file():
        raise ConfigError("--from FILE goes with one name", "name a folder, or one at a time")
    for name in names:
        weights.known_weights(name)
    for name in names:
        if source is not None:
            path = weights.import_weights(name, source, among_others=len(names) > 1)
        else:
            path = _with_bar(name, offline=offline, force=force)
        typer.echo(f"{name}: {path}")


def _with_bar(name: str, *, offline: bool, force: bool) -> Path:
    from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

    from avsegcli.cli.tables import open_console
    from avsegcli.files import weights

    console = open_console(stderr=True)
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(name, total=None)
        return weights.download(
            name,
            offline=offline,
            force=force,
            progress=lambda done, size: bar.update(task, completed=done, total=size),
            on_wait=lambda: console.print(f"{name}: waiting for another process that gets it"),
        )


def _describe() -> Iterator[str]:
    """List all weights; a path is never broken, so that it can be copied."""
    from avsegcli.files.weights import KNOWN, home, locate

    for known in KNOWN.values():
        found = locate(known.name)
        size = f"{found.stat().st_size / 1e6:.0f}" if found else f"{known.megabytes}"
        yield f"{known.name}  {known.purpose}; {size} MB, {known.licence}"
        yield f"    from {known.source or 'the package'}"
        yield f"    here: {found or f'no; would be {home(known.name) / known.files[0]}'}"
