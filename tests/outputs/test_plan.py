"""Every kind of output, read back by what others would read it with."""

import base64
import csv
import io
import json
import re
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from pycocotools import mask as coco
from videos import GREY, Read, RedWhenLoud, square_at, write_video

from avsegcli.datasets.io import read_indices
from avsegcli.errors import ConfigError, MediaError
from avsegcli.render.colors import class_colour
from avsegcli.segment.segmenter import Segmenter
from avsegcli.video.writer import VideoWriter

ON = ((0.5, 2.0),)
BT709, BT2020, PQ, HLG = 1, 9, 16, 18  # FFmpeg's numbers of colours and transfer curves


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "square.mp4"
    return write_video(path, width=160, height=96, seconds=2, on=ON)


@pytest.fixture
def segmenter():
    return Segmenter(RedWhenLoud())


def truth_at(time: float, width: int = 160, height: int = 96) -> np.ndarray:
    left, top, side = square_at(time, width, height)
    truth = np.zeros((height, width), bool)
    truth[top : top + side, left : left + side] = True
    return truth


def iou(one: np.ndarray, other: np.ndarray) -> float:
    return (one & other).sum() / (one | other).sum()


def test_masks_are_palette_pictures_of_class_indices(clip, segmenter, tmp_path):
    segmenter.segment_file(clip, masks=tmp_path / "m")
    names = sorted(path.name for path in (tmp_path / "m").iterdir())
    assert len(names) == 8 + 2
    assert names[0] == "000000.png"
    classes = json.loads((tmp_path / "m" / "classes.json").read_text())
    assert classes == {"background": 0, "hummer": 1, "beeper": 2}
    picture = tmp_path / "m" / names[4]
    labels = read_indices(picture)
    assert iou(labels == 2, truth_at(int(picture.stem) * 1001 / 30000)) > 0.8
    colour = cv2.imread(str(picture))[labels == 2][0][::-1]
    assert tuple(colour.tolist()) == class_colour(2)


def test_masks_of_every_frame_if_asked(clip, segmenter, tmp_path):
    segmenter.segment_file(clip, masks=tmp_path / "m", every_frame=True)
    assert len(list((tmp_path / "m").glob("*.png"))) == 60


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # in decode
def test_json_holds_objects_with_run_lengths_and_events(clip, segmenter, tmp_path):
    segmenter.segment_file(clip, json=tmp_path / "a.json")
    data = json.loads((tmp_path / "a.json").read_text())
    assert data["classes"] == ["background", "hummer", "beeper"]
    assert (data["width"], data["height"]) == (160, 96)
    assert len(data["frames"]) == 8
    assert data["frames"][0]["objects"] == []
    frame = data["frames"][5]
    (found,) = frame["objects"]
    mask = coco.decode(found["segmentation"]).astype(bool)
    assert iou(mask, truth_at(frame["time"])) > 0.8
    assert found["area"] == mask.sum()
    rows, columns = np.nonzero(mask)
    left, top, width, height = found["box"]
    assert (left, top) == (columns.min(), rows.min())
    assert (left + width, top + height) == (columns.max() + 1, rows.max() + 1)
    assert found["class"] == "beeper"
    (event,) = data["events"]
    assert event["class"] == "beeper"
    assert event["end"] == pytest.approx(2.0, abs=0.05)
    assert 0.8 < event["score"] <= 1


@pytest.mark.parametrize(
    ("suffix", "decoder", "pix_fmt"),
    [(".mov", "prores", "yuva444p10le"), (".webm", "libvpx-vp9", "yuva420p")],
)
def test_the_video_with_alpha_is_opaque_where_it_sounds(
    clip, segmenter, tmp_path, suffix, decoder, pix_fmt
):
    output = tmp_path / f"cut{suffix}"
    segmenter.segment_file(clip, alpha_video=output)
    with av.open(str(output)) as container:
        assert len(container.streams.audio) == 1
        context = av.CodecContext.create(decoder, "r")
        context.extradata = container.streams.video[0].codec_context.extradata
        context.width, context.height = 160, 96
        frames = [
            frame
            for packet in container.demux(container.streams.video[0])
            for frame in (context.decode(packet) if packet.size else [])
        ]
    frame = frames[45]
    assert frame.format.name.startswith("yuva")
    alpha = frame.to_ndarray(format="rgba")[..., 3]
    assert iou(alpha > 128, truth_at(1.5)) > 0.75
    assert frames[2].to_ndarray(format="rgba")[..., 3].max() < 10


