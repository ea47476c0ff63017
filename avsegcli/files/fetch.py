"""Download a file so that it is whole and right when it appears, and goes on where it broke off."""

import hashlib
import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from avsegcli.errors import WeightsError
from avsegcli.files.file_lock import locked

ATTEMPTS = 4  # in a row that bring nothing new; one that does begins the count anew
TIMEOUT_S = 20.0  # without a byte
PAUSE_S = 1.0  # before the next attempt
_CHUNK = 1 << 18

Progress = Callable[[int, int | None], None]


class _BrokenError(Exception):
    """The connection is bad; a full disk, say, is an OSError and told at once."""


@contextmanager
def _network() -> Iterator[None]:
    try:
        yield
    except urllib.error.HTTPError:
        raise
    except (OSError, http.client.HTTPException) as error:
        raise _BrokenError(str(getattr(error, "reason", error)) or type(error).__name__) from error


def fetch(
    url: str,
    target: Path,
    *,
    sha256: str | None = None,
    size: int | None = None,
    progress: Progress | None = None,
    on_wait: Callable[[], None] | None = None,
) -> None:
    """Download a file.

    What arrives is kept beside `target` under a name of its own until it is whole: a later call
    goes on from there. A call at the same time waits, and takes what the first has brought.

    Args:
        url: http or https.
        target: the file to be; its folder is made.
        sha256: what it must have, in hexadecimal.
        size: in bytes, if it is known.
        progress: called with the bytes that are there, and the size if it is known.
        on_wait: called if another process is downloading the file.

    Raises:
        WeightsError: if the server does not give the file, or gives another.
    """
    part = target.with_name(f".{target.name}.{(sha256 or 'unknown')[:12]}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with locked(target.with_name(f".{target.name}.lock"), on_wait) as waited:
            if waited and target.is_file() and sha256 in (None, file_sha256(target)):
                return
            _fill(url, part, sha256, size, progress)
            if sha256 is not None and (found := file_sha256(part)) != sha256:
                raise _another(url, part, f"the sha256 {found[:12]}..., not {sha256[:12]}...")
            part.replace(target)
    except OSError as error:
        raise WeightsError(f"cannot write {target}: {error.strerror or error}") from error


def file_sha256(path: Path) -> str:
    """Compute the sha256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fill(
    url: str, part: Path, sha256: str | None, size: int | None, progress: Progress | None
) -> None:
    """Append to a partial file until it is whole."""
    if size is not None and _length(part) > size:
        part.unlink()
    failures, furthest = 0, _length(part)
    while size is None or _length(part) != size:
        reason = "the connection broke off"
        try:
            size = _append(url, part, size, progress)
            if size is None:
                return
            if _length(part) > size:
                raise _another(url, part, f"more than {size} bytes")
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 416:  # what is there is all that the server has, or more
                if sha256 is not None and part.exists() and file_sha256(part) == sha256:
                    return
                if size is not None:
                    raise _another(url, part, f"fewer than {size} bytes") from error
                part.unlink(missing_ok=True)
            elif error.code < 500 and error.code not in (408, 429):
                raise WeightsError(f"{url}: {error.code} {error.reason}") from error
            reason = f"{error.code} {error.reason}"
        except _BrokenError as error:
            reason = str(error)
        now = _length(part)
        failures = 0 if now > furthest else failures + 1
        furthest = max(furthest, now)
        if failures == ATTEMPTS:
            raise WeightsError(
                f"cannot download {url}: {reason}",
                f"{now} bytes are kept: the same command goes on from there." if now else "",
            )
        if now != size:
            time.sleep(PAUSE_S)


def _length(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _another(url: str, part: Path, found: str) -> WeightsError:
    """Delete a download with the wrong checksum, and raise."""
    part.unlink(missing_ok=True)
    return WeightsError(
        f"what {url} gave has {found}",
        "It was deleted. Try again; if it stays so, the file there is another.",
    )


def _append(url: str, part: Path, size: int | None, progress: Progress | None) -> int | None:
    """Request the missing part once, and return the size of the file if it is known now."""
    done = _length(part)
    headers = {"User-Agent": "avseg", "Accept-Encoding": "identity"}
    if done:
        headers["Range"] = f"bytes={done}-"
    request = urllib.request.Request(url, headers=headers)
    with _network():
        opened = urllib.request.urlopen(request, timeout=TIMEOUT_S)
    with opened as answer:
        if done and answer.status != http.HTTPStatus.PARTIAL_CONTENT:
            done = 0  # the server begins anew, and so do we
        length = answer.headers.get("Content-Length")
        if size is None and length is not None:
            size = done + int(length)
        with part.open("ab" if done else "wb") as file:
            while chunk := _receive(answer):
                file.write(chunk)
                done += len(chunk)
                if progress is not None:
                    progress(done, size)
                if size is not None and done > size:
                    break
    return size


def _receive(answer: http.client.HTTPResponse) -> bytes:
    with _network():
        return answer.read1(_CHUNK)  # what is there: a stall loses nothing
