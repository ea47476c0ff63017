import subprocess
import sys

import pytest

HEAVY = {"torch", "numpy", "av", "cv2", "scipy", "rich"}


@pytest.mark.parametrize(
    "words", [["--help"], ["segment", "--help"], ["train", "--help"], ["noise-test", "--help"]]
)
def test_help_imports_nothing_heavy(words):
    program = (
        "import sys\nfrom avsegcli.cli.main import main\n"
        f"main({words!r})\nprint(*sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0
    assert "avseg" in done.stdout
    assert done.stderr.split() == []


def test_the_version_is_printed():
    from avsegcli import __version__

    command = [sys.executable, "-m", "avsegcli", "--version"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, f"avseg {__version__}\n")
