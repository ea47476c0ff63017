import pytest

from avsegcli.config import PRESETS, load_config
from avsegcli.datasets.avsbench import AvsBench
from avsegcli.synthesis.fake_avsbench import write_fake
from avsegcli.synthesis.writer import write_avss
from avsegcli.training.ineffective_settings import ineffective_settings

ASKED = [
    "data.num_frames=3",
    "data.scene=0.1",
    "data.task=multi",
    "data.clips_per_epoch=7",
    "data.num_sounding=[1.0]",
    "loss.audio=0.5",
    "loss.tokens=0",
    "loss.visible=0",
]


@pytest.fixture(scope="module")
def avsbench(tmp_path_factory):
    root = tmp_path_factory.mktemp("avsbench")
    write_fake(root, "ms3", clips=1, splits=("train",))
    return AvsBench(root, "train", subset="ms3")


def test_what_has_no_effect_on_stored_clips_is_said(avsbench):
    assert ineffective_settings(load_config(overrides=ASKED[1:2]), avsbench) == [
        "data.scene has no effect on clips that are on disk"
    ]
    assert ineffective_settings(load_config(overrides=ASKED), avsbench) == [
        "data.num_frames, data.clips_per_epoch, data.task, data.scene, data.num_sounding "
        "have no effect on clips that are on disk",
        "loss.audio, loss.tokens have no effect where clips do not say what is heard",
        "loss.visible has no effect where clips do not say what is visible",
    ]


@pytest.mark.parametrize("preset", PRESETS)
def test_what_a_preset_says_was_not_asked_for(avsbench, preset):
    assert ineffective_settings(load_config(preset), avsbench) == []


def test_composed_clips_on_disk_say_what_is_heard_and_visible(toy_parts, tmp_path):
    write_avss(toy_parts, tmp_path / "set", task="semantic", clips=1, seed=0, size=64)
    clips = AvsBench(tmp_path / "set", "train")
    assert ineffective_settings(load_config(overrides=ASKED[5:]), clips) == []
