import numpy as np
import pytest

from avsegcli.datasets.clip import Clip
from avsegcli.datasets.joint import JointDataset
from avsegcli.datasets.registry import open_dataset, open_joint
from avsegcli.errors import ConfigError, DataError
from avsegcli.synthesis.fake_avsbench import write_fake


class Named:
    """Clips that are nothing but their names."""

    def __init__(self, names, classes=("background", "object"), notes=()):
        self.names, self.classes, self.notes = names, classes, notes

    def __len__(self):
        return len(self.names)

    def __getitem__(self, index):
        nothing = np.zeros((1, 2, 2), np.uint8)
        known = np.ones(1, bool)
        return Clip(self.names[index], nothing, np.zeros(1), nothing, known, None, None)


def names(dataset):
    return [dataset[index].name for index in range(len(dataset))]


def test_parts_come_one_after_the_other_each_as_often_as_asked_for():
    joint = JointDataset({"a": Named("xyz", notes=["first"]), "b": Named("uv")}, repeats=(1, 3))
    assert names(joint) == [*"xyz", *"uv" * 3]
    assert names(JointDataset(joint.parts)) == [*"xyzuv"]
    assert joint.notes == ["first"]


def test_parts_of_different_classes_are_refused():
    with pytest.raises(DataError, match="a and b have different classes"):
        JointDataset({"a": Named("x"), "b": Named("y", ("background", "dog"))})


@pytest.mark.parametrize("repeats", [(1,), (1, 2, 3)])
def test_there_is_a_number_of_repeats_for_each_part(repeats):
    with pytest.raises(ConfigError, match="for the 2 parts of a\\+b"):
        JointDataset({"a": Named("x"), "b": Named("y")}, repeats)


def test_s4_and_ms3_are_opened_together_but_scored_apart(tmp_path):
    for subset, clips in (("s4", 2), ("ms3", 1)):
        write_fake(tmp_path, subset, clips=clips)
    joint = open_joint("s4+ms3", "train", tmp_path, repeats=(1, 7))
    assert [*joint.parts] == ["s4", "ms3"]
    assert len(joint) == 2 + 7
    assert names(joint)[2:] == [joint.parts["ms3"][0].name] * 7
    with pytest.raises(ConfigError, match="can be trained on, not scored") as caught:
        open_dataset("s4+ms3", "test", tmp_path)
    assert caught.value.hint == "score s4 and ms3 separately"
