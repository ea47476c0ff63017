import hashlib
import json
import re
import struct

import numpy as np
import pytest
from hub import Hub

from avsegcli.cli.main import main
from avsegcli.errors import WeightsError
from avsegcli.files import fetch, weights

CONTENT = np.random.default_rng(0).bytes(100_000)
REVISION = weights.KNOWN["resnet50"].revision
MODEL = f"/microsoft/resnet-50/resolve/{REVISION}/model.safetensors"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("AVSEG_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(fetch, "PAUSE_S", 0.0)
    return tmp_path / "home"


@pytest.fixture
def hub(monkeypatch):
    with Hub() as hub:
        hub.files[MODEL] = CONTENT
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub


def leftovers(home):
    return sorted(path.name for path in home.rglob("*") if path.is_file())


def test_a_backbone_is_downloaded_from_the_pinned_revision_once(hub, home, capsys):
    assert main(["download", "resnet50"]) == 0
    path = home / "weights" / "resnet50" / "model.safetensors"
    assert path.read_bytes() == CONTENT
    assert capsys.readouterr().out == f"resnet50: {path}\n"
    assert main(["download", "resnet50"]) == 0
    assert len(hub.ranges) == 1
    assert weights.find("resnet50") == path
    origin = json.loads(path.with_name("origin.json").read_text())
    assert origin["revision"] == "c" * 40  # as the server says
    assert origin["sha256"] == hashlib.sha256(CONTENT).hexdigest()
    assert main(["download", "resnet50", "--force"]) == 0
    assert len(hub.ranges) == 2


def test_whatever_comes_from_the_hub_is_of_a_fixed_commit():
    known = [known for known in weights.KNOWN.values() if known.from_hub]
    assert {item.name for item in known} == {"resnet50", "swin-tiny", "pvt-v2-b5"}
    assert all(re.fullmatch("[0-9a-f]{40}", item.revision) for item in known)


@pytest.mark.parametrize("name", ["swin-tiny", "pvt-v2-b5"])
def test_other_backbones_are_asked_for_at_their_commits(hub, home, name):
    known = weights.KNOWN[name]
    hub.files = {f"/{known.source}/resolve/{known.revision}/model.safetensors": CONTENT}
    assert weights.download(name).read_bytes() == CONTENT


def test_an_older_repository_without_safetensors_gives_its_bin(hub, home):
    hub.files = {MODEL.replace("model.safetensors", "pytorch_model.bin"): CONTENT}
    assert weights.download("resnet50").name == "pytorch_model.bin"


def test_what_breaks_off_goes_on_where_it_was(hub, home):
    hub.mishaps = [40_000, 30_000]
    assert weights.download("resnet50").read_bytes() == CONTENT
    assert hub.ranges == [None, "bytes=40000-", "bytes=70000-"]
    assert leftovers(home) == ["model.safetensors", "origin.json"]


def test_a_later_command_goes_on_too(hub, home, capsys):
    hub.mishaps = [40_000, "error", "error", "error", "error"]
    assert main(["download", "resnet50"]) == 1
    message, hint = capsys.readouterr().err.splitlines()
    assert "500" in message
    assert hint.strip() == "40000 bytes are kept: the same command goes on from there."
    assert len(leftovers(home)) == 1
    assert weights.locate("resnet50") is None
    assert main(["download", "resnet50"]) == 0
    assert hub.ranges[-1] == "bytes=40000-"
    assert leftovers(home) == ["model.safetensors", "origin.json"]


def test_who_waits_for_another_download_is_told_why(hub, home, monkeypatch, capsys):
    def brought_by_another(_url, target, *, on_wait, **_):
        on_wait()
        target.parent.mkdir(parents=True)
        target.write_bytes(CONTENT)

    monkeypatch.setattr(weights, "fetch", brought_by_another)
    assert main(["download", "resnet50"]) == 0
    assert capsys.readouterr().err == "resnet50: waiting for another process that gets it\n"


def test_a_server_that_stalls_is_left_and_asked_again(hub, monkeypatch):
    monkeypatch.setattr(fetch, "TIMEOUT_S", 0.3)
    hub.mishaps = ["slow"]
    assert weights.download("resnet50").read_bytes() == CONTENT
    assert hub.ranges == [None, "bytes=7-"]


def test_a_server_that_knows_no_ranges_begins_anew(hub):
    hub.mishaps = [40_000, "no range"]
    assert weights.download("resnet50").read_bytes() == CONTENT


def test_a_place_that_cannot_be_written_is_told_at_once(hub, home, capsys):
    home.write_text("a file is in the way")
    assert main(["download", "resnet50"]) == 1
    assert "cannot write" in capsys.readouterr().err
    assert hub.ranges == []


def test_a_wrong_checksum_is_one_line_and_leaves_no_file(hub, home, capsys):
    hub.mishaps = ["wrong"]
    assert main(["download", "resnet50"]) == 1
    message, hint = capsys.readouterr().err.splitlines()
    assert "has the sha256" in message
    assert "deleted" in hint
    assert leftovers(home) == []


def test_a_part_that_is_longer_than_the_file_is_thrown_away(hub, home):
    name = hashlib.sha256(CONTENT).hexdigest()[:12]
    part = home / "weights" / "resnet50" / f".model.safetensors.{name}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENT + b"more")
    assert weights.download("resnet50").read_bytes() == CONTENT


def test_a_hub_that_states_no_sha256_is_not_trusted(hub, home):
    hub.states_sha256 = False
    with pytest.raises(WeightsError, match="does not state the sha256"):
        weights.download("resnet50")
    assert leftovers(home) == []


def test_vggish_is_checked_against_the_sha256_that_is_known(hub, home, monkeypatch):
    hub.files["/vggish-10086976.pth"] = CONTENT
    vggish = weights.KNOWN["vggish"]._replace(source=f"{hub.url}/vggish-10086976.pth")
    monkeypatch.setitem(weights.KNOWN, "vggish", vggish)
    with pytest.raises(WeightsError, match="not 100869762458"):
        weights.download("vggish")
    known = vggish._replace(sha256=hashlib.sha256(CONTENT).hexdigest())
    monkeypatch.setitem(weights.KNOWN, "vggish", known)
    assert weights.download("vggish").read_bytes() == CONTENT
    assert weights.KNOWN["vggish"].files[0].split("-")[1][:8] == vggish.sha256[:8]


def test_a_file_that_is_not_there_is_one_line(hub, monkeypatch, capsys):
    monkeypatch.setitem(
        weights.KNOWN, "vggish", weights.KNOWN["vggish"]._replace(source=f"{hub.url}/gone")
    )
    assert main(["download", "vggish"]) == 1
    assert "404" in capsys.readouterr().err
    hub.files.clear()
    assert main(["download", "resnet50"]) == 1
    assert "has no model.safetensors or pytorch_model.bin" in capsys.readouterr().err


def test_an_unreachable_hub_is_one_line_that_says_how_to_do_without(monkeypatch, capsys):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert main(["download", "resnet50"]) == 1
    message, hint = capsys.readouterr().err.splitlines()
    assert message.startswith("avseg: cannot ask http://127.0.0.1:9 for microsoft/resnet-50")
    assert "--from FILE" in hint


@pytest.mark.parametrize("endpoint", ["http://[::1", "http://x:99999", "http://a:b:c"])
def test_an_address_of_the_hub_that_is_none_is_one_line(monkeypatch, capsys, endpoint):
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    assert main(["download", "resnet50"]) == 1
    (message,) = capsys.readouterr().err.splitlines()
    assert message.startswith(f"avseg: HF_ENDPOINT={endpoint} is no address: ")


@pytest.mark.parametrize("by", ["option", "variable"])
def test_offline_asks_no_server(hub, monkeypatch, capsys, by):
    if by == "variable":
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert main(["download", "resnet50", *(["--offline"] if by == "option" else [])]) == 1
    assert "--from FILE" in capsys.readouterr().err
    assert hub.heads == hub.ranges == []
    assert main(["download", "lite", "--offline"]) == 0


def safetensors(path, missing=0):
    header = json.dumps({"w": {"dtype": "U8", "shape": [8], "data_offsets": [0, 8]}}).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"x" * (8 - missing))
    return path


