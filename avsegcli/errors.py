"""Errors that are reported to the user; anything else that is raised is a bug, with traceback.

An `OSError` that names a file is reported as well: see `format_os_error`.

AvsegError          something a user can put right, such as a missing package; exit code 1
├── OutOfMemoryError  the memory that this process may use is not enough
├── ConfigError     an option or a key of a configuration is wrong; exit code 2
├── MediaError      a video, picture or sound file cannot be read or written
├── DataError       a data set or parts folder is missing, damaged or of another layout
└── WeightsError    a checkpoint is missing, damaged or of another model
"""

import re

# As Python, the loader of libraries, FFmpeg, OpenCV and ONNX Runtime say it.
OUT_OF_MEMORY = re.compile(
    "bad_?alloc|allocate memory|insufficient memory|out of memory|failed to map segment"
    "|failed to allocate|can't start new thread|resource temporarily unavailable",
    re.IGNORECASE,
)


class AvsegError(Exception):
    """A problem that the user can put right.

    Args:
        message: the problem, with the file.
        hint: the next step for the user; may be empty.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class OutOfMemoryError(AvsegError):
    """The memory that this process may use is not enough.

    Args:
        limit: how many bytes it may map (`ulimit -v`); None: any number.
    """

    def __init__(self, limit: int | None) -> None:
        allowed = "" if limit is None else f": ulimit -v allows {limit // 1024} kB"
        super().__init__(f"not enough memory{allowed}", "Allow more, or give it a smaller video.")


class ConfigError(AvsegError):
    """An option or a key of a configuration is wrong."""

    exit_code = 2


class MediaError(AvsegError):
    """A video, picture or sound file cannot be read or written."""


class DataError(AvsegError):
    """A data set or parts folder is missing, damaged or of another layout."""


class WeightsError(AvsegError):
    """A checkpoint is missing, damaged or of another model."""


def format_os_error(error: OSError) -> str:
    """Format an error of the operating system as one line with the file.

    Example:
        >>> format_os_error(PermissionError(13, "Permission denied", "a.mp4"))
        'a.mp4: permission denied'
    """
    if error.filename is None:
        return str(error)
    return f"{error.filename}: {str(error.strerror).lower()}"


def is_out_of_memory(error: BaseException | None) -> bool:
    """Tell whether an error, or the one that it came from, says that memory is short.

    What is said of a setting that needs less stays as it is: an `AvsegError` of no other class.

    Example:
        >>> is_out_of_memory(ImportError("a.so: failed to map segment from shared object"))
        True
    """
    if type(error) is AvsegError:
        return False
    while error is not None:
        if isinstance(error, MemoryError) or OUT_OF_MEMORY.search(str(error)):
            return True
        error = error.__cause__
    return False


def install_hint(extra: str) -> str:
    """Say how to get the packages of an optional feature, named as in pyproject.toml.

    Example:
        >>> install_hint("export")
        'pip install "onnx>=1.17"'
    """
    from importlib import metadata  # takes a while: here, so that --help need not

    try:
        lines = metadata.requires("avseg") or []
    except metadata.PackageNotFoundError:  # it runs in its own folder
        return f'pip install ".[{extra}]"'
    wanted = [line.split(";")[0] for line in lines if line.endswith(f"; extra == '{extra}'")]
    return " ".join(["pip install", *(f'"{package}"' for package in wanted)])
