"""Audio-visual segmentation: find, paint and name the objects in a video that make the sound.

Where to look: `cli/` the commands; `segment/` one video in, masks out; `inference/` a trained
network and all that is before and after it; `render/` painting; `outputs/` the files that are
written; `model/` the network, one file for each box of the paper's Figure 3; `datasets/` labelled
clips on disk, `synthesis/` composed ones; `training/` losses and trainer; `evaluation/` metrics,
`analysis/` studies of a trained model; `video/`, `audio/` and `files/` reading and writing;
`config.py` every setting; `errors.py` the errors that a user sees.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from avsegcli.segment.segmenter import Segmenter as Segmenter

__version__ = "0.1.0"
__all__ = ["Segmenter", "__version__"]


def __getattr__(name: str) -> Any:
    """Import `Segmenter` when it is asked for, so that `import avsegcli` stays light."""
    if name == "Segmenter":
        from avsegcli.segment.segmenter import Segmenter

        return Segmenter
    raise AttributeError(f"module 'avsegcli' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
