import io
from fractions import Fraction

import av
import numpy as np
import pytest
from videos import Read, read_sound, write_video

from avsegcli.errors import MediaError
from avsegcli.video import writer
from avsegcli.video.reader import VideoReader
from avsegcli.video.writer import VideoWriter

TRUEHD = bytes.fromhex(  # ten packets of 40 samples at 48 kHz
    "a023ffd8f8726fba00008001b752000000008c7f11055400000080800000841d2012f1ea0000011000000000084000"
    "0000032dfb0802004880632ba040018cae81000400f25fa00700006004914080200800d08b4005002860024000e91d"
    "b005005060024000e91d1005007860024000e91d400500a060024000e91da00500c860024000e91d100500f0600240"
    "00e91d6005011860024000e91db005014060024000e91d"
)


def rewrite(source, output) -> Read:
    video = VideoReader(source)
    with VideoWriter(output, video, source) as writer:
        for frame in video:
            writer.write(frame)
    return Read(output)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_size_rate_times_and_the_very_sound_packets_are_kept(tmp_path, suffix):
    source = write_video(tmp_path / "a.mp4", seconds=1)
    written = rewrite(source, tmp_path / f"b{suffix}")
    assert written.size == (160, 96)
    assert written.codec == "h264"
    assert written.rate == Fraction(30000, 1001)
    assert len(written.times) == 30
    codec, packets = read_sound(source)
    assert written.sound_codec == codec == "aac"
    assert [data for _, data in written.sound] == [data for _, data in packets]
    # Matroska knows no time below 0 and moves everything by the lead-in of AAC.
    moved = -packets[0][0] if suffix == ".mkv" else 0
    sound_times = np.array([time for time, _ in written.sound])
    assert sound_times - moved == pytest.approx([time for time, _ in packets], abs=1e-3)
    assert np.array(written.times) - moved == pytest.approx(Read(source).times, abs=1e-3)


def test_webm_is_vp9_with_opus(tmp_path):
    written = rewrite(write_video(tmp_path / "a.mp4", seconds=0.5), tmp_path / "b.webm")
    assert (written.codec, written.sound_codec) == ("vp9", "opus")
    assert len(written.times) == 15
    assert written.sound[-1][0] == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize(
    ("sound", "rate", "suffix", "expected"),
    [
        ("pcm_s16le", 44100, ".mp4", "aac"),
        ("pcm_s16le", 44100, ".mov", "pcm_s16le"),
        ("libmp3lame", 44100, ".mp4", "mp3"),
        ("libopus", 48000, ".webm", "opus"),
    ],
)
def test_sound_is_copied_where_the_container_takes_it(tmp_path, sound, rate, suffix, expected):
    source = write_video(
        tmp_path / "a.mkv", sound=sound, sound_rate=rate, seconds=0.5, sound_seconds=2
    )
    written = rewrite(source, tmp_path / f"b{suffix}")
    assert written.sound_codec == expected
    assert written.sound[-1][0] == pytest.approx(2.0, abs=0.1)  # also what outlasts the picture


