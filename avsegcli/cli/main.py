"""The `avseg` command: mounts the commands, turns errors into messages and exit codes."""

import codecs
import io
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType
from typing import Annotated

os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # before it is loaded; errors are ours to tell

try:
    import typer

    from avsegcli import __version__
    from avsegcli.cli import (
        ablate,
        average,
        codebook,
        compare,
        compose,
        data,
        download,
        evaluate,
        export,
        noise_test,
        panel,
        plot,
        segment,
        train,
        tsne,
    )
    from avsegcli.device import memory_limit
    from avsegcli.errors import (
        AvsegError,
        OutOfMemoryError,
        format_os_error,
        is_out_of_memory,
    )
except KeyboardInterrupt:  # `main`, which would tell of it, is not there yet
    sys.exit(130)

app = typer.Typer(
    name="avseg",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("segment")(segment.segment)
app.command("train")(train.train)
app.command("eval")(evaluate.evaluate)
app.command("average")(average.average)
app.command("plot")(plot.plot)
app.command("compare")(compare.compare)
app.command("compose")(compose.compose)
app.add_typer(data.app, name="data")
app.command("export")(export.export)
app.command("download")(download.download)
app.command("noise-test")(noise_test.noise_test)
app.command("ablate")(ablate.ablate)
app.command("tsne")(tsne.tsne)
app.command("codebook")(codebook.codebook)
app.command("panel")(panel.panel)

CLEANUP_S = 2.0  # for so long after a Ctrl-C or SIGTERM another one is the same

# Options that take several values; their commands take no arguments, so that nothing else can
# be meant by the words after them.
SEVERAL_VALUES = {
    "noise-test": {"--snr", "--weights", "--metric"},
    "ablate": {"--rows", "--sets", "--score-on"},
    "tsne": {"--classes"},
    "panel": {"--weights", "--clips"},
}

OPTIONAL_VALUES = {"train": {"--resume"}}  # options whose value may be left out


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"avseg {__version__}")
        raise typer.Exit


@app.callback()
def avseg(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Say the version."),
    ] = False,
) -> None:
    """Find, paint and name the objects in a video that are making the sound."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        arguments: the words after `avseg`; those of the process if None.

    Returns:
        0 done; 1 a problem with a file, data or weights; 2 a wrong option or configuration;
        130 interrupted with Ctrl-C.
    """
    words = name_values(repeat_options(sys.argv[1:] if arguments is None else arguments))
    try:
        code = _run(words)
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        if not _stdout_is_lost():
            raise
        if not isinstance(error, BrokenPipeError):
            reason = str(error.strerror).lower()
            typer.echo(f"avseg: cannot write to standard output: {reason}", err=True)
        return 1
    return code


def _run(words: list[str]) -> int:
    try:
        _check_folder()
        code = app(args=words, prog_name="avseg", standalone_mode=False)
    except AvsegError as error:
        return _tell(OutOfMemoryError(memory_limit()) if is_out_of_memory(error) else error)
    except OSError as error:
        if error.filename is None:
            raise
        typer.echo(f"avseg: {format_os_error(error)}", err=True)
        return 1
    except typer.Exit as done:
        return done.exit_code
    except (typer.Abort, KeyboardInterrupt):
        code = 130  # what typer itself returns where it sees Ctrl-C first
    except Exception as error:
        # A usage error of typer's option parser: it knows its own message and exit code.
        if hasattr(error, "show") and hasattr(error, "exit_code"):
            error.show()
            return int(error.exit_code)
        if not is_out_of_memory(error):
            raise
        return _tell(OutOfMemoryError(memory_limit()))
    if code == 130:
        typer.echo("avseg: interrupted", err=True)
    return code if isinstance(code, int) else 0


def _tell(error: AvsegError) -> int:
    """Print an error and return the exit code."""
    typer.echo(f"avseg: {error.message}", err=True)
    if error.hint:
        typer.echo(f"       {error.hint}", err=True)
    return error.exit_code


