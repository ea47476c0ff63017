"""Audio-visual segmentation: find, paint and name the objects in a video that make the sound.

Where to look: `cli.py` and `commands/` the command line; `segmenter.py` one video in, masks out;
`model/` the network, one file per box of the paper's figure; `datasets/` clips from disk or
composed from parts; `training/` losses and trainer; `evaluation/` metrics; `media/` and `audio/`
files to arrays and back; `config.py` every setting; `errors.py` what a user is told.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from avsegcli.segmenter import Segmenter as Segmenter

__version__ = "0.1.0"
__all__ = ["Segmenter", "__version__"]


def __getattr__(name: str) -> Any:
    """Import `Segmenter` when it is asked for, so that `import avsegcli` stays light."""
    if name == "Segmenter":
        from avsegcli.segmenter import Segmenter

        return Segmenter
    raise AttributeError(f"module 'avsegcli' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
