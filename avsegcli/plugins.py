"""Parts that other packages bring: backbones, audio encoders, data sets and metrics.

A package names them in its pyproject.toml, as entry points of one of these groups:

    [project.entry-points."avseg.backbones"]
    my-backbone = "my_package:MyBackbone"

The name on the left is what settings and options call the part.
"""

from importlib.metadata import EntryPoint, entry_points
from typing import Any

from avsegcli.errors import AvsegError

BACKBONES = "avseg.backbones"
AUDIO_ENCODERS = "avseg.audio_encoders"
DATASETS = "avseg.datasets"
METRICS = "avseg.metrics"


def _find(group: str) -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=group)}


def plugin_names(group: str) -> list[str]:
    """List the parts of a group that installed packages bring."""
    return sorted(_find(group))


def load_plugin(group: str, name: str) -> Any:
    """Import a part.

    Args:
        group: one of the groups above.
        name: of `plugin_names`.

    Raises:
        AvsegError: if it cannot be imported.
    """
    entry = _find(group)[name]
    try:
        return entry.load()
    except (ImportError, AttributeError, SyntaxError) as error:
        raise AvsegError(
            f"'{name}' of {group} cannot be loaded from {entry.value}: {error}",
            "mend or uninstall the package that brings it",
        ) from error
