import pytest

from avsegcli.config import PRESETS, Config, config_from_dict, load_config
from avsegcli.errors import ConfigError


@pytest.mark.parametrize("preset", PRESETS)
def test_each_preset_loads(preset):
    assert isinstance(load_config(preset), Config)


def test_a_config_survives_the_way_through_plain_values():
    config = load_config("lite", overrides=["optim.milestones=[1, 2]"])
    assert config_from_dict(config.to_dict()) == config


def test_later_settings_win(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text("[optim]\nlr = 1e-3\nepochs = 3\n")
    optim = load_config("lite", file, ["optim.lr=2e-3", "model.attention=plain"]).optim
    assert (optim.lr, optim.epochs) == (2e-3, 3)


def test_all_mistakes_are_named_at_once_with_a_suggestion():
    with pytest.raises(ConfigError) as caught:
        load_config("lite", overrides=["model.hiden_dim=3", 'optim.lr="fast"', "optim.epochs=1.5"])
    assert "unknown key 'model.hiden_dim', did you mean 'model.hidden_dim'?" in caught.value.message
    assert "'optim.lr' should be of type float" in caught.value.message
    assert "'optim.epochs' should be of type int" in caught.value.message
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("override", ["optim.lr", "=3", "model=3"])
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