def test_packets_that_last_less_than_a_tick_are_all_copied(tmp_path):
    with (
        av.open(io.BytesIO(TRUEHD), format="truehd") as raw,
        av.open(str(tmp_path / "a.mkv"), "w") as output,
    ):
        (stream,) = raw.streams
        copied = output.add_stream_from_template(stream)
        for packet in raw.demux():
            if packet.dts is not None:
                packet.stream = copied
                output.mux(packet)
    video = VideoReader(write_video(tmp_path / "a.mp4", seconds=0.2, sound=None))
    with VideoWriter(tmp_path / "b.mkv", video, tmp_path / "a.mkv") as writer:
        for frame in video:
            writer.write(frame)
    read = read_sound(tmp_path / "a.mkv")
    assert read_sound(tmp_path / "b.mkv") == read
    times = [time for time, _ in read[1]]
    assert len(set(times)) < len(times)


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
@pytest.mark.parametrize("layout", ["3.0", "quad", "5.0", "5.1", "7.1"])
def test_channels_of_sound_that_is_encoded_again_stay_apart(tmp_path, suffix, layout):
    rate = 48000
    channels = [channel.name for channel in av.AudioLayout(layout).channels]
    pitches = 40 + 8 * np.arange(len(channels))  # Hz; low, as one of them holds the bass only
    waves = 8000 * np.sin(2 * np.pi * np.arange(2 * rate)[:, None] / rate * pitches)
    source = tmp_path / "a.wav"
    with av.open(str(source), "w") as output:
        stream = output.add_stream("pcm_s16le", rate=rate, layout=layout)
        frame = av.AudioFrame.from_ndarray(waves.astype(np.int16).reshape(1, -1), "s16", layout)
        frame.rate = rate
        output.mux([*stream.encode(frame), *stream.encode(None)])
    video = VideoReader(write_video(tmp_path / "a.mp4", seconds=2, sound=None))
    with VideoWriter(tmp_path / f"b{suffix}", video, source) as writer:
        for picture in video:
            writer.write(picture)
    with av.open(str(tmp_path / f"b{suffix}")) as read:
        written = [channel.name for channel in read.streams.audio[0].layout.channels]
        packed = av.AudioResampler("flt")
        heard = [f.to_ndarray() for frame in read.decode(audio=0) for f in packed.resample(frame)]
    middle = np.hstack(heard).reshape(-1, len(written)).T[:, rate // 2 : 3 * rate // 2]
    loudness = np.abs(np.fft.rfft(middle))[[written.index(channel) for channel in channels]]
    assert loudness.argmax(axis=1).tolist() == pitches.tolist()  # bins are 1 Hz wide
    loudness /= loudness.max()
    assert loudness[:, pitches] == pytest.approx(np.eye(len(channels)), abs=0.1)


def test_sound_of_a_transport_stream_is_copied_into_mp4(tmp_path):
    source = write_video(
        tmp_path / "a.ts", start=30, seconds=1, time_base=Fraction(1, 90000), rate=Fraction(25)
    )
    written = rewrite(source, tmp_path / "b.mp4")
    assert written.sound_codec == "aac"
    assert written.times[0] == pytest.approx(0, abs=0.1)
    assert written.sound[0][0] == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_damaged_packets_of_copied_sound_are_left_out(tmp_path, suffix):
    source = write_video(tmp_path / "a.ts", seconds=3)
    stream = source.read_bytes()
    packets = [stream[at : at + 188] for at in range(0, len(stream), 188)]
    sound = [n for n, packet in enumerate(packets) if packet[1:3] == b"\x01\x01"]  # goes on
    lost = sound[1::4]
    source.write_bytes(b"".join(packet for n, packet in enumerate(packets) if n not in lost))
    written = rewrite(source, tmp_path / f"b{suffix}")
    assert len(written.times) == 90
    _, read = read_sound(source)
    assert 0 < len(written.sound) < len(read)


@pytest.mark.parametrize(
    ("first", "second"),
    [({"channels": 2}, {"channels": 1}), ({"sound_rate": 48000}, {"sound_rate": 32000})],
)
def test_sound_that_changes_its_form_is_encoded_on(tmp_path, first, second):
    pieces = [
        write_video(
            tmp_path / f"{start}.ts", sound="mp2", seconds=1, start=start, rate=Fraction(25),
            time_base=Fraction(1, 90000), **form,
        )
        for start, form in ((0, first), (1, second))
    ]  # fmt: skip
    source = tmp_path / "both.ts"
    source.write_bytes(b"".join(piece.read_bytes() for piece in pieces))
    written = rewrite(source, tmp_path / "b.mp4")
    assert written.sound_codec == "aac"
    assert written.sound[-1][0] == pytest.approx(2.0, abs=0.15)
    assert np.diff([time for time, _ in written.sound]).max() < 0.1


@pytest.mark.parametrize(
    ("suffix", "codec", "sound"),
    [(".wmv", "wmv2", "wmav2"), (".mkv", "libx264", "pcm_s24le")],
)
def test_sound_without_exact_time_stamps_is_encoded_evenly(tmp_path, suffix, codec, sound):
    source = write_video(tmp_path / f"a{suffix}", codec=codec, sound=sound, seconds=1)
    written = rewrite(source, tmp_path / "b.mp4")
    assert written.sound_codec == "aac"
    assert written.sound[-1][0] == pytest.approx(1.0, abs=0.1)
    ticks = np.diff([time for time, _ in written.sound]) * 44100
    assert ticks == pytest.approx(1024, abs=0.5)  # though Matroska rounds to milliseconds


def test_a_codec_that_the_container_does_not_hold_is_refused(tmp_path):
    source = write_video(tmp_path / "a.mp4", seconds=0.2)
    with pytest.raises(MediaError, match=r"no \.webm file holds what libx264 encodes"):
        VideoWriter(tmp_path / "b.webm", VideoReader(source), source, encoder=("libx264", {}))


def test_sound_of_another_file_ends_with_the_picture(tmp_path):
    video = VideoReader(write_video(tmp_path / "a.mp4", seconds=1))
    other = write_video(tmp_path / "b.mp4", seconds=0.2, sound_seconds=5)
    with VideoWriter(tmp_path / "c.mp4", video, other) as writer:
        for frame in video:
            writer.write(frame)
    assert 0.9 < Read(tmp_path / "c.mp4").sound[-1][0] < 1.0


def test_late_sound_stays_late(tmp_path):
    source = write_video(tmp_path / "a.mp4", sound_start=0.7, seconds=1)
    written = rewrite(source, tmp_path / "b.mp4")
    assert written.sound[0][0] == pytest.approx(read_sound(source)[1][0][0], abs=1e-3)
    assert written.sound[0][0] > 0.6


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_sound_that_an_edit_list_cuts_away_is_not_copied(tmp_path, suffix):
    whole = write_video(tmp_path / "whole.mp4", sound_seconds=2, seconds=1)
    source = tmp_path / "a.mp4"
    with av.open(str(whole)) as read, av.open(str(source), "w") as cut:
        streams = [cut.add_stream_from_template(stream) for stream in read.streams]
        for packet in read.demux():
            if packet.dts is not None:
                early = packet.stream.type == "audio"  # by a second: 0 is in its middle
                packet.pts -= 44100 * early
                packet.dts -= 44100 * early
                packet.stream = streams[packet.stream_index]
                cut.mux(packet)
    written = rewrite(source, tmp_path / f"b{suffix}")
    first_sound, packet_s = written.sound[0][0], 1024 / 44100
    assert -2 * packet_s < first_sound - written.times[0] <= 0
    assert len(written.sound) == pytest.approx(1 / packet_s, abs=3)


@pytest.mark.parametrize(("suffix", "pix_fmt"), [(".mp4", "yuv444p"), (".webm", "yuv420p")])
def test_an_odd_size_is_kept(tmp_path, suffix, pix_fmt):
    source = write_video(
        tmp_path / "a.mp4", width=161, height=97, pix_fmt="yuv444p", seconds=0.3, sound_seconds=0.3
    )
    written = rewrite(source, tmp_path / f"b{suffix}")
    assert written.size == (161, 97)
    assert written.pix_fmt == pix_fmt


@pytest.mark.parametrize(
    ("suffix", "encoder", "size", "shape"),
    [
        (".mp4", None, (160, 96), Fraction(16, 15)),
        (".mov", ("prores_ks", {}), (160, 96), Fraction(16, 15)),
        (".mkv", None, (160, 96), Fraction(16, 15)),
        (".mkv", ("libx265", {"x265-params": "log-level=none"}), (160, 96), Fraction(16, 15)),
        (".mkv", ("ffv1", {}), (170, 96), Fraction(1)),
        (".webm", None, (170, 96), Fraction(1)),
    ],
)
def test_the_shape_in_which_a_video_is_shown_is_kept(tmp_path, suffix, encoder, size, shape):
    source = write_video(tmp_path / "a.mp4", seconds=0.2, sound_seconds=0.2)
    video = VideoReader(source)
    video.sample_aspect_ratio = Fraction(16, 15)
    pix_fmt = "yuv422p10le" if suffix == ".mov" else None
    output = tmp_path / f"b{suffix}"
    with VideoWriter(output, video, source, encoder=encoder, pix_fmt=pix_fmt) as writer:
        for frame in video:
            writer.write(frame)
    written = VideoReader(output)
    assert ((written.width, written.height), written.sample_aspect_ratio) == (size, shape)
    assert np.diff(Read(output).times) == pytest.approx(np.diff(Read(source).times), abs=2e-3)


def test_variable_frame_times_survive(tmp_path):
    times = [Fraction(t, 1000) for t in (0, 40, 55, 300, 310, 900, 1000)]
    source = write_video(tmp_path / "a.mkv", times=times, time_base=Fraction(1, 1000))
    written = rewrite(source, tmp_path / "b.mp4")
    assert written.times == pytest.approx([float(t) for t in times], abs=1e-3)


def test_the_last_picture_is_shown_for_its_own_time(tmp_path):
    times = [Fraction(0), Fraction(1), Fraction(74, 25)]
    source = write_video(tmp_path / "a.mp4", times=times, rate=Fraction(25))
    rewrite(source, tmp_path / "b.mp4")
    assert VideoReader(tmp_path / "b.mp4").duration == pytest.approx(3, abs=1e-3)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".webm"])
