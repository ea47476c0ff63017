import pickle

import numpy as np
import pytest
import torch

from avsegcli.datasets.avsbench import AvsBench
from avsegcli.datasets.clip import Clip
from avsegcli.datasets.log_mel_file import read_log_mel
from avsegcli.datasets.transforms import clip_log_mel, log_mel_of
from avsegcli.errors import DataError
from avsegcli.synthesis.fake_avsbench import write_fake

EXAMPLES = torch.rand(5, 1, 96, 64)


class Wicked:
    def __reduce__(self):
        return print, ("code was run",)


@pytest.mark.parametrize("write", [pickle.dump, torch.save])
def test_pickled_and_saved_tensors_are_read(tmp_path, write):
    with (tmp_path / "a.pkl").open("wb") as file:
        write(EXAMPLES, file)
    np.testing.assert_array_equal(read_log_mel(tmp_path / "a.pkl"), EXAMPLES[:, 0])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no pickle",
        pickle.dumps(Wicked()),
        pickle.dumps([1, 2]),
        pickle.dumps(EXAMPLES[..., :5]),
        pickle.dumps(EXAMPLES)[:1000],
    ],
)
def test_anything_else_is_refused_and_no_code_is_run(tmp_path, content, capsys):
    (tmp_path / "a.pkl").write_bytes(content)
    with pytest.raises(DataError, match="is no file of log-mel examples") as caught:
        read_log_mel(tmp_path / "a.pkl")
    assert "\n" not in caught.value.message
    assert capsys.readouterr().out == ""


def test_stored_examples_are_those_of_the_avsbench_convention(tmp_path):
    write_fake(tmp_path, "ms3", clips=1, splits=["test"])
    clip = AvsBench(tmp_path, subset="ms3")[0]
    stored = log_mel_of(clip, "stored")
    np.testing.assert_array_equal(stored, clip_log_mel(clip.waveform, 5, "avsbench"))
    assert not np.allclose(stored, log_mel_of(clip, "aligned"))
    clip.log_mel_file.write_bytes(pickle.dumps(EXAMPLES[:3]))
    np.testing.assert_array_equal(
        log_mel_of(clip, "stored")[2:], EXAMPLES[2:3, 0].expand(3, -1, -1)
    )


def test_a_clip_without_stored_examples_says_what_to_do():
    frames = np.zeros((2, 4, 4, 3), np.uint8)
    clip = Clip(
        "one", frames, np.zeros(9, np.float32), frames[..., 0], np.ones(2, bool), None, None
    )
    with pytest.raises(DataError, match="clip 'one' has no file of log-mel examples") as caught:
        log_mel_of(clip, "stored")
    assert "--convention avsbench" in caught.value.hint