@pytest.mark.parametrize("place", ["model.safetensors", "resnet-50/model.safetensors"])
def test_weights_are_copied_from_a_file_or_a_folder(tmp_path, place):
    path = safetensors(tmp_path / "stick" / place)
    for source in (path, tmp_path / "stick"):
        copied = weights.import_weights("resnet50", source)
        assert copied.read_bytes() == path.read_bytes()
        assert weights.find("resnet50") == copied


def test_what_was_copied_last_is_what_is_found(tmp_path, home):
    first = safetensors(tmp_path / "model.safetensors")
    weights.import_weights("resnet50", first)
    other = tmp_path / "resnet50-of-torchvision.pth"
    other.write_bytes(b"pickle")
    assert weights.import_weights("resnet50", other) == weights.find("resnet50")
    assert weights.find("resnet50").name == "pytorch_model.bin"
    weights.import_weights("resnet50", first)
    assert leftovers(home) == ["model.safetensors"]


def test_several_are_copied_from_folders_of_their_own(tmp_path, home, capsys):
    words = ["download", "resnet50", "swin-tiny", "--from", str(tmp_path)]
    safetensors(tmp_path / "model.safetensors")
    safetensors(tmp_path / "resnet50" / "model.safetensors")
    assert main(words) == 1
    assert "has no folder swin-tiny with model.safetensors" in capsys.readouterr().err
    safetensors(tmp_path / "swin-tiny-patch4-window7-224" / "model.safetensors")
    assert main(words) == 0


