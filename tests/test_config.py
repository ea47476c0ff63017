import json
import subprocess
import sys
from typing import get_args

import pytest

from avsegcli.config import DATASETS, PRESETS, TASKS, Config, config_from_dict, load_config
from avsegcli.datasets.avsbench_files import LAYOUTS
from avsegcli.errors import ConfigError
from avsegcli.synthesis.sampler import Task


@pytest.mark.parametrize("dataset", [None, *DATASETS])
@pytest.mark.parametrize("preset", PRESETS)
def test_each_preset_loads_for_each_data_set(preset, dataset):
    assert isinstance(load_config(preset, dataset=dataset), Config)


def test_the_data_sets_are_the_subsets_of_avsbench():
    assert set(DATASETS) == set(LAYOUTS)


def test_the_tasks_are_those_that_clips_are_composed_for():
    assert get_args(Task) == TASKS


@pytest.mark.parametrize("preset", ["r50", "swin-t", "pvt-b5"])
def test_the_papers_recipe_is_longer_for_avs_semantic(preset):
    for dataset, epochs, milestones in (
        ("s4", 13, (8, 10)),
        ("ms3", 13, (8, 10)),
        ("avss", 16, (10, 13)),
    ):
        optim = load_config(preset, dataset=dataset).optim
        assert (optim.epochs, optim.milestones, optim.schedule) == (epochs, milestones, "step")
        assert (optim.lr, optim.backbone_lr_factor, optim.weight_decay) == (1e-4, 0.5, 5e-4)
        assert optim.clip_norm == 0.1
    assert load_config(preset, dataset="avss").loss.auxiliary


def test_tables_of_a_data_set_win_in_their_file_and_lose_to_later_ones(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text("[avss.optim]\nepochs = 3\n[optim]\nepochs = 4\nlr = 1e-3\n")
    optim = load_config("r50", file, dataset="avss").optim
    assert (optim.epochs, optim.milestones, optim.lr) == (3, (10, 13), 1e-3)
    assert load_config("r50", file, dataset="ms3").optim.epochs == 4
    assert load_config("r50", file, ["optim.epochs=5"], "avss").optim.epochs == 5


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        ("data.batch_size=0", "'data.batch_size' should be at least 1"),
        ("optim.accumulate=0", "'optim.accumulate' should be at least 1"),
        ("data.workers=-2", "'data.workers' should be at least 0, or -1"),
        ("optim.lr=-1.0", "'optim.lr' should be above 0"),
        ("optim.clip_norm=0.0", "'optim.clip_norm' should be above 0"),
        *(
            (f"optim.seed={seed}", f"'optim.seed' should be at least 0 and below {2**63}")
            for seed in (-1, 2**63)
        ),
        ("data.size=1", "'data.size' should be at least 2"),
        ("optim.ema_decay=2.0", "'optim.ema_decay' should be at least 0 and below 1"),
        ("model.dropout=2.0", "'model.dropout' should be at least 0 and below 1"),
        ("data.scene=1.5", "'data.scene' should be between 0 and 1"),
        *(
            (
                f"data.num_sounding={shares}",
                "'data.num_sounding' should be shares, not all of them 0",
            )
            for shares in ("[0, 0]", "[]", "[2, -1]", "[inf, 1]", "[nan, 1]", "[1e308, 1e308]")
        ),
        ("model.class_threshold=0.0", "'model.class_threshold' should be above 0 and below 1"),
        ("model.class_threshold=1.0", "'model.class_threshold' should be above 0 and below 1"),
        ("optim.frozen_stages=-1", "'optim.frozen_stages' should be at least 0"),
        ("optim.backbone_lr_factor=-1.0", "'optim.backbone_lr_factor' should be at least 0"),
        ("optim.audio_lr_factor=-1.0", "'optim.audio_lr_factor' should be at least 0"),
        ("optim.weight_decay=-1.0", "'optim.weight_decay' should be at least 0"),
        ("loss.dice=-5.0", "'loss.dice' should be at least 0"),
        ("loss.visible=nan", "'loss.visible' should be at least 0"),
        ("data.task=x", "'data.task' should be one of single, multi, semantic, not 'x'"),
        ("model.codebook_warmup=[9]", "'model.codebook_warmup' should have 2 values"),
        *(
            (
                f"model.codebook_warmup={steps}",
                "'model.codebook_warmup' should be two steps, the earlier first, or 0, 0",
            )
            for steps in ("[9, 1]", "[9, 9]", "[-1, 9]")
        ),
        ("optim.precision=fp8", "'optim.precision' should be one of auto, fp32, bf16, not 'fp8'"),
        ("optim.schedule=line", "'optim.schedule' should be one of step, cosine, not 'line'"),
        ("optim.milestones=3", "'optim.milestones' should be a list of numbers, not 3"),
        ("optim.milestones=[8.5]", "'optim.milestones' should be a list of numbers, not [8.5]"),
        ("model.score_fusion=[1, 0]", "'model.score_fusion' should have 5 values"),
        ("model.decoder_layers=0", "'model.decoder_layers' should be at least 1"),
        ("model.num_heads=3", "'model.hidden_dim' should be a multiple of 'model.num_heads'"),
        (
            "model.hidden_dim=136",
            "'model.hidden_dim' should be a multiple of 4, and of 32 from 128 on",
        ),
    ],
)
def test_values_that_make_no_sense_are_refused(override, problem):
    with pytest.raises(ConfigError) as caught:
        load_config("lite", overrides=[override])
    assert caught.value.message == problem


