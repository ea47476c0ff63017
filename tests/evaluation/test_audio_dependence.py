import numpy as np
import pytest

from avsegcli.datasets.clip import Clip
from avsegcli.evaluation.evaluator import evaluate

CLASSES = ("background", "cat", "dog", "man", "woman")
SIZE = (16, 16)
PLACES = {"left": np.s_[:, :8], "right": np.s_[:, 8:]}


class Clips(list):
    """Clips in memory."""

    classes = CLASSES


class Deaf:
    """Paints everything that it sees: the red channel holds the class."""

    classes = CLASSES
    num_frames = 5

    def predict(self, frames, log_mel):
        seen = np.stack(frames)[..., 0]
        wanted = self.wanted(log_mel)[:, :, None, None]
        return np.stack([seen == index for index in range(len(CLASSES))], 1) * np.float32(wanted)

    def wanted(self, log_mel):
        return np.ones((len(log_mel), len(CLASSES)))


class Listens(Deaf):
    """Paints the class that it hears: class n is heard as a tone in its own band."""

    def wanted(self, log_mel):
        loudness = log_mel.mean(axis=1)  # (T, 64)
        return np.stack(
            [loudness[:, max(12 * n - 6, 0) : 12 * n + 6].max(axis=1) > 0 for n in range(5)], 1
        )


def tone(index, num_frames):
    """A tone in the middle of mel band 12 * index; silence for index 0."""
    if index == 0:
        return np.zeros(16_000 * num_frames, np.float32)
    low, high = (1127 * np.log1p(hz / 700) for hz in (125, 7_500))
    hz = 700 * np.expm1((low + (high - low) * (12 * index + 1) / 65) / 1127)
    t = np.arange(16_000 * num_frames) / 16_000
    return (0.5 * np.sin(2 * np.pi * hz * t)).astype(np.float32)


def clip(name, sounds, *, num_frames=2, with_truth=True, **shown):
    """A clip with classes at places (left=, right=), of which the class `sounds` is heard."""
    visible = np.zeros((num_frames, *SIZE), np.uint8)
    for place, index in shown.items():
        visible[(slice(None), *PLACES[place])] = index
    frames = np.repeat(visible[..., None], 3, axis=-1)
    labels = np.where(visible == sounds, visible, 0).astype(np.uint8)
    heard = np.zeros((num_frames, len(CLASSES)), bool)
    heard[:, sounds] = sounds > 0
    annotated = np.ones(num_frames, bool)
    truth = (visible, heard) if with_truth else (None, None)
    return Clip(name, frames, tone(sounds, num_frames), labels, annotated, *truth)


CLIPS = [
    clip("cat beside dog", 1, left=1, right=2),
    clip("dog beside cat", 2, left=1, right=2),
    clip("dog", 2, right=2),
    clip("cat off screen", 1, right=2),
    clip("man", 3, left=3),
    clip("silent woman", 0, left=4),
]


def listen(predictor, clips):
    return evaluate(predictor, Clips(clips), listen=True).listening


def test_a_model_that_listens_is_told_from_one_that_does_not():
    deaf, listens = listen(Deaf(), CLIPS), listen(Listens(), CLIPS)
    assert (deaf.mute, deaf.swap, deaf.solo) == (1, 1, 0)
    assert (listens.mute, listens.swap, listens.solo) == (0, 0, 1)


def test_each_number_says_on_how_many_clips_it_rests():
    scores = listen(Deaf(), CLIPS)
    assert (scores.mute_clips, scores.swap_clips, scores.solo_clips) == (6, 6, 2)


def test_a_sound_is_swapped_in_only_if_none_of_its_classes_is_visible():
    only_cats_and_dogs = [clip("one", 1, left=1, right=2), clip("two", 2, left=2)]
    scores = listen(Deaf(), only_cats_and_dogs)
    assert (scores.swap, scores.swap_clips) == (1, 1)  # "two" gets the cat, "one" nothing


def test_a_woman_is_no_stranger_to_a_man():
    scores = listen(Deaf(), [clip("man", 3, left=3), clip("woman", 4, left=4)])
    assert (scores.swap, scores.swap_clips) == (None, 0)


def test_without_the_truth_of_what_is_visible_the_labels_serve():
    clips = [
        clip("cat", 1, left=1, with_truth=False),
        clip("dog", 2, left=2, with_truth=False),
        clip("who knows", 0, left=3, with_truth=False),  # gives and takes nothing
    ]
    scores = listen(Listens(), clips)
    assert (scores.swap, scores.swap_clips) == (0, 2)
    assert (scores.solo, scores.solo_clips) == (None, 0)


def test_nothing_painted_is_nothing_to_divide_by():
    scores = listen(Listens(), [clip("silent", 0, left=1), clip("off screen", 2, right=1)])
    assert scores.mute is None
    assert scores.swap is None


def test_the_choice_of_sounds_depends_on_the_seed_alone():
    class Notes(Deaf):
        def __init__(self):
            self.heard = []

        def wanted(self, log_mel):
            self.heard.append(log_mel.sum())
            return super().wanted(log_mel)

    def heard(seed):
        predictor = Notes()
        evaluate(predictor, Clips(CLIPS), listen=True, seed=seed)
        return predictor.heard

    assert heard(1) == heard(1)
    assert any(heard(1) != heard(seed) for seed in range(2, 6))


def test_solo_is_the_gain_of_the_sounding_over_the_silent_object():
    class PaintsLeft(Deaf):
        def predict(self, frames, log_mel):
            probs = np.zeros((len(frames), len(CLASSES), *SIZE), np.float32)
            probs[:, 1, :, :4] = 1
            return probs

    scores = listen(PaintsLeft(), [clip("a", 1, left=1, right=2)])
    assert scores.solo == pytest.approx(0.5, abs=0.05)
