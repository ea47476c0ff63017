import struct
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from videos import GREY, RED, picture, tone, write_video

from avsegcli.audio.load import SoundReader
from avsegcli.errors import MediaError
from avsegcli.video.damage import problems_of
from avsegcli.video.filters import FilterChain
from avsegcli.video.reader import (
    Orientation,
    VideoReader,
    best_stream,
    letterbox,
    planes_of,
)


def test_size_rate_and_times_are_exact(tmp_path):
    video = VideoReader(write_video(tmp_path / "a.mp4", seconds=1))
    frames = list(video)
    assert (video.width, video.height) == (160, 96)
    assert video.rate == Fraction(30000, 1001)
    assert len(frames) == 30
    assert [f.pts * f.time_base for f in frames] == [i * Fraction(1001, 30000) for i in range(30)]
    assert video.duration == pytest.approx(1, abs=0.05)
    assert video.problems() == []


def test_times_that_matroska_rounds_to_milliseconds_are_put_back(tmp_path):
    video = VideoReader(write_video(tmp_path / "a.mkv", seconds=2))
    times = [f.pts * f.time_base for f in video]
    assert times == [i * Fraction(1001, 30000) for i in range(60)]


def test_variable_frame_times_survive(tmp_path):
    times = [Fraction(t, 1000) for t in (0, 40, 55, 300, 301, 900, 1000)]
    path = write_video(tmp_path / "a.mkv", times=times, time_base=Fraction(1, 1000), seconds=1)
    assert [f.time for f in VideoReader(path)] == pytest.approx([float(t) for t in times], abs=5e-4)


