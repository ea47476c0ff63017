import json
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from videos import write_video as write_clip

from avsegcli.datasets.registry import open_clips
from avsegcli.datasets.video_folder import VideoFolder
from avsegcli.errors import DataError, MediaError

SIZE = (48, 64)
SECONDS = 3


def write_video(path, *, fps=Fraction(10), sound=True, seconds=SECONDS, first_s=0):
    """Frame n is grey 4 n + 20; second k sounds with amplitude (k + 1) / 10."""
    with av.open(str(path), "w") as container:
        picture = container.add_stream("mpeg4", rate=fps)
        picture.width, picture.height, picture.pix_fmt = SIZE[1], SIZE[0], "yuv420p"
        picture.bit_rate = 2_000_000
        audio = container.add_stream("aac", rate=16_000, layout="stereo") if sound else None
        for n in range(round(seconds * fps)):
            grey = np.full((*SIZE, 3), min(4 * n + 20, 250), np.uint8)
            frame = av.VideoFrame.from_ndarray(grey, "rgb24")
            frame.pts, frame.time_base = n + round(first_s * fps), 1 / fps
            container.mux(picture.encode(frame))
        container.mux(picture.encode(None))
        if audio is not None:
            t = np.arange(seconds * 16_000)
            wave = ((t // 16_000 + 1) / 10 * np.sin(t * 0.3)).astype(np.float32)
            frame = av.AudioFrame.from_ndarray(np.stack([wave, wave]), "fltp", "stereo")
            frame.rate, frame.pts, frame.time_base = 16_000, 0, Fraction(1, 16_000)
            container.mux(audio.encode(frame))
            container.mux(audio.encode(None))


def write_mask(root, name, k, mask):
    path = root / "masks" / name / f"{k}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", mask)[1])


@pytest.fixture
def folder(tmp_path):
    write_video(tmp_path / "one.mp4")
    indices = {"background": 0, "dog": 1, "man": 2, "ignore": 255}
    (tmp_path / "classes.json").write_text(json.dumps(indices))
    for k in range(SECONDS):
        mask = np.zeros(SIZE, np.uint8)
        mask[:, : 8 * k] = 2
        mask[0] = 255
        write_mask(tmp_path, "one", k, mask)
    return tmp_path


def test_frames_masks_and_sound_belong_to_the_same_seconds(folder):
    dataset = open_clips(folder)
    clip = dataset[0]
    assert dataset.classes == ("background", "dog", "man")
    assert (clip.name, clip.frames.shape) == ("one", (SECONDS, *SIZE, 3))
    # At 10 frames a second frames 5, 15 and 25 go on display at 0.5, 1.5 and 2.5 s.
    np.testing.assert_allclose(clip.frames.mean(axis=(1, 2, 3)), [40, 80, 120], atol=3)
    assert (clip.labels == 2).sum(axis=(1, 2)).tolist() == [0, 47 * 8, 47 * 16]
    loudness = clip.waveform.reshape(SECONDS, 16_000)[:, 3_000:-3_000].std(axis=1) * 2**0.5
    np.testing.assert_allclose(loudness, [0.1, 0.2, 0.3], rtol=0.05)
    assert (clip.visible, clip.heard) == (None, None)


def test_at_odd_frame_rates_the_frame_on_display_is_the_last_that_has_begun(folder):
    write_video(folder / "one.mp4", fps=Fraction(7))
    # Frame n begins at n / 7 s: on display at 0.5, 1.5 and 2.5 s are frames 3, 10 and 17.
    means = open_clips(folder)[0].frames.mean(axis=(1, 2, 3))
    np.testing.assert_allclose(means, [32, 60, 88], atol=3)


def test_sound_is_placed_relative_to_the_first_frame(folder):
    write_video(folder / "one.mp4", first_s=1)
    waveform = open_clips(folder)[0].waveform
    loudness = waveform.reshape(SECONDS, 16_000)[:, 3_000:-3_000].std(axis=1) * 2**0.5
    np.testing.assert_allclose(loudness, [0.2, 0.3, 0.0], rtol=0.05, atol=0.01)


def test_a_video_without_sound_is_silent(folder):
    write_video(folder / "one.mp4", sound=False)
    clip = open_clips(folder)[0]
    assert clip.waveform.shape == (SECONDS * 16_000,)
    assert not clip.waveform.any()


def test_a_video_is_seen_as_it_is_shown(folder):
    write_clip(folder / "turned.mp4", width=SIZE[1], height=SIZE[0], rotation=90)
    write_mask(folder, "turned", 0, np.zeros(SIZE[::-1], np.uint8))
    assert VideoFolder(folder)[1].frames.shape == (1, *SIZE[::-1], 3)


def test_videos_without_masks_are_left_out_and_noted(folder):
    write_video(folder / "two.mp4")
    dataset = VideoFolder(folder)
    assert len(dataset) == 1
    assert dataset.notes == ["left out, without masks: two.mp4"]


def test_what_does_not_fit_is_one_line(folder):
    write_mask(folder, "one", 1, np.full(SIZE, 9, np.uint8))
    with pytest.raises(DataError, match=r"1\.png has index 9, which"):
        VideoFolder(folder)[0]
    write_mask(folder, "one", 1, np.zeros((8, 8), np.uint8))
    with pytest.raises(DataError, match=r"1\.png is 8 x 8, its video 64 x 48"):
        VideoFolder(folder)[0]
    write_video(folder / "one.mp4", seconds=1)
    with pytest.raises(DataError, match=r"one\.mp4 ends before 1\.5 s but has 3 masks"):
        VideoFolder(folder)[0]
    (folder / "one.mp4").write_bytes(b"no video")
    with pytest.raises(MediaError, match=r"one\.mp4 is not a video that can be read"):
        VideoFolder(folder)[0]
    (folder / "classes.json").write_text('{"dog": 0}')
    with pytest.raises(DataError, match="'background' first"):
        VideoFolder(folder)
    (folder / "classes.json").unlink()
    with pytest.raises(DataError, match=r"classes\.json is missing"):
        VideoFolder(folder)