def test_timelines_say_which_class_sounds_when(clip, segmenter, tmp_path):
    files = [tmp_path / f"t{suffix}" for suffix in (".csv", ".srt", ".vtt", ".png")]
    segmenter.segment_file(clip, timeline=files)
    (row,) = csv.DictReader(io.StringIO(files[0].read_text()))
    assert row["class"] == "beeper"
    assert float(row["end"]) == pytest.approx(2.0, abs=0.05)
    with av.open(str(files[1])) as subtitles:
        (packet,) = [packet for packet in subtitles.demux() if packet.size]
        assert bytes(packet) == b"beeper"
    assert files[2].read_text().startswith("WEBVTT\n\n00:00:00.")
    picture = cv2.imread(str(files[3]))[..., ::-1].astype(int)
    share = (np.abs(picture - class_colour(2)).max(axis=2) < 6).mean(axis=0).astype(bool).mean()
    assert 0.5 < share < 0.75  # the bar takes three quarters of the lane


def test_a_gif_plays_at_most_10_frames_a_second(clip, segmenter, tmp_path):
    segmenter.segment_file(clip, tmp_path / "a.gif")
    with av.open(str(tmp_path / "a.gif")) as container:
        frames = list(container.decode(video=0))
    assert 16 <= len(frames) <= 20
    assert frames[-1].time == pytest.approx(1.95, abs=0.15)
    rgb = frames[12].to_ndarray(format="rgb24")
    assert rgb.shape == (96, 160, 3)
    assert rgb[-10:, -10:].mean(axis=(0, 1)) == pytest.approx(GREY, abs=12)


STYLES = ("overlay", "outline", "spotlight", "cutout", "side-by-side", "blur-others")


