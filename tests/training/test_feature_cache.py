import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from avsegcli.cli.main import main
from avsegcli.config import load_config
from avsegcli.datasets.collate import collate, make_sample
from avsegcli.errors import DataError
from avsegcli.model.backbone import build_backbone
from avsegcli.model.pretrained import load_backbone_weights
from avsegcli.model.qsd import build_qsd
from avsegcli.synthesis.parts import Parts
from avsegcli.training import data
from avsegcli.training.feature_cache import SHAPES, PooledData, PoolWriter
from avsegcli.training.losses import qsd_losses

TINY = Path(__file__).parents[1] / "tiny.toml"
SMALL = ["model.backbone=small", "optim.backbone_lr_factor=0", "data.batch_size=1"]
CLIPS = 4


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "backbone.safetensors"
    save_file(build_backbone("small").state_dict(), path)
    return path


@pytest.fixture(scope="module")
def encode(toy_parts, weights):
    """Run `avseg data encode` on the toy parts; returns the exit code."""

    def run(pool, *words, clips=CLIPS):
        options = ["--config", str(TINY), "--set", SMALL[0], "--backbone-weights", str(weights)]
        command = ["data", "encode", str(toy_parts), "-o", str(pool), "--clips", str(clips)]
        return main([*command, *options, *words])

    return run


@pytest.fixture(scope="module")
def made(encode, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pool") / "pool"
    assert encode(folder) == 0
    return folder


@pytest.fixture
def pool(made, tmp_path):
    """A copy that a test may change."""
    return shutil.copytree(made, tmp_path / "pool")


@pytest.fixture(scope="module")
def config():
    return load_config("lite", TINY, SMALL)


@pytest.fixture
def writer(toy_parts, weights, config):
    backbone = build_backbone("small").eval()
    load_backbone_weights(backbone, weights)
    parts = Parts(toy_parts, "train")
    return lambda folder, **options: PoolWriter(
        parts, config, backbone, folder, **{"length": CLIPS, "seed": 0} | options
    )


def test_a_pool_holds_its_clips_and_what_they_are_for(made):
    index = json.loads((made / "pool.json").read_text())
    assert index["classes"] == ["background", "disc", "square", "star", "triangle"]
    assert (index["backbone"], index["num_frames"], index["seed"]) == ("small", 1, 0)
    assert index["complete"] is True
    assert len(index["sizes"]) == CLIPS
    assert all(height % 32 == width % 32 == 0 for height, width in index["sizes"])
    names = [f"{number:06d}.pt" for number in range(CLIPS)]
    assert sorted(path.name for path in made.iterdir()) == [*names, "pool.json"]


def test_a_batch_of_a_pool_is_that_of_the_clips_encoded_directly(made, writer, config):
    maker = writer(made)
    expected = []
    for index in range(CLIPS):
        shape = maker._shape(index)
        clip = maker.composers[shape].compose(0, index).clip
        expected.append(collate([make_sample(clip, 4, max(SHAPES[shape]))]))
    found = list(PooledData([made], config).batches(0))
    assert len(found) == CLIPS
    unseen = list(range(CLIPS))
    model = build_qsd(config.model, 4).eval()
    model.backbone.load_state_dict(maker.backbone.state_dict())
    for batch in found:
        same = [i for i in unseen if torch.equal(expected[i].visible, batch.visible)]
        other = expected[same[0]]
        unseen.remove(same[0])
        with torch.no_grad():
            features = maker.backbone(other.frames.flatten(0, 1))
        for one, two in zip(batch.features, features, strict=True):
            torch.testing.assert_close(one, two, rtol=2e-3, atol=2e-3)  # of half precision
        torch.testing.assert_close(batch.log_mel, other.log_mel, rtol=2e-3, atol=2e-3)
        for name in ("heard", "imagined", "annotated", "known"):
            assert torch.equal(getattr(batch, name), getattr(other, name)), name
        for name in ("labels", "masks", "active"):
            assert torch.equal(getattr(batch.objects, name), getattr(other.objects, name)), name
        assert (batch.valid is None) == (other.valid is None)
        if batch.valid is not None:
            assert torch.equal(batch.valid, other.valid)
        assert batch.frames.shape[2] == 0
    with torch.no_grad():
        output = model(batch.features, batch.log_mel, batch.valid, batch.present)
        direct = model(other.frames, other.log_mel, other.valid, other.present)
    torch.testing.assert_close(output.visible_logits, direct.visible_logits, rtol=0, atol=0.05)
    assert all(loss.isfinite() for loss in qsd_losses(output, batch, config.loss).values())


def test_each_epoch_has_another_order_and_can_be_resumed(made, config):
    pooled = PooledData([made], config)
    assert pooled.batches_per_epoch == CLIPS

    def sums(epoch, skip=0):
        return [batch.log_mel.sum().item() for batch in pooled.batches(epoch, skip)]

    first = sums(0)
    assert sums(0) == first
    assert sums(0, skip=2) == first[2:]
    assert sorted(sums(1)) == sorted(first)
    assert any(sums(epoch) != first for epoch in range(1, 5))


def test_what_was_interrupted_goes_on_with_what_is_missing(pool, encode, config, capsys):
    kept = (pool / "000000.pt").read_bytes()
    times = {path.name: path.stat().st_mtime_ns for path in pool.glob("*.pt")}
    missing = torch.load(pool / "000002.pt")
    (pool / "000002.pt").unlink()
    index = json.loads((pool / "pool.json").read_text())
    (pool / "pool.json").write_text(json.dumps(index | {"complete": False}))
    with pytest.raises(DataError, match="lacks clips"):
        PooledData([pool], config)
    assert encode(pool) == 0
    assert capsys.readouterr().out == f"{pool}: {CLIPS} clips\n"
    assert (pool / "000000.pt").read_bytes() == kept
    now = {path.name: path.stat().st_mtime_ns for path in pool.glob("*.pt")}
    assert [name for name in times if times[name] != now[name]] == ["000002.pt"]
    again = torch.load(pool / "000002.pt")
    assert again.keys() == missing.keys()
    assert torch.equal(again["log_mel"], missing["log_mel"])
    for one, other in zip(again["features"], missing["features"], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-2, atol=1e-2)
    assert PooledData([pool], config).batches_per_epoch == CLIPS


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (["--seed", "1"], "seed 0, not 1"),
        (["--set", "data.num_frames=2"], "num_frames 1, not 2"),
        (["--set", "data.classes=['disc','star']"], "classes"),
    ],
)
def test_a_pool_is_not_mixed_with_clips_of_other_settings(pool, encode, words, key, capsys):
    before = {path.name: path.stat().st_mtime_ns for path in pool.iterdir()}
    assert encode(pool, *words) == 1
    error = capsys.readouterr().err
    assert f"{pool} holds clips of other settings: {key}" in error
    assert "choose another folder" in error
    assert {path.name: path.stat().st_mtime_ns for path in pool.iterdir()} == before