def test_a_config_survives_the_way_through_plain_values():
    config = load_config("lite", overrides=["optim.milestones=[1, 2]"])
    assert config_from_dict(config.to_dict()) == config


@pytest.mark.parametrize("preset", PRESETS)
def test_a_config_survives_the_way_through_toml(preset, tmp_path):
    config = load_config(preset, overrides=["optim.lr=1e-5"], dataset="avss")
    (tmp_path / "all.toml").write_text(config.to_toml())
    assert load_config("lite", tmp_path / "all.toml", dataset="s4") == config


def test_later_settings_win(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text("[optim]\nlr = 1e-3\nepochs = 3\n")
    optim = load_config("lite", file, ["optim.lr=2e-3", "model.attention=plain"]).optim
    assert (optim.lr, optim.epochs) == (2e-3, 3)


def test_settings_are_utf_8_whatever_the_locale(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_bytes("# größer\n[optim]\nepochs = 3\n".encode())
    strict = ["-X", "warn_default_encoding", "-W", "error::EncodingWarning"]
    words = ["train", "--data", "s4", "--show-settings", "--config", str(file)]
    command = [sys.executable, *strict, "-m", "avsegcli", *words]
    done = subprocess.run(command, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"epochs = 3" in done.stdout


def test_all_mistakes_are_named_at_once_with_a_suggestion():
    with pytest.raises(ConfigError) as caught:
        load_config("lite", overrides=["model.hiden_dim=3", 'optim.lr="fast"', "optim.epochs=1.5"])
    assert "unknown key 'model.hiden_dim', did you mean 'model.hidden_dim'?" in caught.value.message
    assert "'optim.lr' should be of type float" in caught.value.message
    assert "'optim.epochs' should be of type int" in caught.value.message
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("override", ["optim.lr", "=3", "model=3", "optim lr=1", "optim..lr=1"])
def test_what_is_no_setting_is_refused(override):
    with pytest.raises(ConfigError):
        load_config("lite", overrides=[override])


def test_an_unknown_preset_and_a_broken_file_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="unknown preset"):
        load_config("r51")
    broken = tmp_path / "broken.toml"
    broken.write_text("lr = = 3")
    with pytest.raises(ConfigError, match=r"broken\.toml"):
        load_config("lite", broken)


@pytest.mark.parametrize("dataset", [None, "s4", "avss"])
def test_tables_of_a_data_set_that_are_none_are_refused(tmp_path, dataset):
    (tmp_path / "mine.toml").write_text("avss = 3")
    with pytest.raises(ConfigError, match="'avss' holds tables of settings, not 3"):
        load_config("lite", tmp_path / "mine.toml", dataset=dataset)


def test_settings_are_read_by_the_names_that_they_had_before(tmp_path):
    old = tmp_path / "old.toml"
    old.write_text("[model]\nmask_channels = 24\nseparable_pyramid = true\n")
    model = load_config("r50", old).model
    assert (model.mask_dim, model.dynamic_dim, model.pyramid) == (24, 8, "light")
    assert load_config("lite", old, ["model.mask_dim=16"]).model.mask_dim == 16
    assert load_config("lite", overrides=["model.mask_channels=16"]).model.mask_dim == 16
    words = ["loss.heard=0.5", "model.agreement=[1.0, 0.5, 0.0, 0.0]", "optim.checkpointing=true"]
    config = load_config("r50", overrides=words)
    assert (config.loss.audio, config.model.score_fusion) == (0.5, (1, 0.5, 0, 0))
    assert config.optim.activation_checkpointing
    saved = {"model": {"agreement": [1, 0, 0, 0.3]}, "loss": {"heard": 0.25}, "classes": ["cat"]}
    (tmp_path / "config.json").write_text(json.dumps(saved))
    config = load_config("lite", tmp_path / "config.json")
    assert (config.loss.audio, config.model.score_fusion) == (0.25, (1, 0, 0, 0.3))


def test_the_present_name_of_a_setting_wins_over_its_former_one():
    assert config_from_dict({"loss": {"heard": 0.5, "audio": 2.0}}).loss.audio == 2


def test_the_papers_presets_leave_alone_what_r2_vos_and_avsbench_leave_alone():
    for preset, stages in (("r50", 1), ("swin-t", 0), ("pvt-b5", 0)):
        optim = load_config(preset).optim
        assert optim.frozen_stages == stages
        assert (optim.frozen_norm, optim.frozen_affine) == (True, True)
        assert optim.audio_lr_factor == 0
    assert load_config("lite").optim.backbone_lr_factor == 0