def test_a_copy_that_is_cut_off_or_another_file_is_refused(tmp_path, home, capsys):
    path = safetensors(tmp_path / "model.safetensors", missing=3)
    assert main(["download", "resnet50", "--from", str(path)]) == 1
    assert "bytes of" in capsys.readouterr().err
    path.write_bytes(b"no weights")
    assert main(["download", "resnet50", "--from", str(path)]) == 1
    assert "is no safetensors file" in capsys.readouterr().err
    assert main(["download", "vggish", "--from", str(path)]) == 1
    assert "its sha256 differs" in capsys.readouterr().err
    assert main(["download", "vggish", "--from", str(tmp_path / "nowhere")]) == 1
    assert "has no vggish-10086976.pth" in capsys.readouterr().err
    assert leftovers(home) == []


def test_the_list_names_everything_and_where_it_would_live(home, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")  # no path is broken for that
    assert main(["download", "--list"]) == 0
    printed = capsys.readouterr().out
    for known in weights.KNOWN.values():
        assert known.name in printed
        assert known.source in printed
    assert f"would be {home / 'weights' / 'resnet50' / 'model.safetensors'}" in printed


def test_unknown_names_are_refused_with_the_known_ones(capsys):
    assert main(["download", "resnet5"]) == 2
    assert "resnet50" in capsys.readouterr().err
    with pytest.raises(WeightsError, match="no weights at resnet5"):
        weights.find("resnet5")
    with pytest.raises(WeightsError, match="not on this machine"):
        weights.find("vggish")


def test_what_is_in_the_cache_of_the_hub_is_used(tmp_path):
    folder = tmp_path / "hf" / "models--microsoft--resnet-50" / "snapshots" / REVISION
    path = safetensors(folder / "model.safetensors")
    assert weights.find("resnet50") == path


def test_training_takes_weights_by_name(tmp_path, capsys, toy_parts):
    words = ["train", "--data", str(toy_parts), "--out", str(tmp_path / "run"), "--device", "cpu"]
    assert main([*words, "--set", "data.workers=0", "--backbone-weights", "swin-tiny"]) == 1
    message, hint = capsys.readouterr().err.splitlines()[-2:]
    assert message == "avseg: the weights 'swin-tiny' are not on this machine"
    assert hint.strip() == "avseg download swin-tiny"
    assert not (tmp_path / "run").exists()
