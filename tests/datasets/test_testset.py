import numpy as np

from avsegcli.datasets.registry import open_clips
from avsegcli.datasets.testset import packaged_testset
from avsegcli.inference.checkpoint import load_checkpoint


def test_forty_clips_of_five_seconds_with_classes_of_the_packaged_model():
    clips = open_clips(packaged_testset())
    assert len(clips) == 40
    assert clips.notes == []
    assert set(clips.classes) <= set(load_checkpoint().classes)
    for index in (0, 39):
        clip = clips[index]
        assert len(clip.frames) == 5
        assert abs(len(clip.waveform) - 5 * 16_000) <= 1
        assert clip.visible is not None
        assert clip.heard is not None
        np.testing.assert_array_equal(clip.labels[clip.labels > 0], clip.visible[clip.labels > 0])


def test_it_is_small():
    files = [path for path in packaged_testset().rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 5 * 2**20
    assert (packaged_testset() / "README.md").is_file()
