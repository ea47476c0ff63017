from fractions import Fraction

import av
import numpy as np
import pytest
from videos import Read, write_video

from avsegcli.audio.load import SoundReader
from avsegcli.errors import ConfigError, MediaError
from avsegcli.video.reader import SoundTrack, VideoReader
from avsegcli.video.span import Span, parse_time
from avsegcli.video.writer import VideoWriter


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("1:30", 90),
        ("01:30.25", 90.25),
        ("1:00:00", 3600),
        ("200ms", 0.2),
        ("200000us", 0.2),
        ("1.5s", 1.5),
        (2.5, 2.5),
    ],
)
def test_times_are_read_as_ffmpeg_reads_them(text, seconds):
    assert parse_time(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "-1", "1:2:3:4", "1:60", "60:00:00:0", "abc", "1m", "nan", -1]
)
def test_other_times_are_refused(text):
    with pytest.raises(ConfigError, match="must be a time"):
        parse_time(text)


def test_the_end_comes_after_the_start():
    with pytest.raises(ConfigError, match="does not come after"):
        Span.of("1:30", "90")


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")

    def write(suffix):
        path = folder / f"a{suffix}"
        if not path.exists():
            x264 = {"preset": "ultrafast", "g": "25"}
            rate = Fraction(25) if suffix == ".ts" else Fraction(30000, 1001)
            on = [(t, t + 0.5) for t in range(10)]
            write_video(path, seconds=10, rate=rate, options=x264, on=on, sound="aac")
        return path

    return write


def loudness(wave):
    """Of each hundredth of a second."""
    return np.sqrt((wave.reshape(-1, 160) ** 2).mean(axis=1))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".flv", ".avi"])
def test_a_part_is_what_the_whole_is_there(clips, suffix):
    path, span = clips(suffix), Span.of("4.3", "0:06")
    whole = {round(frame.time, 3): frame for frame in VideoReader(path)}
    video = VideoReader(path, span=span)
    assert video.duration == pytest.approx(1.7)
    part = list(video)
    assert video.problems() == []
    assert part[0].time == 0
    assert (part[-1].pts + part[-1].duration) * part[-1].time_base == pytest.approx(1.7, abs=0.02)
    for frame in part[1:]:
        same = min(whole, key=lambda time: abs(time - 4.3 - frame.time))
        assert same - 4.3 == pytest.approx(frame.time, abs=0.006)
        assert (frame.to_ndarray() == whole[same].to_ndarray()).all()
    heard, whole_sound = SoundReader(SoundTrack(path, span=span)), SoundReader(path)
    wave, expected = heard.waveform(-8000, 40000), whole_sound.waveform(68800 - 8000, 40000)
    assert loudness(wave) == pytest.approx(loudness(expected), abs=0.05)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("sound", ["copied", "encoded"])
def test_the_written_part_has_its_own_picture_and_sound(clips, tmp_path, suffix, sound):
    source = clips(".mp4" if sound == "copied" else ".avi")
    if sound == "encoded":
        source = write_video(
            tmp_path / "a.mkv", seconds=10, on=[(t, t + 0.5) for t in range(10)], sound="pcm_s16le"
        )
        suffix = ".mp4"
    span = Span.of(3.75, 5.75)
    video, output = VideoReader(source, span=span), tmp_path / f"out{suffix}"
    with VideoWriter(output, video, SoundTrack(source, span=span)) as writer:
        for frame in video:
            writer.write(frame)
    read = Read(output)
    assert len(read.frames) == pytest.approx(60, abs=1)
    assert read.sound[-1][0] == pytest.approx(2, abs=0.1)
    first = read.times[0]
    heard = SoundReader(output)
    wave = abs(heard.waveform(0, 32000))
    loud = [
        bool(wave[round(16000 * t) :][:800].max() > 0.1) for t in (0.1, 0.3, 0.6, 0.8, 1.3, 1.8)
    ]
    assert loud == [False, True, True, False, True, False]
    onset = np.flatnonzero(wave > 0.1)[0] / 16000
    assert onset - first == pytest.approx(0.25, abs=0.04)


def test_a_held_picture_is_there_from_the_start_of_the_part(tmp_path):
    times = [Fraction(0), Fraction(1, 25), Fraction(8)]
    path = write_video(tmp_path / "a.mp4", times=times, time_base=Fraction(1, 1000), seconds=9)
    first, *_ = VideoReader(path, span=Span.of(5, 8.5))
    assert (first.time, first.duration * first.time_base) == (0, 3)


def test_a_part_after_the_end_is_refused(clips):
    with pytest.raises(MediaError, match="before the start that is asked for"):
        VideoReader(clips(".mp4"), span=Span.of(11, None))


def test_chapters_are_cut_to_the_part(clips, tmp_path):
    path = tmp_path / "b.mkv"
    with av.open(str(clips(".mkv"))) as source, av.open(str(path), "w") as target:
        streams = {one.index: target.add_stream_from_template(one) for one in source.streams}
        unit = Fraction(1, 1000)
        target.set_chapters(
            [
                {
                    "id": n,
                    "start": begin,
                    "end": end,
                    "time_base": unit,
                    "metadata": {"title": title},
                }
                for n, (begin, end, title) in enumerate(
                    [(0, 2000, "one"), (2000, 5000, "two"), (5000, 10000, "three")]
                )
            ]
        )
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream_index]
                target.mux(packet)
    kept = VideoReader(path, span=Span.of(3, 6)).chapters
    times = [(one["start"] * one["time_base"], one["end"] * one["time_base"]) for one in kept]
    assert [one["metadata"]["title"] for one in kept] == ["two", "three"]
    assert times == [(0, 2), (2, 3)]
