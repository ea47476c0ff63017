import json
import os
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from avsegcli.config import load_config
from avsegcli.errors import WeightsError
from avsegcli.inference.checkpoint import load_checkpoint, save_checkpoint
from avsegcli.model.qsd import build_qsd

CLASSES = ("background", "dog", "guitar")


@pytest.fixture(scope="module")
def config():
    small = {"hidden_dim": 16, "num_heads": 2, "ffn_dim": 16, "pyramid_dim": 16}
    return replace(load_config("lite").model, **small, codebook_size=8, class_threshold=0.3)


@pytest.fixture(scope="module")
def model(config):
    torch.manual_seed(0)
    return build_qsd(config, num_classes=2).eval()


@pytest.fixture(scope="module")
def saved(config, model, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "small.safetensors"
    save_checkpoint(path, model, config, CLASSES, name="small")
    return path


def header_of(config, classes=CLASSES):
    said = {"name": "small", "classes": list(classes), "model": vars(config)}
    return {"avseg": json.dumps(said)}


def test_a_checkpoint_gives_back_weights_settings_classes_and_name(saved, config, model):
    loaded = load_checkpoint(saved)
    assert (loaded.config, loaded.classes, loaded.name) == (config, CLASSES, "small")
    assert not loaded.model.training
    state = loaded.model.state_dict()
    assert state.keys() == model.state_dict().keys()
    assert all(torch.equal(state[key], value) for key, value in model.state_dict().items())


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o007, 0o660)])
def test_who_may_read_a_checkpoint_is_left_to_the_umask(config, model, tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        save_checkpoint(tmp_path / "x.safetensors", model, config, CLASSES, name="small")
    finally:
        os.umask(before)
    assert (tmp_path / "x.safetensors").stat().st_mode & 0o777 == mode


def test_a_loaded_model_gives_the_same_answer(saved, model):
    clip = torch.randn(1, 1, 3, 32, 32), torch.randn(1, 1, 1, 96, 64)
    with torch.no_grad():
        assert torch.equal(
            load_checkpoint(saved).model(*clip).mask_logits, model(*clip).mask_logits
        )


def test_half_precision_halves_the_file_and_keeps_three_digits(saved, config, model, tmp_path):
    path = tmp_path / "half.safetensors"
    save_checkpoint(path, model, config, CLASSES, name="half", half=True)
    assert path.stat().st_size < 0.55 * saved.stat().st_size
    state = load_checkpoint(path).model.state_dict()
    for key, value in model.state_dict().items():
        assert state[key].dtype == value.dtype
        torch.testing.assert_close(state[key], value, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("value", "half"), [(float("nan"), False), (float("inf"), False), (1e6, True)]
)
def test_what_is_not_finite_as_stored_is_not_written(config, tmp_path, value, half):
    broken = build_qsd(config, num_classes=2)
    with torch.no_grad():
        broken.heard.bias[0] = value
    with pytest.raises(WeightsError, match=r"'heard\.bias' holds values that are not finite"):
        save_checkpoint(
            tmp_path / "x.safetensors", broken, config, CLASSES, name="broken", half=half
        )
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_keeps_the_older_file_and_leaves_no_part(
    config, model, tmp_path, monkeypatch
):
    path = tmp_path / "x.safetensors"
    path.write_text("older")

    def full_disk(_state, part, **_):
        part.write_text("half of")
        raise OSError("No space left on device")

    monkeypatch.setattr("avsegcli.inference.checkpoint.save_file", full_disk)
    with pytest.raises(WeightsError, match=r"cannot write .*No space"):
        save_checkpoint(path, model, config, CLASSES, name="small")
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    assert path.read_text() == "older"


def refused(path, reason):
    with pytest.raises(WeightsError, match=reason) as caught:
        load_checkpoint(path)
    assert path.name in caught.value.message
    assert "\n" not in caught.value.message


def test_a_missing_file_is_refused(tmp_path):
    refused(tmp_path / "none.safetensors", "no weights at")


def test_a_damaged_file_is_refused(saved, tmp_path):
    for number, content in enumerate(
        [b"", b"no weights", saved.read_bytes()[:1000], saved.read_bytes()[:-1000]]
    ):
        path = tmp_path / f"{number}.safetensors"
        path.write_bytes(content)
        refused(path, "cannot read .* as safetensors")


def test_safetensors_of_another_program_are_refused(tmp_path):
    path = tmp_path / "foreign.safetensors"
    save_file({"weight": torch.zeros(2)}, path, metadata={"format": "pt"})
    refused(path, "no checkpoint of avseg")


@pytest.mark.parametrize(
    "said",
    [
        "{",
        "[]",
        '{"name": "small"}',
        '{"name": "small", "classes": ["background"], "model": {"new_part": 3}}',
    ],
)
def test_a_header_that_this_version_does_not_understand_is_refused(tmp_path, said):
    path = tmp_path / "newer.safetensors"
    save_file({"weight": torch.zeros(2)}, path, metadata={"avseg": said})
    refused(path, "another version of avseg")


def test_weights_that_do_not_fit_the_header_are_refused(saved, config, tmp_path):
    path = tmp_path / "x.safetensors"
    state = load_file(saved)
    save_file(state, path, metadata=header_of(config, (*CLASSES, "violin")))
    refused(path, "does not fit its own settings: size mismatch")
    missing = {key: value for key, value in state.items() if key != "heard.bias"}
    save_file(missing, path, metadata=header_of(config))
    refused(path, r"does not fit its own settings: Missing key.*heard\.bias")


def test_a_batch_norm_that_all_levels_share_is_read_as_one_for_each(saved, config, tmp_path):
    state = load_file(saved)
    old = {k.replace("norms.0", "norm"): v for k, v in state.items() if "norms.1" not in k}
    old["recombination.norm.bias"] = torch.arange(16.0)
    path = tmp_path / "old.safetensors"
    save_file(old, path, metadata=header_of(config))
    for norm in load_checkpoint(path).model.recombination.norms:
        assert torch.equal(norm.bias, torch.arange(16.0))


def test_the_network_of_an_earlier_version_is_refused_in_one_line(tmp_path):
    path = tmp_path / "r50.safetensors"
    old = {"attention": "deformable", "mask_channels": 8, "separable_pyramid": False}
    said = {"name": "r50", "classes": list(CLASSES), "model": old}
    save_file({"weight": torch.zeros(2)}, path, metadata={"avseg": json.dumps(said)})
    refused(path, "network of an earlier avseg")


def test_a_header_of_lite_with_old_names_is_read(saved, config, tmp_path):
    settings = dict(vars(config))
    del settings["dynamic_dim"], settings["pyramid"]
    settings |= {"mask_channels": settings.pop("mask_dim"), "separable_pyramid": True}
    settings["agreement"] = settings.pop("score_fusion")
    path = tmp_path / "old.safetensors"
    said = {"name": "small", "classes": list(CLASSES), "model": settings}
    save_file(load_file(saved), path, metadata={"avseg": json.dumps(said)})
    assert load_checkpoint(path).config == config
