import av
import numpy as np
import pytest
from videos import tone, write_video

from avsegcli.video.reader import SoundTrack, VideoReader
from avsegcli.video.span import Span
from avsegcli.video.writer import VideoWriter

SRT = """1
00:00:00,500 --> 00:00:01,200
Hello <i>there</i>

2
00:00:01,500 --> 00:00:02,800
two
lines

"""


@pytest.fixture(scope="module")
def rich(tmp_path_factory):
    """Three seconds with two sound tracks, one of them PCM, and subtitles."""
    folder = tmp_path_factory.mktemp("rich")
    plain, text = write_video(folder / "a.mp4", seconds=3), folder / "a.srt"
    text.write_text(SRT)
    path = folder / "rich.mkv"
    with (
        av.open(str(plain)) as video,
        av.open(str(text)) as subtitles,
        av.open(str(path), "w") as output,
    ):
        kept = {one.index: output.add_stream_from_template(one) for one in video.streams}
        second = output.add_stream("pcm_s16le", rate=8000, layout="mono")
        second.metadata.update(language="fra", title="commentaire")
        words = output.add_stream_from_template(subtitles.streams.subtitles[0])
        words.metadata["language"] = "eng"
        for packet in subtitles.demux():
            if packet.dts is not None:
                packet.stream = words
                output.mux(packet)
        samples = (tone(3, 8000, 1, [(1, 2)]) * 20000).astype(np.int16)
        for first in range(0, 24000, 800):
            frame = av.AudioFrame.from_ndarray(samples[:, first : first + 800], "s16", "mono")
            frame.rate, frame.pts = 8000, first
            output.mux(second.encode(frame))
        output.mux(second.encode(None))
        for packet in video.demux():
            if packet.dts is not None:
                packet.stream = kept[packet.stream_index]
                output.mux(packet)
    return path


def write(path, output, span=Span(), sound=None):  # noqa: B008
    video = VideoReader(path, span=span)
    with VideoWriter(output, video, SoundTrack(sound or path, span=span)) as writer:
        for frame in video:
            writer.write(frame)
    return writer.problems


def streams(path):
    with av.open(str(path)) as container:
        return [
            (one.type, one.codec_context.codec.canonical_name, one.language)
            for one in container.streams
        ]


def texts(path):
    """Start and end of each subtitle and its words."""
    with av.open(str(path)) as container:
        stream = container.streams.subtitles[0]
        found = []
        for packet in container.demux(stream):
            for text in stream.codec_context.decode2(packet) or () if packet.size > 2 else ():
                begin = float(packet.pts * packet.time_base)
                end = begin + float(packet.duration * packet.time_base)
                found.append((round(begin, 2), round(end, 2), text.ass.decode().split(",")[-1]))
    return found


@pytest.mark.parametrize(
    ("suffix", "sounds", "subtitles"),
    [
        (".mkv", ["aac", "pcm_s16le"], "subrip"),
        (".mp4", ["aac", "aac"], "mov_text"),
        (".mov", ["aac", "pcm_s16le"], "mov_text"),
        (".webm", ["opus", "opus"], "webvtt"),
    ],
)
def test_more_sound_and_subtitles_are_kept(rich, tmp_path, suffix, sounds, subtitles):
    output = tmp_path / f"out{suffix}"
    assert write(rich, output) == []
    found = streams(output)
    assert [codec for kind, codec, _ in found if kind == "audio"] == sounds
    assert [codec for kind, codec, _ in found if kind == "subtitle"] == [subtitles]
    assert found[2][2] == "fra"
    assert found[3][2] == "eng"
    begins = [(begin, end) for begin, end, _ in texts(output)]
    late = begins[0][0] - 0.5  # as Matroska moves all by the lead-in of the sound
    assert 0 <= late < 0.06
    assert begins == [
        (pytest.approx(0.5 + late, abs=0.02), pytest.approx(1.2 + late, abs=0.02)),
        (pytest.approx(1.5 + late, abs=0.02), pytest.approx(2.8 + late, abs=0.02)),
    ]
    assert "Hello" in texts(output)[0][2]
    with av.open(str(output)) as container:
        frames = list(container.decode(audio=1))
        wave = np.concatenate([np.abs(frame.to_ndarray()).mean(axis=0) for frame in frames])
        rate = frames[0].sample_rate
    loud = np.flatnonzero(wave > 0.1 * wave.max()) / rate
    assert (loud[0], loud[-1]) == (pytest.approx(1, abs=0.1), pytest.approx(2, abs=0.1))


def test_they_are_those_of_the_part_that_is_asked_for(rich, tmp_path):
    output = tmp_path / "out.mp4"
    write(rich, output, Span.of(1, 2.5))
    assert [text[:2] for text in texts(output)] == [
        (0, pytest.approx(0.2, abs=0.04)),
        (pytest.approx(0.5, abs=0.04), pytest.approx(1.8, abs=0.04)),
    ]


def test_sound_of_another_file_takes_the_place_of_all_sound(rich, tmp_path):
    other, output = write_video(tmp_path / "b.mp4", seconds=3), tmp_path / "out.mkv"
    write(rich, output, sound=other)
    assert [kind for kind, *_ in streams(output)] == ["video", "audio", "subtitle"]


def test_what_the_container_cannot_hold_is_told(rich, tmp_path):
    source = tmp_path / "pictures.mkv"
    with av.open(str(rich)) as read, av.open(str(source), "w") as target:
        kept = {
            one.index: target.add_stream_from_template(one)
            for one in read.streams
            if one.type != "subtitle"
        }
        target.add_stream("dvdsub")
        for packet in read.demux():
            if packet.dts is not None and packet.stream_index in kept:
                packet.stream = kept[packet.stream_index]
                target.mux(packet)
    (told,) = write(source, tmp_path / "out.mp4")
    assert "subtitles 1 (dvd_subtitle) left out: no .mp4 file holds such" in told
    assert write(source, tmp_path / "out.mkv") == []
