from dataclasses import replace

import numpy as np
import pytest
import torch

from avsegcli.cli.main import main
from avsegcli.config import DataConfig
from avsegcli.datasets.clip import Clip
from avsegcli.errors import DataError
from avsegcli.synthesis.parts import Parts
from avsegcli.training.data import ComposedData, StoredData, open_training

CONFIG = DataConfig(size=64, num_frames=2, batch_size=2, workers=0, clips_per_epoch=10)


class Clips:
    """Clips that are told apart by the grey of their frames."""

    classes = ("background", "thing")

    def __len__(self):
        return 7

    def __getitem__(self, index):
        return Clip(
            name=str(index),
            frames=np.full((1, 32, 32, 3), 10 * index, np.uint8),
            waveform=np.zeros(16_000, np.float32),
            labels=np.zeros((1, 32, 32), np.uint8),
            annotated=np.ones(1, bool),
            visible=None,
            heard=None,
        )


def greys(batches):
    return [tuple(batch.frames[:, 0, 0, 0, 0].tolist()) for batch in batches]


@pytest.fixture(scope="module")
def parts(toy_parts):
    return Parts(toy_parts, "train")


def test_stored_clips_come_once_an_epoch_in_a_new_order_each():
    data = StoredData(Clips(), CONFIG, seed=0)
    assert data.batches_per_epoch == 3
    first, again, second = (greys(data.batches(epoch)) for epoch in (0, 0, 1))
    assert len({grey for batch in first for grey in batch}) == 6
    assert first == again
    assert first != second
    assert greys(StoredData(Clips(), CONFIG, seed=1).batches(0)) != first


def test_an_epoch_can_be_begun_in_its_middle(parts):
    for data in (StoredData(Clips(), CONFIG, seed=0), ComposedData(parts, CONFIG, seed=0)):
        whole, rest = list(data.batches(1)), list(data.batches(1, skip=2))
        assert len(rest) == len(whole) - 2
        for expected, batch in zip(whole[2:], rest, strict=True):
            assert torch.equal(expected.frames, batch.frames)
            assert torch.equal(expected.log_mel, batch.log_mel)
        assert list(data.batches(1, skip=len(whole))) == []


def test_stored_clips_of_like_shapes_come_together():
    class Mixed(Clips):
        def __len__(self):
            return 16

        def __getitem__(self, index):
            clip = super().__getitem__(index)
            height = (32, 64)[index % 2]
            shape = (1, height, 64)
            frames = np.full((*shape, 3), 10 * index, np.uint8)
            return clip._replace(frames=frames, labels=np.zeros(shape, np.uint8))

    batches = list(StoredData(Mixed(), CONFIG, seed=0).batches(0))
    assert len({grey for batch in greys(batches) for grey in batch}) == 16
    # Of two times eight clips at most one batch each has clips of both shapes.
    assert sum(batch.valid is not None for batch in batches) <= 2


def test_beginning_an_epoch_leaves_the_global_random_numbers_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    list(StoredData(Clips(), CONFIG, seed=0).batches(0))
    assert torch.equal(torch.get_rng_state(), before)


def test_composed_batches_have_one_shape_and_are_new_in_each_epoch(parts):
    data = ComposedData(parts, CONFIG, seed=3)
    assert (data.batches_per_epoch, data.classes) == (5, parts.classes)
    epochs = [list(data.batches(epoch)) for epoch in (0, 1)]
    clips = [frames for batches in epochs for batch in batches for frames in batch.frames]
    assert len(clips) == 20
    assert not any(torch.equal(clips[0], other) for other in clips[1:])
    assert max(max(frames.shape[-2:]) for frames in clips) == 64
    for batch in epochs[0]:
        if batch.valid is not None:  # padded to multiples of 32, but all in the same way
            assert (batch.valid == batch.valid[:1]).all()


