"""Weights that avseg knows by name: where they come from, where they live, how they are checked.

They live in ``$AVSEG_HOME/weights/<name>/``, without AVSEG_HOME in ``~/.cache/avseg``. What other
programs have put into the Hugging Face cache (HF_HOME) is used from there. No torch.
"""

import hashlib
import json
import os
import shutil
import struct
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from avsegcli.errors import ConfigError, WeightsError, install_hint
from avsegcli.files.atomic import atomic_write, wrap_write_errors, write_atomically
from avsegcli.files.fetch import Progress, fetch, file_sha256

PACKAGED = "lite.safetensors"
PACKAGED_GRAPH = "lite.onnx"  # made of it by `avseg export`
ORIGIN = "origin.json"  # beside what came from the Hub: the commit and sha256 that it was of
_TRUE = {"1", "ON", "YES", "TRUE"}  # as huggingface-hub reads HF_HUB_OFFLINE
_HEAD_TIMEOUT_S = 10


class KnownWeights(NamedTuple):
    """Weights that can be had.

    Where `sha256` is None, the file is checked against the sha256 that the Hub states for it at
    the commit `revision`.
    """

    name: str
    purpose: str
    megabytes: int  # about
    licence: str
    source: str  # repository on the Hugging Face Hub, URL, or "" for what the package carries
    files: tuple[str, ...]  # the first of them that the source has
    revision: str = ""  # commit of a repository
    sha256: str | None = None

    @property
    def from_hub(self) -> bool:
        """Whether the source is a repository on the Hugging Face Hub."""
        return bool(self.source) and "://" not in self.source


_HUB_FILES = ("model.safetensors", "pytorch_model.bin")

KNOWN = {
    known.name: known
    for known in (
        KnownWeights(
            "lite",
            "segment, eval: the packaged model",
            0,
            "CC BY-NC 4.0",
            "",
            (PACKAGED,),
        ),
        KnownWeights(
            "resnet50",
            "train --preset r50: backbone, ImageNet-1k",
            102,
            "Apache-2.0",
            "microsoft/resnet-50",
            _HUB_FILES,
            revision="34c2154c194f829b11125337b98c8f5f9965ff19",
        ),
        KnownWeights(
            "swin-tiny",
            "train --preset swin-t: backbone, ImageNet-1k",
            113,
            "Apache-2.0",
            "microsoft/swin-tiny-patch4-window7-224",
            _HUB_FILES,
            revision="d00d478bfaf1f417d34a1186673ad4b4be264c51",
        ),
        KnownWeights(
            "pvt-v2-b5",
            "train --preset pvt-b5: backbone, ImageNet-1k",
            328,
            "Apache-2.0",
            "OpenGVLab/pvt_v2_b5",
            _HUB_FILES,
            revision="ab50a82ce9a9a5751a6cac9c610f605de4092d3b",
        ),
        KnownWeights(
            "vggish",
            "train: audio encoder of the paper's presets, AudioSet",
            289,
            "Apache-2.0",
            "https://github.com/harritaylor/torchvggish/releases/download/v0.1/vggish-10086976.pth",
            ("vggish-10086976.pth",),
            sha256="10086976245803799d9194e9a73d9b6c1549c71d1b80106f5cade5608a561f4b",
        ),
    )
}


def packaged_weights() -> Path:
    """Find the checkpoint that the package carries.

    Raises:
        WeightsError: if this copy of avseg carries none.
    """
    found = _find_packaged(PACKAGED)
    if found is None:
        raise WeightsError("this copy of avseg carries no weights", "name some with --weights FILE")
    return found


def packaged_graph() -> Path | None:
    """Find the ONNX graph of the packaged model; None if this copy of avseg carries none."""
    return _find_packaged(PACKAGED_GRAPH)


def _find_packaged(name: str) -> Path | None:
    installed = Path(str(resources.files("avsegcli"))) / "packaged" / name
    checkout = Path(__file__).parents[2] / "weights" / name
    return next((path for path in (installed, checkout) if path.is_file()), None)


