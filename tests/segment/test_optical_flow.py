from typing import Any

import av
import cv2
import numpy as np
import pytest

from avsegcli.segment.optical_flow import KeyFrame, OpticalFlow, downscaled_luma
from avsegcli.video.reader import planes_of

WIDTH, HEIGHT, RADIUS = 320, 192, 32
rng = np.random.default_rng(1)


def texture() -> np.ndarray:
    blobs = cv2.GaussianBlur(rng.normal(size=(HEIGHT, WIDTH)), None, 5)
    return 128 + 40 * blobs / blobs.std()


GROUND, BALL = texture(), texture()


def disc(x: float, width: int, height: int) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    scale = width / WIDTH
    return np.hypot(columns + 0.5 - x * scale, rows + 0.5 - height / 2) < RADIUS * scale


def ball_at(x: int) -> Any:
    """A textured ball in front of a textured ground that stands still."""
    ball = np.roll(BALL, x - WIDTH // 2, axis=1)
    luma = np.where(disc(x, WIDTH, HEIGHT), ball, GROUND)
    frame = av.VideoFrame(WIDTH, HEIGHT, "yuv420p")
    planes_of(frame)[0][:] = np.clip(luma, 0, 255)
    return frame


def seen(time: float, frame: Any, *discs: int) -> KeyFrame:
    probs = np.zeros((3, HEIGHT // 4, WIDTH // 4), np.float32)
    for index, x in enumerate(discs, 1):
        probs[index] = disc(x, WIDTH // 4, HEIGHT // 4)
    probs[0] = 1 - probs[1:].max(0)
    return KeyFrame(time, downscaled_luma(frame), probs)


def iou(probs: np.ndarray, x: int) -> float:
    masks, truth = probs[1] >= 0.5, disc(x, WIDTH // 4, HEIGHT // 4)
    return float((masks & truth).sum() / (masks | truth).sum())


def test_the_mask_of_a_moving_ball_goes_with_it():
    before, after = seen(0.0, ball_at(120), 120), seen(0.25, ball_at(144), 144)
    for weight in (0.25, 0.5, 0.75):
        x = round(120 + 24 * weight)
        followed = OpticalFlow().interpolate(before, after, ball_at(x), weight)
        assert iou(followed, x) > 0.8
        assert (
            iou(followed, x) > iou(before.probs + weight * (after.probs - before.probs), x) + 0.04
        )
        assert followed[0] == pytest.approx(1 - followed[1:].max(0))


def test_a_mask_neither_lingers_nor_comes_early_at_a_cut():
    before, after = seen(0.0, ball_at(100), 100), seen(0.25, ball_at(220))
    after = after._replace(luma=255 - after.luma)
    motion = OpticalFlow()
    assert iou(motion.interpolate(before, after, ball_at(100), 0.8), 100) > 0.95
    late = ball_at(220)
    planes_of(late)[0][:] = 255 - planes_of(late)[0]
    assert motion.interpolate(before, after, late, 0.2)[1].max() < 0.5


def test_what_is_said_of_a_single_frame_is_forgotten_and_what_is_missing_is_filled_in():
    before, here, after = (seen(i / 4, ball_at(100 + 8 * i), 100 + 8 * i) for i in range(3))
    here.probs[1], here.probs[2, 5:10, 5:10] = 0, 1
    temporal_median = OpticalFlow().temporal_median(before, here, after).probs
    assert iou(temporal_median, 108) > 0.85
    assert temporal_median[2].max() == 0
    assert here.probs[1].max() == 0  # the argument is left alone


def test_answers_far_apart_in_time_or_across_a_cut_stay_as_they_are():
    before, here, after = (seen(i / 4, ball_at(100), 100) for i in range(3))
    here.probs[1] = 0
    motion = OpticalFlow()
    assert motion.temporal_median(before, here, after._replace(time=2.0)).probs[1].max() == 0
    assert (
        motion.temporal_median(before, here, after._replace(luma=255 - after.luma)).probs[1].max()
        == 0
    )


def test_pictures_too_small_for_a_flow_are_mixed():
    frame = av.VideoFrame(2, 2, "yuv420p")
    planes_of(frame)[0][:] = 0
    probs = np.ones((2, 1, 1), np.float32)
    before = KeyFrame(0.0, downscaled_luma(frame), 0 * probs)
    after = KeyFrame(1.0, np.full((2, 2), 255, np.uint8), probs)
    assert 0 <= OpticalFlow().interpolate(before, after, frame, 0.5)[1].item() <= 0.5
