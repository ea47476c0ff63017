"""Write a file so that it is whole when it appears under its name."""

from pathlib import Path

from avsegcli.errors import AvsegError


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file under a temporary name and rename it; missing folders are made.

    Raises:
        AvsegError: if it cannot be written.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content.encode() if isinstance(content, str) else content)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise AvsegError(f"cannot write {path}: {error.strerror}") from error
