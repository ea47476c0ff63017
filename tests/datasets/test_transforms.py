import numpy as np
import pytest

from avsegcli.audio.log_mel import log_mel_example
from avsegcli.datasets.transforms import clip_log_mel

NOISE = np.random.default_rng(0).normal(0, 0.1, 10 * 16_000).astype(np.float32)


@pytest.mark.parametrize(("convention", "hop"), [("aligned", 16_000), ("avsbench", 15_360)])
def test_examples_begin_a_second_or_096_seconds_apart(convention, hop):
    examples = clip_log_mel(NOISE, 10, convention)
    for t in range(10):
        np.testing.assert_array_equal(examples[t], log_mel_example(NOISE, t * hop))


def test_the_last_example_is_repeated_where_the_sound_ends_early():
    examples = clip_log_mel(NOISE[:32_000], 5)
    assert examples.shape == (5, 96, 64)
    np.testing.assert_array_equal(examples[2:], [examples[1]] * 3)


def test_a_sound_that_ends_a_little_early_keeps_its_last_second_when_aligned():
    short = NOISE[: 5 * 16_000 - 1_500]
    aligned, avsbench = clip_log_mel(short, 5), clip_log_mel(short[:-2_000], 5, "avsbench")
    np.testing.assert_array_equal(aligned[4], log_mel_example(short, 64_000))
    np.testing.assert_array_equal(avsbench[4], avsbench[3])


@pytest.mark.parametrize("samples", [0, 100, 8_000])
def test_next_to_no_sound_is_one_example_filled_up_and_repeated(samples):
    examples = clip_log_mel(NOISE[:samples], 3)
    assert examples.shape == (3, 96, 64)
    np.testing.assert_array_equal(examples, [log_mel_example(NOISE[:samples], 0)] * 3)
