import errno
import hashlib
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPResponse
from threading import Event

import numpy as np
import pytest
from hub import Hub

from avsegcli.errors import WeightsError
from avsegcli.files import fetch as fetching
from avsegcli.files.fetch import fetch

CONTENT = np.random.default_rng(0).bytes(100_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
PART = f".file.{SHA256[:12]}.part"


@pytest.fixture
def hub(monkeypatch):
    monkeypatch.setattr(fetching, "PAUSE_S", 0.0)
    with Hub() as hub:
        hub.files["/file"] = CONTENT
        yield hub


@pytest.mark.parametrize(
    ("size", "words"), [(99_990, "more than 99990 bytes"), (100_010, "fewer than 100010 bytes")]
)
def test_a_file_of_another_size_than_stated_is_one_error(hub, tmp_path, size, words):
    hub.mishaps = [None, None, None, "error", "error", "error", "error"]  # nothing loops for ever
    with pytest.raises(WeightsError, match=words) as caught:
        fetch(f"{hub.url}/file", tmp_path / "file", sha256="0" * 64, size=size)
    assert "deleted" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_always_breaks_off_and_begins_anew_is_left(hub, tmp_path):
    hub.knows_ranges = False
    hub.mishaps = [3_000, 2_000] * 10
    with pytest.raises(WeightsError, match="cannot download"):
        fetch(f"{hub.url}/file", tmp_path / "file", sha256=SHA256)


def test_a_network_that_is_lost_half_way_is_tried_again_and_told_as_such(
    hub, tmp_path, monkeypatch
):
    read, lost = HTTPResponse.read1, []

    def lose(answer, size):
        if answer.length < len(CONTENT):
            lost.append(answer.length)
            raise OSError(errno.EHOSTUNREACH, "No route to host")
        return read(answer, 1000)

    monkeypatch.setattr(HTTPResponse, "read1", lose)
    with pytest.raises(WeightsError, match=r"cannot download .*: .*No route to host") as caught:
        fetch(f"{hub.url}/file", tmp_path / "file", sha256=SHA256)
    assert caught.value.hint.startswith(f"{len(CONTENT) - lost[0]} bytes are kept")
    assert len(lost) == 1 + fetching.ATTEMPTS  # the first brought something


@pytest.mark.parametrize("size", [None, len(CONTENT)])
def test_what_was_whole_before_it_got_its_name_is_not_asked_for_again(hub, tmp_path, size):
    (tmp_path / PART).write_bytes(CONTENT)
    fetch(f"{hub.url}/file", tmp_path / "file", sha256=SHA256, size=size)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert None not in hub.ranges


def test_other_bytes_that_the_server_has_no_more_of_are_replaced(hub, tmp_path):
    (tmp_path / PART).write_bytes(CONTENT[::-1])
    fetch(f"{hub.url}/file", tmp_path / "file", sha256=SHA256)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert hub.ranges == ["bytes=100000-", None]


def test_two_at_a_time_download_once(hub, tmp_path):
    begun, waiting = Event(), Event()

    def stop(_done, _size):
        begun.set()
        assert waiting.wait(10)

    words = {"sha256": SHA256, "size": len(CONTENT)}
    with ThreadPoolExecutor() as pool:
        args = fetch, f"{hub.url}/file", tmp_path / "file"
        first = pool.submit(*args, **words, progress=stop)
        assert begun.wait(10)
        second = pool.submit(*args, **words, on_wait=waiting.set)
        assert (first.result(), second.result()) == (None, None)
    assert hub.ranges == [None]
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_who_waits_goes_on_where_another_gave_up(hub, tmp_path):
    begun, waiting = Event(), Event()

    def give_up(done, _size):
        begun.set()
        assert waiting.wait(10)
        if done == 40_000:
            raise KeyboardInterrupt

    hub.mishaps = [40_000]
    with ThreadPoolExecutor() as pool:
        args = fetch, f"{hub.url}/file", tmp_path / "file"
        first = pool.submit(*args, sha256=SHA256, progress=give_up)
        assert begun.wait(10)
        pool.submit(*args, sha256=SHA256, on_wait=waiting.set).result()
        assert isinstance(first.exception(), KeyboardInterrupt)
    assert hub.ranges == [None, "bytes=40000-"]
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