@pytest.mark.parametrize("style", STYLES)
def test_each_style_shows_what_sounds(clip, segmenter, tmp_path, style):
    segmenter.segment_file(
        clip, tmp_path / "a.mp4", style=style, legend=False, labels=False, palette=[(0, 0, 0)]
    )
    rgb = Read(tmp_path / "a.mp4").near(1.5).astype(int)
    assert rgb.shape == (96, 320 if style == "side-by-side" else 160, 3)
    left, top, side = square_at(1.5, 160, 96)
    middle = rgb[top + side // 2, left + side // 2]
    beyond = rgb[85:, 140:158].mean(axis=(0, 1))
    if style == "overlay":
        assert abs(middle - (np.array([230, 30, 30]) + class_colour(2)) / 2).max() < 40
    else:
        assert middle[0] - middle[1] > 130
    if style in ("spotlight", "cutout"):
        assert beyond.mean() < 50
    else:
        assert beyond == pytest.approx(GREY, abs=8)


def test_many_outputs_at_once_appear_together_and_nothing_else(clip, segmenter, tmp_path):
    summary = segmenter.segment_file(
        clip,
        tmp_path / "a.mkv",
        masks=tmp_path / "m",
        json=tmp_path / "a.json",
        timeline=tmp_path / "a.csv",
    )
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["a.csv", "a.json", "a.mkv", "m"]
    assert sorted(path.name for path in summary.outputs) == names


def test_if_one_output_fails_none_appears(clip, segmenter, tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("avsegcli.outputs.plan.write_timeline", full)
    with pytest.raises(MediaError, match=r"cannot write .*a\.csv: no space left on device"):
        segmenter.segment_file(
            clip, tmp_path / "a.mp4", masks=tmp_path / "m", timeline=tmp_path / "a.csv"
        )
    assert list(tmp_path.iterdir()) == []


def test_a_start_that_fails_copies_no_sound_and_leaves_nothing(
    clip, segmenter, tmp_path, monkeypatch
):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    ended = []
    monkeypatch.setattr("avsegcli.outputs.plan.MaskFolder", full)
    monkeypatch.setattr(VideoWriter, "__exit__", lambda self, kind, *_: ended.append(kind))
    with pytest.raises(MediaError, match="no space left on device"):
        segmenter.segment_file(clip, tmp_path / "a.mp4", masks=tmp_path / "m")
    assert ended == [MediaError]
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_masks_is_replaced_only_if_it_holds_nothing_else(clip, segmenter, tmp_path):
    folder = tmp_path / "m"
    segmenter.segment_file(clip, masks=folder, fps=1)
    with pytest.raises(MediaError, match="exists already"):
        segmenter.segment_file(clip, masks=folder)
    segmenter.segment_file(clip, masks=folder, overwrite=True)
    assert len(list(folder.glob("*.png"))) == 8
    (folder / "diary.txt").write_text("precious")
    with pytest.raises(MediaError, match="holds other files than masks"):
        segmenter.segment_file(clip, masks=folder, overwrite=True)
    assert (folder / "diary.txt").read_text() == "precious"


def test_what_lies_in_the_folder_of_masks_by_the_end_stays(clip, segmenter, tmp_path):
    folder = tmp_path / "m"
    folder.mkdir()

    def interfere(*_):
        (folder / "diary.txt").write_text("precious")

    with pytest.raises(MediaError, match="holds other files than masks"):
        segmenter.segment_file(clip, masks=folder, progress=interfere)
    assert [path.name for path in tmp_path.rglob("*.txt")] == ["diary.txt"]
    with pytest.raises(ConfigError, match="would lie in the folder of the masks"):
        segmenter.segment_file(clip, masks=tmp_path / "n", json=tmp_path / "n" / "a.json")


def test_an_empty_folder_that_cannot_be_replaced_is_filled(clip, segmenter, tmp_path, monkeypatch):
    folder = tmp_path / "m"
    folder.mkdir()
    number = folder.stat().st_ino  # as that of a mounted disk, it must stay
    segmenter.segment_file(clip, masks=folder, fps=1)
    assert folder.stat().st_ino == number
    assert sorted(path.name for path in folder.iterdir())[-2:] == ["classes.json", "times.csv"]
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_encoder_quality_and_preset_are_used(clip, segmenter, tmp_path):
    for crf in (10, 45):
        segmenter.segment_file(clip, tmp_path / f"{crf}.mp4", crf=crf, preset="ultrafast")
    assert (tmp_path / "10.mp4").stat().st_size > (tmp_path / "45.mp4").stat().st_size
    segmenter.segment_file(clip, tmp_path / "a.mkv", codec="libvpx-vp9", crf=40)
    assert Read(tmp_path / "a.mkv").codec == "vp9"


@pytest.mark.parametrize(
    ("codec", "preset", "name"), [("libx265", "ultrafast", "hevc"), ("libsvtav1", "12", "av1")]
)
def test_newer_codecs_are_written_whole(clip, segmenter, tmp_path, codec, preset, name):
    segmenter.segment_file(clip, tmp_path / "a.mp4", codec=codec, preset=preset)
    with av.open(str(tmp_path / "a.mp4")) as written, av.open(str(clip)) as source:
        assert written.streams.video[0].codec_context.codec.canonical_name == name
        pairs = zip(written.decode(video=0), source.decode(video=0), strict=True)
        for ours, theirs in pairs:
            assert abs(ours.time - theirs.time) < 1e-3
            corner = np.s_[-16:, :16]  # nothing is painted there
            assert np.abs(luma(ours)[corner] - luma(theirs)[corner]).mean() < 4


@pytest.mark.parametrize(
    ("codec", "size", "pix_fmt"),
    [
        ("prores_ks", (160, 96), "yuv422p10le"),
        ("prores_ks", (161, 97), "yuv444p12le"),
        ("mjpeg", (160, 96), "yuvj420p"),
    ],
)
def test_an_encoder_has_the_pixels_that_it_takes(segmenter, tmp_path, codec, size, pix_fmt):
    width, height = size
    source = write_video(
        tmp_path / "a.mkv", width=width, height=height, pix_fmt="yuv444p", seconds=0.2
    )
    segmenter.segment_file(source, tmp_path / "b.mov", codec=codec)
    written = Read(tmp_path / "b.mov")
    assert (written.size, written.pix_fmt) == (size, pix_fmt)
    assert written.near(0.1)[-8:, -8:].mean(axis=(0, 1)) == pytest.approx(GREY, abs=4)


def test_options_that_an_encoder_does_not_know_are_refused(clip, segmenter, tmp_path):
    for codec, option in (("mpeg4", {"crf": 5}), ("ffv1", {"preset": "fast"})):
        with pytest.raises(ConfigError, match=f"{codec} knows no {next(iter(option))}"):
            segmenter.segment_file(clip, tmp_path / "b.mkv", codec=codec, **option)


def test_encoders_tell_errors_only(clip, segmenter, tmp_path, capfd):
    segmenter.segment_file(clip, tmp_path / "a.mp4", codec="libx265", preset="ultrafast")
    assert capfd.readouterr() == ("", "")
    for codec in ("libx264", "libx265", "libsvtav1", "libvpx-vp9"):
        with pytest.raises(ConfigError, match=rf"{codec} does not work with: preset lightning$"):
            segmenter.segment_file(clip, tmp_path / "b.mp4", codec=codec, preset="lightning")
    with pytest.raises(ConfigError, match=r"libx265 does not work with: crf 60$"):
        segmenter.segment_file(clip, tmp_path / "b.mp4", codec="libx265", crf=60)
    assert capfd.readouterr() == ("", "")


def test_encoders_that_know_a_few_rates_or_coarse_times_only_are_used(clip, segmenter, tmp_path):
    for codec in ("mpeg2video", "mpeg4"):
        source = write_video(tmp_path / f"{codec}.mkv", seconds=0.4, time_base=Fraction(1, 90090))
        segmenter.segment_file(source, tmp_path / f"{codec}.mp4", codec=codec)
        ours, theirs = Read(tmp_path / f"{codec}.mp4"), Read(source)
        assert ours.codec == codec
        assert ours.times == pytest.approx(theirs.times, abs=2e-3)
    times = [Fraction(tick, 1000) for tick in (0, 9, 25, 33, 50, 200, 400)]  # two in one tick
    uneven = write_video(tmp_path / "u.mkv", times=times, rate=Fraction(25), time_base=times[1] / 9)
    segmenter.segment_file(uneven, tmp_path / "c.mkv", codec="mpeg2video")
    odd = write_video(tmp_path / "odd.mp4", seconds=0.4, rate=Fraction(17))
    with pytest.raises(MediaError, match=r"mpeg2video does not take .*odd.mp4, of 17 frames"):
        segmenter.segment_file(odd, tmp_path / "b.mp4", codec="mpeg2video")


@pytest.mark.parametrize(
    ("sound", "suffix", "codec", "shown"),
    [
        ("aac", None, None, ("h264", "aac")),
        ("ac3", None, None, ("h264", "aac")),
        ("ac3", ".mp4", None, ("h264", "aac")),
        ("ac3", ".webm", None, ("vp9", "opus")),
        ("aac", ".mp4", "mpeg4", ("h264", "aac")),
    ],
)
def test_the_report_carries_what_browsers_play(segmenter, tmp_path, sound, suffix, codec, shown):
    source = write_video(tmp_path / "a.mkv", seconds=0.2, sound=sound)
    output = tmp_path / f"b{suffix}" if suffix else None
    segmenter.segment_file(source, output, codec=codec, report=tmp_path / "r.html")
    found = re.search(r"data:video/\w+;base64,([\w+/=]+)", (tmp_path / "r.html").read_text())
    with av.open(io.BytesIO(base64.b64decode(found[1]))) as container:
        codecs = [stream.codec_context.codec.canonical_name for stream in container.streams]
    assert tuple(codecs) == shown


def test_the_report_of_a_video_of_odd_size_has_chroma_that_all_browsers_know(segmenter, tmp_path):
    source = write_video(tmp_path / "a.mkv", seconds=0.2, width=97, height=65, pix_fmt="yuv444p")
    segmenter.segment_file(source, tmp_path / "b.mp4", report=tmp_path / "r.html")
    found = re.search(r"data:video/\w+;base64,([\w+/=]+)", (tmp_path / "r.html").read_text())
    with av.open(io.BytesIO(base64.b64decode(found[1]))) as container:
        context = container.streams.video[0].codec_context
        assert (context.width, context.height, context.pix_fmt) == (97, 65, "yuv420p")


def test_options_of_an_encoder_without_a_video_to_encode_are_refused(clip, segmenter, tmp_path):
    for options in ({"codec": "libx264"}, {"crf": 20}, {"preset": "fast"}):
        for outputs in ({"output": tmp_path / "a.gif"}, {"report": tmp_path / "a.html"}):
            with pytest.raises(ConfigError, match="no painted video that is encoded so"):
                segmenter.segment_file(clip, **outputs, **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("curve", [PQ, HLG])
def test_an_hdr_video_becomes_an_ordinary_one(segmenter, tmp_path, curve):
    source = write_hdr_video(tmp_path / "hdr.mp4", curve)
    segmenter.segment_file(source, tmp_path / "out.mp4", legend=False)
    with av.open(str(source)) as hdr, av.open(str(tmp_path / "out.mp4")) as written:
        theirs, ours = next(hdr.decode(video=0)), next(written.decode(video=0))
        context = written.streams.video[0].codec_context
        tags = ours.colorspace, context.color_trc, context.color_primaries
        assert ([int(tag) for tag in tags], ours.format.name) == ([BT709] * 3, "yuv420p")
        # What a screen of ordinary white cannot show is bright, and the rest has kept its order.
        row, stored = luma(ours)[8], luma(theirs)[8]
        assert (np.diff(row) > -4).all()
        assert row[stored > 700].min() > 215
        assert row[0] < 30


def luma(frame) -> np.ndarray:
    plane = frame.planes[0]
    dtype = np.uint16 if "10" in frame.format.name else np.uint8
    rows = np.frombuffer(plane, dtype).reshape(plane.height, -1)
    return rows[:, : plane.width].astype(float)


def write_hdr_video(path: Path, curve: int) -> Path:
    """Half a second of a steady ramp with a tone, ten bits, BT.2020."""
    with av.open(str(path), "w") as output:
        video = output.add_stream("libx264", rate=10, options={"preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = 160, 96, "yuv420p10le"
        context = video.codec_context
        context.color_trc, context.color_primaries, context.colorspace = curve, BT2020, BT2020
        sound = output.add_stream("aac", rate=16000, layout="mono")
        for _ in range(5):
            frame = av.VideoFrame(160, 96, "yuv420p10le")
            for index, plane in enumerate(frame.planes):
                rows = np.frombuffer(plane, np.uint16).reshape(plane.height, -1)
                rows[:] = np.linspace(100, 900, rows.shape[1]) if index == 0 else 512
            output.mux(video.encode(frame))
        output.mux(video.encode(None))
        tone = (0.5 * np.sin(np.arange(8000) / 6)).astype(np.float32)[None]
        frame = av.AudioFrame.from_ndarray(tone, "fltp", "mono")
        frame.rate = 16000
        output.mux(sound.encode(frame))
        output.mux(sound.encode(None))
    return path


def test_wrong_encoders_styles_and_suffixes_are_refused(clip, segmenter, tmp_path):
    encoders = {"codec": "nosuch"}, {"preset": "lightning"}
    others = (
        *({"style": "cubist"}, {"fps": "4"}, {"threshold": "high"}, {"alpha": "a"}),
        {"audio_stream": "1"},
    )
    for wrong in (*encoders, *others):
        with pytest.raises(ConfigError):
            segmenter.segment_file(clip, tmp_path / "a.mp4", **wrong)
    with pytest.raises(ConfigError, match=r"libx264 does not work with: .*preset lightning"):
        segmenter.segment_file(clip, tmp_path / "a.mp4", preset="lightning")
    with pytest.raises(ConfigError, match="no video encoder is called 'aac'"):
        segmenter.segment_file(clip, tmp_path / "a.mp4", codec="aac")
    with pytest.raises(ConfigError, match="the encoder png takes no YUV frames, only rgb24, "):
        segmenter.segment_file(clip, tmp_path / "a.mov", codec="png")
    with pytest.raises(ConfigError, match=r"no \.webm file holds what libx264 encodes"):
        segmenter.segment_file(clip, tmp_path / "a.webm", codec="libx264")
    for colour in ((300, 0, 0), (1, 2), (1, 2, 3, 4), (0.5, 0, 0), "#ff0000", 7):
        with pytest.raises(ConfigError, match="in the palette is not three whole numbers"):
            segmenter.segment_file(clip, tmp_path / "a.mp4", palette=[colour])
    with pytest.raises(ConfigError, match="no engine is called 'tpu'"):
        Segmenter(engine="tpu")
    for wrong in ({"alpha_video": "a.mp4"}, {"timeline": "a.doc"}, {"report": "a.pdf"}):
        with pytest.raises(MediaError):
            segmenter.segment_file(clip, **wrong)
    with pytest.raises(ConfigError, match="no output"):
        segmenter.segment_file(clip)
    assert list(tmp_path.iterdir()) == []


def test_the_package_offers_the_segmenter_without_importing_it():
    program = (
        "import sys, avsegcli\nassert 'Segmenter' in dir(avsegcli)\n"
        "assert 'numpy' not in sys.modules\n"
        "from avsegcli import Segmenter\nprint(Segmenter.__module__)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "avsegcli.segment.segmenter\n", done.stderr