def test_the_last_picture_stays_as_long_as_the_file_says(tmp_path):
    times = [Fraction(0), Fraction(1, 5), Fraction(13, 25)]
    path = write_video(tmp_path / "a.mkv", times=times, time_base=Fraction(1, 1000), sound=None)
    slow = tmp_path / "b.mkv"
    with av.open(str(path)) as source, av.open(str(slow), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        packets = [packet for packet in source.demux(video=0) if packet.size]
        max(packets, key=lambda packet: packet.pts).duration = 3000
        for packet in packets:
            packet.stream = stream
            target.mux(packet)
    *_, last = VideoReader(slow)
    assert float(last.duration * last.time_base) == pytest.approx(3.0, abs=0.01)


def test_pictures_of_joined_files_are_missed_in_words(tmp_path):
    piece = write_video(tmp_path / "a.ts", seconds=1.5, time_base=Fraction(1, 90000), rate=25)
    joined = tmp_path / "b.ts"
    joined.write_bytes(2 * piece.read_bytes())
    video = VideoReader(joined)
    assert len(list(video)) < 60
    assert any("whose time stamps go back" in line for line in video.problems())


@pytest.mark.parametrize("suffix", [".avi", ".asf"])
def test_times_of_decoding_only_lose_no_picture(tmp_path, suffix):
    b_frames = {"preset": "veryfast", "x264-params": "bframes=3:b-adapt=0:b-pyramid=normal"}
    path = write_video(tmp_path / f"a{suffix}", rate=Fraction(25), options=b_frames, sound=None)
    times = [frame.time for frame in VideoReader(path)]
    assert times == pytest.approx(times[0] + np.arange(50) / 25, abs=0.041)


def test_one_time_stamp_that_is_off_loses_no_picture(tmp_path):
    path = write_video(tmp_path / "a.mkv", rate=Fraction(25), seconds=1, sound=None)
    off = tmp_path / "b.mkv"
    with av.open(str(path)) as source, av.open(str(off), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for n, packet in enumerate(packet for packet in source.demux(video=0) if packet.size):
            packet.pts += 500 * (n == 10)
            packet.stream = stream
            target.mux(packet)
    assert [f.time for f in VideoReader(off)] == pytest.approx(np.arange(25) / 25, abs=1e-3)


def test_the_length_of_matroska_counts_from_its_start(tmp_path):
    video = VideoReader(write_video(tmp_path / "a.mkv", start=5, seconds=1))
    assert video.duration == pytest.approx(1.0, abs=0.1)
    assert len(list(video)) == 30
    assert video.problems() == []


def test_time_starts_with_the_file(tmp_path):
    """MPEG transport streams begin anywhere."""
    path = write_video(tmp_path / "a.ts", start=50, seconds=1, time_base=Fraction(1, 90000))
    video, sound = VideoReader(path), SoundReader(path)
    assert next(iter(video)).time == pytest.approx(0, abs=0.1)
    assert sound.example(0.5).max() > 0


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_a_turned_video_is_shown_upright(tmp_path, degrees):
    path = write_video(tmp_path / "a.mp4", rotation=degrees, seconds=0.2)
    video = VideoReader(path)
    frame = next(iter(video))
    # The display matrix turns counter-clockwise, as np.rot90 does.
    expected = np.rot90(picture(0.0, 160, 96), degrees // 90)
    assert (video.height, video.width) == expected.shape[:2]
    shown = frame.to_ndarray(format="rgb24")
    assert np.abs(shown.astype(int) - expected).mean() < 8


def test_a_mirrored_video_is_shown_as_meant():
    plane = np.arange(6, dtype=np.uint8).reshape(2, 3)
    assert (Orientation(False, True, False).apply(plane) == plane[:, ::-1]).all()
    assert (Orientation(True, True, True).apply(plane) == plane.T[::-1, ::-1]).all()


@pytest.mark.parametrize("pix_fmt", ["yuv444p", "yuvj420p", "yuv420p10le", "yuv422p"])
def test_other_pixel_formats_become_yuv420p_of_the_same_colour(tmp_path, pix_fmt):
    path = write_video(tmp_path / "a.mkv", pix_fmt=pix_fmt, seconds=0.2, sound_seconds=0.2)
    video = VideoReader(path)
    frame = next(iter(video))
    assert frame.format.name == "yuv420p"
    rgb = frame.to_ndarray(format="rgb24").astype(int)
    assert rgb[:20].mean(axis=(0, 1)) == pytest.approx(GREY, abs=6)
    assert rgb[45:50, 45:50].mean(axis=(0, 1)) == pytest.approx(RED, abs=12)


def test_pictures_in_rgb_have_the_right_colours(tmp_path):
    video = VideoReader(write_video(tmp_path / "a.mp4", width=320, height=180, seconds=0.2))
    picture = video.rgb(next(iter(video)))
    assert picture.shape == (180, 320, 3)
    assert picture[:8].mean(axis=(0, 1)) == pytest.approx(GREY, abs=6)


@pytest.mark.parametrize(("height", "yuv"), [(96, (81, 90, 240)), (720, (63, 102, 240))])
def test_untagged_video_is_red_where_players_show_red(tmp_path, height, yuv):
    """ITU-R BT.601, but BT.709 in HD."""
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("rawvideo", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, height, "yuv420p"
        frame = av.VideoFrame(64, height, "yuv420p")
        for plane, value in zip(frame.planes, yuv, strict=True):
            plane.update(bytes([value]) * plane.buffer_size)
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    video = VideoReader(path)
    (frame,) = video
    for rgb in (frame.to_ndarray(format="rgb24"), video.rgb(frame)):
        assert rgb.mean(axis=(0, 1)) == pytest.approx((255, 0, 0), abs=3)


def damage(path: Path, share: float = 0.1) -> None:
    """Overwrite the payload of some packets in the middle."""
    data = bytearray(path.read_bytes())
    first = int(len(data) * 0.45)
    data[first : first + int(len(data) * share)] = bytes(int(len(data) * share))
    path.write_bytes(data)


def test_damage_in_the_middle_is_passed_and_told(tmp_path):
    path = write_video(tmp_path / "a.mp4", container_options={"movflags": "+faststart"})
    damage(path)
    video = VideoReader(path)
    frames = list(video)
    assert frames[-1].time > 1.8
    assert 20 < len(frames) <= 60
    (told,) = problems_of(video)
    assert f"{60 - len(frames)} of 60 pictures are missing" in told


def test_a_file_that_is_cut_off_gives_what_is_there_and_says_so(tmp_path):
    path = write_video(tmp_path / "a.mp4", seconds=4, container_options={"movflags": "+faststart"})
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    video = VideoReader(path)
    assert 10 < len(list(video)) < 110
    assert any("ends early" in problem for problem in video.problems())


def test_what_is_no_video_is_refused_in_words(tmp_path):
    text = tmp_path / "text.mp4"
    text.write_text("not a video\n" * 100)
    empty = tmp_path / "empty.mp4"
    empty.touch()
    cut = write_video(tmp_path / "cut.mp4", seconds=1)  # its index is at the end
    cut.write_bytes(cut.read_bytes()[:2000])
    for path, words in (
        (tmp_path / "none.mp4", "no such file"),
        (tmp_path, "is a folder"),
        (empty, "is empty"),
        (text, "not a video that can be read"),
        (cut, "not a video that can be read"),
    ):
        with pytest.raises(MediaError, match=words) as caught:
            VideoReader(path)
        assert caught.value.hint
        assert "\n" not in caught.value.message


def test_a_file_without_pictures_or_without_sound_is_refused(tmp_path):
    silent = write_video(tmp_path / "silent.mp4", sound=None, seconds=0.2)
    with pytest.raises(MediaError, match=r"silent\.mp4 has no sound"):
        SoundReader(silent)
    blind = tmp_path / "blind.m4a"
    with av.open(str(blind), "w", format="mp4") as output:
        stream = output.add_stream("aac", rate=44100, layout="mono")
        frame = av.AudioFrame.from_ndarray(tone(0.5, 44100, 1, []), "fltp", "mono")
        frame.rate, frame.pts = 44100, 0
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    with pytest.raises(MediaError, match="has no picture"):
        VideoReader(blind)


def program_table(pmt_pids: dict[int, int]) -> bytes:
    """A packet of a transport stream that lists its programs by number."""
    entries = b"".join(struct.pack(">HH", n, 0xE000 | pid) for n, pid in pmt_pids.items())
    section = b"\x00" + struct.pack(">HHBBB", 0xB000 | (len(entries) + 9), 1, 0xC1, 0, 0) + entries
    crc = 0xFFFFFFFF
    for byte in section:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ 0x104C11DB7) if crc >> 31 else crc << 1
    section += struct.pack(">I", crc)
    return (b"\x47\x40\x00\x10\x00" + section).ljust(188, b"\xff")


def test_of_several_programs_the_sound_is_that_of_the_picture(tmp_path):
    stream = program_table({1: 0x110, 2: 0x120})
    for number, seconds, sound_seconds in ((1, 1.5, 0.5), (2, 0.5, 1.5)):  # one more of each
        options = {
            "mpegts_service_id": str(number),
            "mpegts_pmt_start_pid": str(0x100 + 0x10 * number),
            "mpegts_start_pid": str(0x200 + 0x10 * number),
        }
        piece = write_video(
            tmp_path / "piece.ts", seconds=seconds, sound_seconds=sound_seconds, rate=Fraction(25),
            time_base=Fraction(1, 90000), container_options=options,
        ).read_bytes()  # fmt: skip
        packets = (piece[at : at + 188] for at in range(0, len(piece), 188))
        stream += b"".join(packet for packet in packets if packet[1:3] != b"\x40\x00")
    path = tmp_path / "a.ts"
    path.write_bytes(stream)
    with av.open(str(path)) as container:
        picture, sound = best_stream(container, "video"), best_stream(container, "audio")
        assert container.streams.best("audio").id == 0x221
        assert (picture.id, sound.id) == (0x210, 0x211)


def test_names_that_look_like_protocols_or_options_are_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "plain.mp4", seconds=0.2)
    for name in ("a:b.mp4", "-o.mp4", "näme 100%d.mp4"):
        Path("plain.mp4").rename(name)
        assert VideoReader(Path(name)).width == 160
        Path(name).rename("plain.mp4")


def test_another_size_is_fitted_into_the_first_one(tmp_path):
    piece, other = tmp_path / "a.ts", tmp_path / "b.ts"
    write_video(piece, rate=Fraction(25), seconds=1, width=320, height=180)
    write_video(other, rate=Fraction(25), seconds=1, width=180, height=320, start=1)
    joined = tmp_path / "c.ts"
    joined.write_bytes(piece.read_bytes() + other.read_bytes())
    video = VideoReader(joined)
    frames = [frame.to_ndarray(format="rgb24") for frame in video]
    assert {frame.shape for frame in frames} == {(180, 320, 3)}
    last = frames[-1].astype(int)
    assert last[:, :108].max() < 8  # 102 pixels of 320 show 180 x 320
    assert last[:, 212:].max() < 8
    assert last[5:15, 120:200].mean(axis=(0, 1)) == pytest.approx(GREY, abs=6)
    (told,) = problems_of(video)
    assert "changes at 1.0 s from 320 x 180 to 180 x 320" in told


def test_pixels_of_another_shape_keep_the_shape_of_things():
    """Square pixels in a picture whose pixels are half as wide as high."""
    frame = av.VideoFrame(100, 100, "yuv420p")
    for plane, value in zip(planes_of(frame), (200, 90, 90), strict=True):
        plane[:] = value
    frame.pts, frame.time_base = 0, Fraction(1, 25)
    luma = planes_of(letterbox(frame, 200, 100, Fraction(2)))[0]
    assert (luma == 200).all()
    luma = planes_of(letterbox(frame, 200, 100, Fraction(1)))[0]
    assert np.flatnonzero(luma[50] == 200)[[0, -1]].tolist() == [50, 149]


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [("a.avi", "rawvideo", "bgr24"), ("a.mkv", "ffv1", "bgr0"), ("a.mp4", "libx264rgb", "rgb24")],
)
def test_rgb_is_converted_as_accurately_as_ffmpeg_can(tmp_path, name, codec, pix_fmt):
    rng = np.random.default_rng(0)
    rgb = cv2.resize(rng.integers(0, 256, (18, 32, 3), np.uint8), (320, 180))
    with av.open(str(tmp_path / name), "w") as output:
        stream = output.add_stream(codec, rate=25, options={"qp": "0"})
        stream.width, stream.height, stream.pix_fmt = 320, 180, pix_fmt
        picture = av.VideoFrame.from_ndarray(rgb, "rgb24").reformat(format=pix_fmt)
        output.mux(stream.encode(picture))
        output.mux(stream.encode(None))
    (frame,) = VideoReader(tmp_path / name)
    with av.open(str(tmp_path / name)) as stored:
        (source,) = stored.decode(video=0)
    accurate = "flags=bicubic+accurate_rnd+full_chroma_int+full_chroma_inp"
    (best,) = FilterChain(source, ("scale", accurate), ("format", "yuv420p")).push(source)
    red, green, blue = np.moveaxis(rgb / 255, 2, 0)
    y = 0.299 * red + 0.587 * green + 0.114 * blue  # ITU-R BT.601
    exact = [16 + 219 * y]
    for colour, scale in ((blue, 1.772), (red, 1.402)):  # between two lines, on every other column
        full = 128 + 224 * (colour - y) / scale
        exact.append((full[::2, ::2] + full[1::2, ::2]) / 2)
    ours, ffmpegs = (
        [np.abs(plane - right).mean() for plane, right in zip(planes_of(one), exact, strict=True)]
        for one in (frame, best)
    )
    assert ours[0] < 0.3
    assert all(our <= its + 0.01 for our, its in zip(ours, ffmpegs, strict=True))