def test_more_clips_in_which_several_things_sound_can_be_asked_for(parts):
    heard = {}
    for share in (0.0, 1.0):
        config = replace(CONFIG, clips_per_epoch=60, scene=0.0, num_sounding=(1 - share, share))
        batches = ComposedData(parts, config, seed=0).batches(0)
        heard[share] = torch.cat([batch.heard.amax(1).sum(1) for batch in batches])
    assert (heard[0.0] >= 2).float().mean() < 0.2  # but for what is heard from off screen
    assert (heard[1.0] >= 2).float().mean() > 0.6


def test_workers_compose_the_same_clips(parts):
    alone = ComposedData(parts, CONFIG, seed=0)
    config = DataConfig(size=64, num_frames=2, batch_size=2, workers=1, clips_per_epoch=10)
    helped = ComposedData(parts, config, seed=0)
    for first, second in zip(alone.batches(0, skip=3), helped.batches(0, skip=3), strict=True):
        assert torch.equal(first.frames, second.frames)
        assert torch.equal(first.log_mel, second.log_mel)


def test_a_parts_folder_trains_on_train_and_validates_on_val(toy_parts):
    train, val = open_training(toy_parts, CONFIG, seed=0)
    assert isinstance(train, ComposedData)
    assert train.parts.split == "train"
    assert val[0].name.startswith("val_")
    assert val.classes == train.classes
    assert max(val[0].frames.shape[1:3]) == 64


def test_an_epoch_of_more_clips_is_validated_on_more(toy_parts):
    lengths = []
    for clips_per_epoch in (10, 400, 4000, 9000):
        config = DataConfig(clips_per_epoch=clips_per_epoch)
        lengths.append(len(open_training(toy_parts, config, seed=0)[1]))
    assert lengths == [4, 10, 100, 100]


def test_a_data_set_on_disk_is_recognised(toy_parts, tmp_path):
    out = tmp_path / "clips"
    options = ["--split", "all", "--clips", "2", "--frames", "2", "--size", "64", "--jobs", "1"]
    assert main(["compose", str(toy_parts), "-o", str(out), *options]) == 0
    train, val = open_training(out, CONFIG, seed=0)
    assert isinstance(train, StoredData)
    assert (train.batches_per_epoch, len(val)) == (1, 2)
    assert next(train.batches(0)).frames.shape[:3] == (2, 2, 3)


@pytest.mark.parametrize("name", ["missing", "."])
def test_what_is_no_data_is_refused(tmp_path, name):
    with pytest.raises(DataError) as caught:
        open_training(tmp_path / name, CONFIG, seed=0)
    assert str(tmp_path / name) in caught.value.message
    assert caught.value.hint


def test_fewer_clips_than_a_batch_are_refused(parts):
    config = DataConfig(batch_size=16, clips_per_epoch=10)
    with pytest.raises(DataError, match="7 clips an epoch are fewer than one batch of 16"):
        StoredData(Clips(), config, seed=0)
    with pytest.raises(DataError, match="10 clips an epoch are fewer than one batch of 16"):
        ComposedData(parts, config, seed=0)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_clip_that_cannot_be_read_is_named_in_one_line_from_any_worker(workers):
    class Damaged(Clips):
        def __getitem__(self, index):
            raise DataError("frames/0.jpg is damaged", "get it again")

    config = DataConfig(size=64, batch_size=2, workers=workers)
    with pytest.raises(DataError) as caught:
        next(StoredData(Damaged(), config, seed=0).batches(0))
    assert (caught.value.message, caught.value.hint) == ("frames/0.jpg is damaged", "get it again")


def test_videos_with_masks_are_no_training_data(tmp_path):
    (tmp_path / "masks" / "a").mkdir(parents=True)
    for name in ("a.mp4", "masks/a/0.png"):
        (tmp_path / name).touch()
    (tmp_path / "classes.json").write_text('{"background": 0, "thing": 1}')
    with pytest.raises(DataError, match="no clips of its own to validate on"):
        open_training(tmp_path, CONFIG, seed=0)
