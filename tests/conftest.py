from pathlib import Path

import pytest

from avsegcli.datasets.toy import write_toy_parts


@pytest.fixture(scope="session")
def toy_parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A parts folder of shapes that beep, drawn once a session; not to be changed."""
    root = tmp_path_factory.mktemp("parts")
    write_toy_parts(root)
    return root