def known_weights(name: str) -> KnownWeights:
    """Look up weights by name.

    Raises:
        ConfigError: if there are none of this name.
    """
    if name not in KNOWN:
        raise ConfigError(f"no weights are called '{name}'", f"known: {', '.join(KNOWN)}")
    return KNOWN[name]


def home(name: str) -> Path:
    """Name the folder in which weights live, whether they are there or not."""
    root = os.environ.get("AVSEG_HOME")
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root or Path(cache) / "avseg") / "weights" / name


def locate(name: str) -> Path | None:
    """Find weights on this machine: packaged, in their home, or in the Hugging Face cache.

    Raises:
        ConfigError: if there are none of this name.
    """
    known = known_weights(name)
    if not known.source:
        return _find_packaged(PACKAGED)
    for file in known.files:
        if (home(name) / file).is_file():
            return home(name) / file
    return _in_hub_cache(known) if known.from_hub else None


def find(weights: str | Path) -> Path:
    """Find a file of weights by its path or by a known name; nothing is downloaded.

    Raises:
        WeightsError: if there is no such file.
    """
    path = Path(weights)
    if path.is_file():
        return path
    if str(weights) not in KNOWN:
        raise WeightsError(f"no weights at {weights}", f"known by name: {', '.join(KNOWN)}")
    found = locate(str(weights))
    if found is None:
        raise WeightsError(
            f"the weights '{weights}' are not on this machine", f"avseg download {weights}"
        )
    return found


def is_offline() -> bool:
    """Whether HF_HUB_OFFLINE forbids to use the network."""
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in _TRUE


def download(
    name: str,
    *,
    offline: bool = False,
    force: bool = False,
    progress: Progress | None = None,
    on_wait: Callable[[], None] | None = None,
) -> Path:
    """Put weights where `find` finds them.

    An interrupted download goes on where it was; a file appears under its name only when its
    sha256 is right.

    Args:
        name: of the weights.
        offline: do not use the network; HF_HUB_OFFLINE says the same.
        force: download again what is there.
        progress: called with the bytes that are there, and the size if it is known.
        on_wait: called if another process is downloading them.

    Raises:
        ConfigError: if there are no weights of this name.
        WeightsError: if they cannot be had, or are not what they should be.
    """
    known = known_weights(name)
    found = locate(name)
    if not known.source or (found is not None and not force):
        return found or packaged_weights()
    if offline or is_offline():
        raise WeightsError(
            f"the weights '{name}' are not on this machine, and the network is not to be used",
            f"copy {known.files[0]} of {known.source} here: avseg download {name} --from FILE",
        )
    if known.from_hub:
        return _download_from_hub(known, progress, on_wait)
    target = home(name) / known.files[0]
    fetch(known.source, target, sha256=known.sha256, progress=progress, on_wait=on_wait)
    return target


def import_weights(name: str, source: Path, *, among_others: bool = False) -> Path:
    """Copy weights that were brought here by other means to where `find` finds them.

    Args:
        name: of the weights.
        source: their file, or a folder that holds it, itself or in a folder of the weights' name.
        among_others: other weights are copied from this folder too: only the latter counts.

    Raises:
        ConfigError: if there are no weights of this name.
        WeightsError: if the file is missing, cut off or another one.
    """
    known = known_weights(name)
    if not known.source:
        raise ConfigError(f"the package carries '{name}': there is nothing to copy")
    path = _find_in(source, known, among_others=among_others)
    if known.sha256 is not None and file_sha256(path) != known.sha256:
        raise WeightsError(
            f"{path} is not {known.files[0]}: its sha256 differs", "it may be cut off: copy again"
        )
    _refuse_cut_off(path)
    # What is no safetensors file, as .pth of torchvision, is PyTorch's: the last of the names.
    file = next((f for f in known.files if Path(f).suffix == path.suffix), known.files[-1])
    target = home(name) / file
    with wrap_write_errors(target, WeightsError):
        target.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(target, WeightsError) as part:
            shutil.copyfile(path, part)
        for other in set(known.files) - {file}:
            (target.parent / other).unlink(missing_ok=True)  # else it might be found before
    return target


