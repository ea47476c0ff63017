"""The small test set that the package carries: 40 composed clips and two sounds for noise."""

from importlib import resources
from pathlib import Path

from avsegcli.errors import DataError


def packaged_testset() -> Path:
    """Find the test set, a folder that `open_clips` opens and that holds noise/.

    Raises:
        DataError: if this copy of avseg carries none.
    """
    installed = Path(str(resources.files("avsegcli"))) / "testset"
    checkout = Path(__file__).parents[2] / "examples" / "testset"
    for path in (installed, checkout):
        if path.is_dir():
            return path
    raise DataError(
        "this copy of avseg carries no test set", "name clips of your own with --dataset"
    )