def _check_folder() -> None:
    """Raise an `AvsegError` in a folder that has been removed: names in it mean nothing."""
    try:
        Path.cwd()
    except FileNotFoundError as error:
        raise AvsegError("the current folder has been removed", "cd to another one") from error


def _stdout_is_lost() -> bool:
    """Tell whether standard output takes no line more; what waits for it is thrown away then."""
    try:
        print(flush=True)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False


def name_values(words: list[str]) -> list[str]:
    """Give options that may stand without a value an empty one, as typer wants it.

    Args:
        words: of the command line, the command first.

    Example:
        >>> name_values(["train", "--resume", "--seed", "1"])
        ['train', '--resume=', '--seed', '1']
        >>> name_values(["train", "--resume", "runs/a"])
        ['train', '--resume=runs/a']
    """
    optional = OPTIONAL_VALUES.get(words[0], set()) if words else set()
    named: list[str] = []
    for word in words:
        if named and named[-1] in optional:
            named[-1] += "=" if word.startswith("-") else f"={word}"
            if not word.startswith("-"):
                continue
        named.append(word)
    if named and named[-1] in optional:
        named[-1] += "="
    return named


def repeat_options(words: list[str]) -> list[str]:
    """Give each value of an option that takes several an option of its own, as typer wants it.

    A value is a word that does not begin with "-", or a number.

    Args:
        words: of the command line, the command first.

    Example:
        >>> repeat_options(["noise-test", "--snr", "-5", "0", "inf", "--listen"])
        ['noise-test', '--snr=-5', '--snr=0', '--snr=inf', '--listen']
    """
    several = SEVERAL_VALUES.get(words[0], set()) if words else set()
    repeated: list[str] = []
    option = None  # whose values are being read
    for word in words:
        if option and (not word.startswith("-") or _is_number(word)):
            if repeated[-1] == option:
                repeated.pop()
            repeated.append(f"{option}={word}")
        else:
            name = word.partition("=")[0]
            option = name if name in several else None
            repeated.append(word)
    return repeated


def _is_number(word: str) -> bool:
    try:
        float(word.partition(",")[0])
    except ValueError:
        return False
    return True


def _encode_anyway(error: UnicodeError) -> tuple[bytes, int]:
    """Print what the locale has no letters for as UTF-8, and bytes of names of files as they are.

    An error handler, see `codecs.register_error`.
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return error.object[error.start : error.end].encode(errors="surrogateescape"), error.end


_asked: list[tuple[int, float]] = []  # the signals that came, and when


def _end_once(number: int, _frame: FrameType | None) -> None:
    """End the command, as a handler of signals; those that come while it cleans up are the same."""
    now = time.monotonic()
    if not _asked or now - _asked[-1][1] > CLEANUP_S:
        _asked.append((number, now))
        raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)


def _leave(number: int, _frame: FrameType | None) -> None:
    """End the process at once, as a handler of signals; its work is over."""
    os._exit(128 + (_asked[0][0] if _asked else number))


def script() -> None:
    """Entry point of the installed `avseg` script; asked to end, it leaves no half-written file."""
    numbers = [
        getattr(signal, name)
        for name in ("SIGINT", "SIGTERM", "SIGHUP")
        if hasattr(signal, name)  # Windows has no SIGHUP
        and signal.getsignal(getattr(signal, name)) != signal.SIG_IGN  # nohup has it ignored
    ]
    for number in numbers:
        signal.signal(number, _end_once)
    codecs.register_error("avseg", _encode_anyway)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="avseg")
    try:
        code = main()
    except (Exception, KeyboardInterrupt):
        if not _asked:
            raise
        typer.echo("avseg: interrupted", err=True)  # what was raised is what a library made of it
        code = 1
    finally:
        for number in numbers:
            signal.signal(number, _leave)
    sys.exit(128 + _asked[0][0] if _asked and code else code)