def _find_in(source: Path, known: KnownWeights, *, among_others: bool) -> Path:
    if source.is_file():
        return source
    folders = [known.name, known.source.rpartition("/")[2]]
    if not among_others or not known.from_hub:  # those of the Hub are all called the same
        folders.append("")
    for path in (source / folder / file for folder in folders for file in known.files):
        if path.is_file():
            return path
    wanted = " or ".join(known.files)
    if among_others and known.from_hub:
        raise WeightsError(f"{source} has no folder {known.name} with {wanted}", "copy one by one")
    raise WeightsError(f"{source} has no {wanted}", "name the file itself")


def _refuse_cut_off(path: Path) -> None:
    """Compare a safetensors file's length with what its header says; others pass."""
    if path.suffix != ".safetensors":
        return
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(min(length, path.stat().st_size)))
        header.pop("__metadata__", None)
        end = 8 + length + max(entry["data_offsets"][1] for entry in header.values())
    except (struct.error, ValueError, AttributeError, LookupError, TypeError) as error:
        raise WeightsError(f"{path} is no safetensors file") from error
    if path.stat().st_size != end:
        raise WeightsError(f"{path} has {path.stat().st_size} bytes of {end}", "copy it again")


# --- the Hugging Face Hub -----------------------------------------------------------------------


def _endpoint() -> str:
    """Read the Hub's address now, not when huggingface-hub, which trips over a wrong one, is."""
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    try:
        _ = urlsplit(endpoint).port
    except ValueError as error:
        raise WeightsError(f"HF_ENDPOINT={endpoint} is no address: {error}") from error
    return endpoint


def _in_hub_cache(known: KnownWeights) -> Path | None:
    _endpoint()  # raises what is wrong with it before huggingface-hub does
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return None
    for file in known.files:
        found = try_to_load_from_cache(known.source, file, revision=known.revision)
        if isinstance(found, str):
            return Path(found)
    return None


def _download_from_hub(
    known: KnownWeights, progress: Progress | None, on_wait: Callable[[], None] | None
) -> Path:
    endpoint = _endpoint()
    try:
        from huggingface_hub import errors as hub_errors
        from huggingface_hub import get_hf_file_metadata, hf_hub_url
    except ImportError as error:
        raise WeightsError(
            f"'{known.name}' comes from the Hugging Face Hub, which needs huggingface-hub",
            install_hint("backbones"),
        ) from error
    for file in known.files:
        url = hf_hub_url(known.source, file, revision=known.revision, endpoint=endpoint)
        try:
            said = get_hf_file_metadata(url, endpoint=endpoint, timeout=_HEAD_TIMEOUT_S)
        except hub_errors.EntryNotFoundError:
            continue
        except (OSError, hub_errors.HTTPError) as error:  # type: ignore[attr-defined]
            reason = str(error).strip().partition("\n")[0]
            raise WeightsError(
                f"cannot ask {endpoint} for {known.source}: {reason}",
                f"on a machine without network: avseg download {known.name} --from FILE",
            ) from error
        sha256 = known.sha256 or said.etag
        if sha256 is None or len(sha256) != hashlib.sha256().digest_size * 2:
            raise WeightsError(f"{endpoint} does not state the sha256 of {known.source}'s {file}")
        target = home(known.name) / file
        fetch(
            said.location,
            target,
            sha256=sha256,
            size=said.size,
            progress=progress,
            on_wait=on_wait,
        )
        origin = {"source": known.source, "revision": said.commit_hash, "sha256": sha256}
        write_atomically(target.with_name(ORIGIN), json.dumps(origin, indent=1) + "\n")
        return target
    raise WeightsError(f"{known.source} has no {' or '.join(known.files)} on {endpoint}")
