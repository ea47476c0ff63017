from fractions import Fraction

import av
import numpy as np
import pytest
from av.codec.context import Flags
from videos import tone

from avsegcli.video.deinterlace import deinterlace, flag_interlaced, is_top_field_first
from avsegcli.video.reader import SoundTrack, VideoReader
from avsegcli.video.writer import VideoWriter

WIDTH, HEIGHT = 320, 240


def write_interlaced(path, codec="mpeg2video", *, top_field_first=True, sound="mp2"):
    """A bar that moves to the right between the two half pictures of each frame."""
    flag = None
    with av.open(str(path), "w") as output:
        stream = output.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.flags |= Flags.interlaced_dct | Flags.interlaced_me
        stream.codec_context.bit_rate = 4_000_000
        audio = output.add_stream(sound, rate=48000, layout="mono")
        samples = (tone(1, 48000, 1, [(0, 1)]) * 20000).astype(np.int16)
        wave = av.AudioFrame.from_ndarray(samples, "s16", "mono")
        wave.rate, wave.pts = 48000, 0
        resampler = av.AudioResampler(audio.codec_context.format, "mono", 48000)
        for piece in resampler.resample(wave):
            output.mux(audio.encode(piece))
        output.mux(audio.encode(None))
        for number in range(25):
            rgb = np.full((HEIGHT, WIDTH, 3), 60, np.uint8)
            for field in (0, 1):
                left = 10 + 10 * number + 5 * (field if top_field_first else 1 - field)
                rgb[field::2, left : left + 40] = 220
            frame = av.VideoFrame.from_ndarray(rgb, "rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            flag = flag or flag_interlaced(frame, top_field_first=top_field_first)
            (frame,) = flag.push(frame)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


def combing(frame) -> float:
    """How much the brightness differs from line to line, in grey levels."""
    grey = frame.to_ndarray(format="gray").astype(int)
    return float(np.abs(np.diff(grey, axis=0)).mean())


@pytest.mark.parametrize(("name", "codec"), [("a.mpg", "mpeg2video"), ("a.ts", "libx264")])
def test_each_interlaced_frame_becomes_a_whole_picture(tmp_path, name, codec):
    path = write_interlaced(tmp_path / name, codec)
    frames, kept = list(VideoReader(path)), list(VideoReader(path, deinterlace=False))
    assert [frame.pts for frame in frames] == [frame.pts for frame in kept]
    assert len(frames) == 25
    assert min(combing(frame) for frame in kept[2:-2]) > 3
    assert max(combing(frame) for frame in frames) < 0.2
    assert not any(frame.interlaced_frame for frame in frames)


@pytest.mark.parametrize("top_field_first", [True, False])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_what_stays_interlaced_is_flagged_so(tmp_path, suffix, top_field_first):
    path = write_interlaced(tmp_path / "a.ts", "libx264", top_field_first=top_field_first)
    video, output = VideoReader(path, deinterlace=False), tmp_path / f"b{suffix}"
    assert video.top_field_first is top_field_first
    with VideoWriter(output, video, SoundTrack(path)) as writer:
        for frame in video:
            writer.write(frame)
    with av.open(str(output)) as written:
        frames = list(written.decode(video=0))
    assert all(frame.interlaced_frame for frame in frames)
    assert is_top_field_first(frames[12]) is top_field_first
    assert combing(frames[12]) > 3


def test_progressive_frames_are_passed_as_they_are(tmp_path):
    frames = [av.VideoFrame(16, 16, "yuv420p") for _ in range(3)]
    assert all(one is other for one, other in zip(deinterlace(frames), frames, strict=True))


def test_the_size_may_change_within(tmp_path):
    frames = []
    for number, width in enumerate([64, 64, 32, 32]):
        frame = av.VideoFrame(width, 48, "yuv420p")
        frame.pts, frame.time_base = number, Fraction(1, 25)
        (flagged,) = flag_interlaced(frame, top_field_first=True).push(frame)
        frames.append(flagged)
    done = list(deinterlace(frames))
    assert [(frame.pts, frame.width) for frame in done] == [(0, 64), (1, 64), (2, 32), (3, 32)]