def test_pools_of_another_backbone_or_other_classes_are_refused(pool, config, tmp_path):
    with pytest.raises(DataError, match="was made for the backbone small"):
        PooledData([pool], load_config("lite", TINY))
    other = shutil.copytree(pool, tmp_path / "other")
    index = json.loads((other / "pool.json").read_text())
    (other / "pool.json").write_text(json.dumps(index | {"classes": ["background", "cat"]}))
    with pytest.raises(DataError, match=f"{other} has other classes than {pool}"):
        PooledData([pool, other], config)
    with pytest.raises(DataError, match="is not a pool of clips"):
        PooledData([tmp_path], config)


def test_a_damaged_clip_is_told_in_one_line(pool, config):
    (pool / "000001.pt").write_bytes(b"not a clip")
    with pytest.raises(DataError) as caught:
        list(PooledData([pool], config).batches(0))
    assert str(pool / "000001.pt") in caught.value.message
    assert "\n" not in caught.value.message


def test_a_batch_larger_than_the_pool_is_refused(made):
    config = load_config("lite", TINY, [*SMALL[:2], "data.batch_size=9"])
    with pytest.raises(DataError, match="no 9 clips of one size"):
        PooledData([made], config)


def test_weights_of_another_backbone_are_refused_before_anything_is_made(
    toy_parts, tmp_path, capsys
):
    command = ["data", "encode", str(toy_parts), "-o", str(tmp_path / "new"), "--clips", "1"]
    settings = ["--config", str(TINY), "--set", "model.backbone=small"]
    assert main([*command, *settings]) == 1  # the packaged model's are of another
    assert "holds the weights of another network" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_a_model_is_trained_on_a_pool(made, toy_parts, weights, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(data, "VALIDATION_CLIPS", (1, 1))
    run = ["train", "--data", str(toy_parts), "--pool", str(made), "--out", str(tmp_path / "run")]
    options = ["--config", str(TINY), "--device", "cpu", "--backbone-weights", str(weights)]
    sets = [word for setting in SMALL for word in ("--set", setting)]
    assert main([*run, *options, *sets]) == 0
    said = capsys.readouterr().err
    assert f"{CLIPS} batches of 1 clips an epoch" in said
    assert (tmp_path / "run" / "best.safetensors").exists()
    sets[3] = "optim.backbone_lr_factor=0.5"
    assert main([*run, *options, *sets, "--force"]) == 2
    assert "features of a frozen backbone" in capsys.readouterr().err
