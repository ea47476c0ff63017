import csv
import io
import json
import math

import numpy as np
import pytest

from avsegcli.datasets.clip import Clip
from avsegcli.evaluation.metrics.registry import all_numbers
from avsegcli.evaluation.noise_robustness import (
    NoisyClips,
    curve,
    noise_sweep,
    sweep_csv,
    sweep_json,
    sweep_table,
)
from avsegcli.evaluation.noise_sources import open_noise

CLASSES = ("background", "cat")
RATIOS = (10.0, math.inf, -10.0)


class Clips(list):
    """Clips in memory."""

    classes = CLASSES


class Deafened:
    """Paints the cat where the sound has few high tones, as noise has."""

    classes = CLASSES
    num_frames = 5

    def predict(self, frames, log_mel):
        clear = log_mel[:, :, 40:].mean(axis=(1, 2)) < -1
        cat = np.stack(frames)[..., 0] / np.float32(255) * clear[:, None, None]
        return np.stack([1 - cat, cat], axis=1)


def clip(name, amplitude):
    """Two frames with a cat in the left half, which hums at an amplitude."""
    labels = np.zeros((2, 16, 16), np.uint8)
    labels[:, :, :8] = amplitude > 0
    frames = np.zeros((2, 16, 16, 3), np.uint8)
    frames[:, :, :8] = 255
    hum = amplitude * np.sin(2 * np.pi * 300 * np.arange(32_000) / 16_000)
    ones = np.ones(2, bool)
    return Clip(name, frames, hum.astype(np.float32), labels, ones, None, None)


CLIPS = Clips([clip("a", 0.1), clip("b", 0.3), clip("silent", 0)])


@pytest.fixture(scope="module")
def conditions():
    models = {"one": Deafened(), "two": Deafened()}
    return noise_sweep(models, CLIPS, open_noise("white"), RATIOS, seeds=2)


def test_there_is_a_condition_for_each_model_ratio_and_seed_but_one_without_noise(conditions):
    found = [(c.model, c.snr_db, c.seed) for c in conditions]
    one = [("one", 10, 0), ("one", 10, 1), ("one", math.inf, 0), ("one", -10, 0), ("one", -10, 1)]
    assert found == one + [("two", *rest) for _, *rest in one]


def test_the_ratio_is_measured_back_over_the_clips_that_have_a_signal(conditions):
    for condition in conditions:
        assert condition.measured_db == pytest.approx(condition.snr_db, abs=0.05)
        assert condition.off_db < 0.05
        assert condition.clips_without_signal == 1


def test_scores_fall_as_noise_rises_and_every_model_hears_the_same(conditions):
    clean, mild, loud = curve(conditions, "one", "summary.j_object")
    assert (clean.snr_db, mild.snr_db, loud.snr_db) == (math.inf, 10, -10)
    assert clean.mean == 1
    assert loud.mean == 0
    for metric in all_numbers():
        assert curve(conditions, "one", metric) == curve(conditions, "two", metric)


def test_a_mix_depends_on_seed_clip_and_ratio_alone():
    def heard(place, ratio, seed, clips=CLIPS):
        return NoisyClips(clips, open_noise("pink"), ratio, seed)[place].waveform

    same = heard(0, 0.0, 3)
    np.testing.assert_array_equal(same, heard(1, 0.0, 3, Clips(CLIPS[1::-1])))
    assert (same != heard(0, 0.0, 4)).any()
    difference = heard(0, 0.0, 3) - CLIPS[0].waveform, heard(0, 20.0, 3) - CLIPS[0].waveform
    np.testing.assert_allclose(difference[0], 10 * difference[1], atol=1e-5)
    np.testing.assert_array_equal(heard(0, math.inf, 3), CLIPS[0].waveform)


@pytest.mark.parametrize("noise", ["pink", "music"])
@pytest.mark.parametrize("num_samples", [0, 1, 319])
def test_a_clip_without_sound_hears_the_noise_alone(noise, num_samples):
    short = CLIPS[0]._replace(waveform=np.full(num_samples, 0.1, np.float32))
    silent = CLIPS[0]._replace(waveform=np.zeros(32_000, np.float32))
    heard = [NoisyClips(Clips([one]), open_noise(noise), 0.0, 0)[0] for one in (short, silent)]
    assert heard[0].waveform.any()
    np.testing.assert_array_equal(heard[0].waveform, heard[1].waveform)


def test_the_table_has_a_line_for_each_model_and_ratio(conditions):
    table = sweep_table(conditions, ["avsbench.j"])
    assert table.row_count == 6
    assert [column.header for column in table.columns] == [
        "model",
        "SNR, dB",
        "measured",
        "avsbench J",
        "area, silent frames",
    ]


def test_listening_is_scored_and_shown_if_asked_for():
    conditions = noise_sweep(
        {"one": Deafened()}, CLIPS, open_noise("white"), [math.inf], listen=True
    )
    assert conditions[0].number("listening.mute") == 1  # it does not listen, but shuns noise
    assert sweep_table(conditions, ["avsbench.j"]).columns[-1].header == "solo"


def test_csv_and_json_hold_every_metric_of_every_condition(conditions):
    rows = list(csv.DictReader(io.StringIO(sweep_csv(conditions))))
    assert len(rows) == len(conditions)
    assert set(all_numbers()) <= set(rows[0])
    assert float(rows[2]["snr_db"]) == math.inf
    numbers = json.loads(sweep_json(conditions, data=None))
    assert numbers["conditions"][2]["snr_db"] == "inf"
    assert numbers["conditions"][0]["scores"]["avsbench"]["j"] == float(rows[0]["avsbench.j"])


def test_progress_counts_all_clips_of_all_conditions():
    told = []
    noise_sweep(
        {"one": Deafened()},
        CLIPS,
        open_noise("white"),
        [0, 5],
        progress=lambda *numbers: told.append(numbers),
    )
    assert told == [(n, 6) for n in range(1, 7)]
