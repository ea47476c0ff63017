import threading
from fractions import Fraction

import numpy as np
import pytest
from videos import GREY, RED, Read, RedWhenLoud, read_sound, square_at, write_video

from avsegcli.errors import ConfigError, MediaError
from avsegcli.render.colors import class_colour
from avsegcli.segment.segmenter import Segmenter

ON = ((1.0, 2.0),)  # seconds of tone


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "square.mp4"
    return write_video(path, width=320, height=180, seconds=3, on=ON)


@pytest.fixture
def segmenter():
    return Segmenter(RedWhenLoud())


@pytest.fixture
def threads():
    """Those that were running before the test."""
    return set(threading.enumerate())


def painted_share(rgb: np.ndarray, time: float) -> float:
    """How much of the middle of the square has the colour of class 2 on it."""
    left, top, side = square_at(time, rgb.shape[1], rgb.shape[0])
    inside = rgb[top + side // 4 : top + 3 * side // 4, left + side // 4 : left + 3 * side // 4]
    wanted = (np.array(RED) + class_colour(2)) / 2
    return float((np.abs(inside.astype(int) - wanted).max(axis=2) < 40).mean())


def test_the_square_is_painted_while_it_sounds_and_only_then(clip, segmenter, tmp_path, threads):
    summary = segmenter.segment_file(clip, tmp_path / "out.mp4")
    written = Read(tmp_path / "out.mp4")
    assert written.rate == Fraction(30000, 1001)
    assert written.size == (320, 180)
    assert written.times == pytest.approx(Read(clip).times, abs=1e-6)
    assert written.sound == read_sound(clip)[1]
    for time in (1.3, 1.5, 1.7):
        assert painted_share(written.near(time), time) > 0.8
    for time in (0.1, 0.5, 2.6, 2.9):
        assert painted_share(written.near(time), time) < 0.1
    beyond = written.near(1.5)[-20:, -20:].mean(axis=(0, 1))
    assert beyond == pytest.approx(GREY, abs=6)
    assert summary.frames == 90
    assert summary.seconds == pytest.approx(3.0, abs=0.01)
    assert summary.problems == []
    (event,) = summary.events
    assert event.class_name == "beeper"
    assert event.start == pytest.approx(1.0, abs=0.35)
    assert event.end == pytest.approx(2.0, abs=0.35)
    assert event.score > 0.8
    assert segmenter.predictor.asked == [5, 5, 2]
    assert segmenter.predictor.sizes == {(128, 224)}
    assert set(threading.enumerate()) <= threads


def test_frames_can_be_had_without_files(clip, segmenter):
    results = list(segmenter.segment(clip, fps=2))
    assert [result.index for result in results] == list(range(90))
    assert sum(result.analysed for result in results) == 6
    result = results[45]
    assert result.time == pytest.approx(1.5, abs=0.01)
    assert result.end == results[46].time
    assert result.rgb.shape == (180, 320, 3)
    assert result.probs.shape == (3, 32, 56)
    left, top, side = square_at(result.time, 320, 180)
    truth = np.zeros((180, 320), bool)
    truth[top : top + side, left : left + side] = True
    found = result.labels == 2
    assert (found & truth).sum() / (found | truth).sum() > 0.8
    assert not results[5].labels.any()


def test_the_iteration_can_be_left_at_any_time(clip, segmenter, threads):
    for result in segmenter.segment(clip):
        if result.index == 3:
            break
    del result
    assert set(threading.enumerate()) <= threads


def test_a_higher_threshold_finds_less(clip, segmenter):
    low = sum(r.labels.any() for r in segmenter.segment(clip, threshold=0.2))
    high = sum(r.labels.any() for r in segmenter.segment(clip, threshold=0.95))
    assert 0 < high < low


def test_a_turned_variable_rate_video_of_odd_size_with_late_mono_sound(segmenter, tmp_path):
    times = [Fraction(t, 1000) for t in (*range(0, 1000, 40), *range(1000, 3000, 65))]
    source = write_video(
        tmp_path / "odd.mkv",
        width=321,
        height=181,
        pix_fmt="yuv444p",
        rate=Fraction(20),
        times=times,
        time_base=Fraction(1, 1000),
        seconds=3,
        sound="pcm_s16le",
        sound_rate=16000,
        channels=1,
        sound_start=1.0,
        sound_seconds=1.0,
    )
    segmenter.segment_file(source, tmp_path / "out.mp4")
    written = Read(tmp_path / "out.mp4")
    assert written.size == (321, 181)
    assert written.times == pytest.approx([float(time) for time in times], abs=1e-3)
    assert written.sound_codec == "aac"
    assert written.sound[0][0] == pytest.approx(1.0, abs=0.07)  # AAC has a lead-in
    assert painted_share(written.near(1.5), 1.5) > 0.7
    assert painted_share(written.near(0.4), 0.4) < 0.1


def test_the_network_sees_pictures_of_its_own_size(clip):
    segmenter = Segmenter(RedWhenLoud())
    segmenter.predictor.size = 64
    next(iter(segmenter.segment(clip)))
    assert {max(size) for size in segmenter.predictor.sizes} == {64}


@pytest.mark.parametrize("degrees", [90, 180])
def test_the_network_sees_a_turned_video_upright(segmenter, tmp_path, degrees):
    source = write_video(tmp_path / "a.mp4", rotation=degrees, seconds=1)
    result = list(segmenter.segment(source))[15]
    expected = (160, 96) if degrees == 90 else (96, 160)
    assert segmenter.predictor.sizes == {(224, 136) if degrees == 90 else (136, 224)}
    assert result.labels.shape == expected
    red = result.rgb[..., 0].astype(int) - result.rgb[..., 1] > 100
    assert ((result.labels == 2) & red).sum() > 0.7 * red.sum()


def test_one_frame_is_a_video(segmenter, tmp_path):
    source = write_video(tmp_path / "a.mp4", times=[Fraction(0)], seconds=0.5)
    assert segmenter.segment_file(source, tmp_path / "out.mp4").frames == 1


def test_an_error_of_the_network_leaves_nothing(clip, tmp_path, threads):
    class Failing(RedWhenLoud):
        def predict(self, frames, log_mel):
            if self.asked:
                raise RuntimeError("out of memory")
            return super().predict(frames, log_mel)

    with pytest.raises(RuntimeError, match="out of memory"):
        Segmenter(Failing()).segment_file(clip, tmp_path / "out.mp4")
    assert list(tmp_path.iterdir()) == []
    assert set(threading.enumerate()) <= threads


def test_an_interrupted_run_leaves_nothing(clip, segmenter, tmp_path, threads):
    def interrupt(seconds: float, total: float | None) -> None:
        if seconds > 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        segmenter.segment_file(clip, tmp_path / "out.mp4", progress=interrupt)
    assert list(tmp_path.iterdir()) == []
    assert set(threading.enumerate()) <= threads


def test_an_output_is_replaced_only_if_asked_and_never_before_the_new_one_is_whole(
    segmenter, tmp_path
):
    source = write_video(tmp_path / "a.mp4", seconds=0.3)
    output = tmp_path / "out.mp4"
    output.write_text("precious")
    with pytest.raises(MediaError, match="exists already"):
        segmenter.segment_file(source, output)
    assert output.read_text() == "precious"
    segmenter.segment_file(source, output, overwrite=True)
    assert len(Read(output).frames) == 9


def test_the_video_itself_is_never_the_output(segmenter, tmp_path):
    source = write_video(tmp_path / "a.mp4", seconds=0.3)
    link = tmp_path / "link.mp4"
    link.symlink_to(source)
    before = source.read_bytes()
    for output in (source, link):
        with pytest.raises(MediaError, match="is the video itself"):
            segmenter.segment_file(source, output, overwrite=True)
    assert source.read_bytes() == before


def test_arguments_out_of_range_are_refused(clip, segmenter, tmp_path):
    for wrong in ({"fps": 0}, {"threshold": 0}, {"threshold": 1.5}, {"alpha": 2}):
        with pytest.raises(ConfigError):
            segmenter.segment_file(clip, tmp_path / "out.mp4", **wrong)
    assert list(tmp_path.iterdir()) == []


def test_memory_holds_a_few_windows_whatever_the_length(tmp_path, monkeypatch):
    """Frames alive at a time, counted, on a clip of many windows."""
    from avsegcli.video import reader

    alive = set()
    most = 0
    original = reader.VideoReader._upright

    def counted(self, decoded):
        nonlocal most
        frame = reader.copy_of(original(self, decoded))
        key = object()
        alive.add(key)
        holders[id(frame)] = key
        most = max(most, len(alive))
        return frame

    holders: dict[int, object] = {}
    monkeypatch.setattr(reader.VideoReader, "_upright", counted)
    source = write_video(tmp_path / "a.mp4", width=32, height=32, rate=Fraction(20), seconds=8)
    for result in Segmenter(RedWhenLoud(num_frames=2)).segment(source):
        alive.discard(holders.pop(id(result.frame)))
    assert not alive
    assert most <= 45  # a window has 10 frames: four of them and a little
