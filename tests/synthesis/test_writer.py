import errno
import json
import os
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile

from avsegcli.datasets.avsbench import AvsBench
from avsegcli.errors import AvsegError, DataError
from avsegcli.synthesis import writer
from avsegcli.synthesis.composer import Composer
from avsegcli.synthesis.parts import Parts
from avsegcli.synthesis.writer import write_avss

OPTIONS = {"task": "semantic", "clips": 4, "seed": 2, "num_frames": 2, "size": 64}


def contents(folder):
    return {
        path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


@pytest.fixture(scope="module")
def written(toy_parts, tmp_path_factory):
    out = tmp_path_factory.mktemp("sets") / "clips"
    assert write_avss(toy_parts, out, splits=["train", "test"], **OPTIONS) == 8
    return out


def test_the_loader_reads_back_what_was_composed(toy_parts, written):
    clips = AvsBench(written, "test")
    parts = Parts(toy_parts, "test")
    composer = Composer(parts, num_frames=2, size=64, aspect="mixed")
    assert clips.classes == parts.classes
    assert len(clips) == 4
    for index in range(4):
        read, composed = clips[index], composer.compose(2, index).clip
        assert read.name == composed.name
        assert (read.labels == composed.labels).all()
        assert (read.visible == composed.visible).all()
        assert (read.heard == composed.heard).all()
        assert np.abs(read.waveform - composed.waveform).max() < 1e-4
        assert np.abs(read.frames.astype(int) - composed.frames).mean() < 6


def test_the_layout_is_that_of_avsbench_semantic(written):
    rows = (written / "metadata.csv").read_text().splitlines()
    assert rows[0] == "uid,split,label"
    assert rows[1] == "train_2_000000,train,v1m"
    assert len(rows) == 9
    indices = json.loads((written / "label2idx.json").read_text())
    assert indices == {"background": 1, "disc": 2, "square": 3, "star": 4, "triangle": 5}
    clip = written / "v1m" / "train_2_000000"
    assert [path.name for path in sorted((clip / "frames").iterdir())] == ["0.jpg", "1.jpg"]
    assert [path.name for path in sorted((clip / "labels_rgb").iterdir())] == ["0.png", "1.png"]
    assert soundfile.info(clip / "audio.wav").samplerate == 16_000
    record = json.loads((clip / "composition.json").read_text())
    assert (record["seed"], record["index"], len(record["heard"])) == (2, 0, 2)


def test_pixels_that_are_not_scored_are_kept_beside_the_labels(written):
    with_ignore = [path.parent for path in written.rglob("ignore")]
    assert with_ignore
    for folder in written.glob("v1m/*"):
        split, _, index = folder.name.split("_")
        ignored = AvsBench(written, split)[int(index)].labels == 255
        assert ignored.any() == (folder in with_ignore)


def test_the_bytes_do_not_depend_on_the_number_of_processes(toy_parts, written, tmp_path):
    out = tmp_path / "clips"
    write_avss(toy_parts, out, splits=["train", "test"], jobs=2, **OPTIONS)
    assert contents(out) == contents(written)


def test_an_older_data_set_is_replaced_only_by_force(toy_parts, tmp_path):
    out = tmp_path / "clips"
    few = {**OPTIONS, "clips": 1}
    write_avss(toy_parts, out, **few)
    with pytest.raises(DataError, match="holds a data set already"):
        write_avss(toy_parts, out, **few)
    write_avss(toy_parts, out, force=True, **{**few, "seed": 9})
    assert [path.name for path in (out / "v1m").iterdir()] == ["train_9_000000"]


def test_other_files_are_never_replaced(toy_parts, tmp_path):
    (tmp_path / "holiday.jpg").write_bytes(b"")
    with pytest.raises(DataError, match="holds other files"):
        write_avss(toy_parts, tmp_path, force=True, **OPTIONS)
    assert (tmp_path / "holiday.jpg").exists()


@pytest.mark.parametrize("jobs", [1, 2])
def test_what_is_interrupted_leaves_nothing_behind(toy_parts, tmp_path, jobs):
    def interrupt(done, total):
        assert total == 4
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_avss(toy_parts, tmp_path / "clips", on_progress=interrupt, jobs=jobs, **OPTIONS)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("file", ["0.jpg", "audio.wav", "metadata.csv"])
def test_a_full_disk_is_one_line_and_leaves_nothing_behind(toy_parts, tmp_path, monkeypatch, file):
    real = Path.write_bytes

    def write(path, content):
        if path.name == file:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(path, content)

    monkeypatch.setattr(Path, "write_bytes", write)
    with pytest.raises(DataError, match=f"cannot write .*{file}: no space left on device"):
        write_avss(toy_parts, tmp_path / "clips", **OPTIONS)
    assert not list(tmp_path.iterdir())


def test_a_process_that_is_killed_is_one_line_and_leaves_nothing(toy_parts, tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "_start_worker", partial(os._exit, 1))
    with pytest.raises(AvsegError, match="was killed") as caught:
        write_avss(toy_parts, tmp_path / "clips", jobs=2, **OPTIONS)
    assert "--jobs" in caught.value.hint
    assert not list(tmp_path.iterdir())


def test_all_means_every_split_that_has_sounds(toy_parts, tmp_path):
    options = {**OPTIONS, "clips": 1}
    assert write_avss(toy_parts, tmp_path / "clips", splits=["all"], **options) == 3
    splits = {path.name.split("_")[0] for path in (tmp_path / "clips" / "v1m").iterdir()}
    assert splits == {"train", "val", "test"}


def test_a_split_that_the_parts_lack_leaves_nothing_behind(toy_parts, tmp_path):
    with pytest.raises(DataError, match="split 'dev'"):
        write_avss(toy_parts, tmp_path / "clips", splits=["train", "dev"], **OPTIONS)
    assert not list(tmp_path.iterdir())
