"""Results as files, each of which is whole or not there."""

from pathlib import Path
from typing import TYPE_CHECKING

from avsegcli.errors import AvsegError
from avsegcli.media.encode import written_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = ("png", "svg")  # of a figure


def make_folder(folder: Path) -> None:
    """Make a folder for results, if it is not there.

    Raises:
        AvsegError: if it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise AvsegError(f"cannot make the folder {folder}: {reason}") from error


def save_text(text: str, path: Path) -> None:
    """Write a text; the folder must be there.

    Raises:
        MediaError: if it cannot be written.
    """
    with written_whole(path) as part:
        part.write_text(text, encoding="utf-8")


def save_figure(figure: "Figure", folder: Path, name: str) -> list[Path]:
    """Write a figure as PNG and as SVG; the folder must be there.

    Raises:
        MediaError: if it cannot be written.
    """
    paths = [folder / f"{name}.{kind}" for kind in FORMATS]
    for path in paths:
        metadata = {"Date": None} if path.suffix == ".svg" else None  # same figure, same bytes
        with written_whole(path) as part:
            figure.savefig(part, format=path.suffix[1:], metadata=metadata)
    return paths