def test_title_chapters_and_language_are_kept(tmp_path, suffix):
    source = tmp_path / "a.mkv"
    milli = Fraction(1, 1000)
    chapter = {"id": 1, "start": 10_500, "end": 11_500, "time_base": milli, "metadata": {}}
    with (
        av.open(str(write_video(tmp_path / "plain.mkv", seconds=2, start=10))) as plain,
        av.open(str(source), "w") as named,
    ):
        streams = [named.add_stream_from_template(stream) for stream in plain.streams]
        streams[1].metadata["language"] = "deu"
        named.metadata.update({"title": "A title", "artist": "Somebody"})
        named.set_chapters([chapter])
        for packet in plain.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream_index]
                named.mux(packet)
    rewrite(source, tmp_path / f"b{suffix}")
    with av.open(str(tmp_path / f"b{suffix}")) as written:
        metadata = {key.lower(): text for key, text in written.metadata.items()}
        assert (metadata["title"], metadata["artist"]) == ("A title", "Somebody")
        assert written.streams.audio[0].language == "deu"
        (read,) = written.chapters()
        assert float(read["start"] * read["time_base"]) == pytest.approx(0.5, abs=0.03)


def test_a_turned_video_is_written_upright(tmp_path):
    source = write_video(tmp_path / "a.mp4", rotation=90, seconds=0.2)
    assert rewrite(source, tmp_path / "b.mp4").size == (96, 160)


def test_the_index_of_an_mp4_comes_first(tmp_path):
    rewrite(write_video(tmp_path / "a.mp4", seconds=0.3), tmp_path / "b.mp4")
    data = (tmp_path / "b.mp4").read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")


def test_an_error_of_the_encoder_is_told_with_the_name_of_the_output(tmp_path):
    source = write_video(tmp_path / "a.mp4", seconds=0.2)
    video = VideoReader(source)
    wanted = tmp_path / "wanted.mp4"
    with (
        pytest.raises(MediaError, match=r"cannot write .*wanted\.mp4"),
        VideoWriter(tmp_path / "no" / "part.mp4", video, source, name=wanted),
    ):
        pass


def test_of_frames_beyond_4k_x264_holds_none(tmp_path, monkeypatch):
    source = write_video(tmp_path / "a.mp4", seconds=1)
    late = {}
    for large in (10**9, 0):
        monkeypatch.setattr(writer, "LARGE", large)
        output = tmp_path / f"{large}.mp4"
        assert len(rewrite(source, output).frames) == 30
        with av.open(str(output)) as container:
            packets = [packet for packet in container.demux(video=0) if packet.size]
        late[large] = any(packet.pts != packet.dts for packet in packets)
    assert late == {10**9: True, 0: False}
