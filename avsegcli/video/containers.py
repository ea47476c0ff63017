"""Container formats of written videos, and the codecs that each takes."""

from pathlib import Path
from typing import NamedTuple

from avsegcli.errors import MediaError

X264 = ("libx264", {"preset": "veryfast", "crf": "20"})
VP9 = (
    "libvpx-vp9",
    {"crf": "32", "b": "0", "deadline": "realtime", "cpu-used": "7", "row-mt": "1"},
)
MPEG_SOUND = frozenset({"aac", "mp3", "ac3", "eac3", "alac"})
PCM = frozenset({"pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_f32le", "pcm_u8", "pcm_s16be"})
PICTURES_OF_TEXT = frozenset({"dvb_subtitle", "dvd_subtitle", "hdmv_pgs_subtitle"})
START_FIRST = {"movflags": "+faststart"}


class Container(NamedTuple):
    """A container format and its codecs."""

    muxer: str  # FFmpeg's name
    video: tuple[str, dict[str, str]]  # encoder and its options
    sound: str  # encoder of sound that cannot be copied
    copied: frozenset[str]  # codecs of sound that the container takes and players play
    options: dict[str, str]  # of the muxer
    subtitles: frozenset[str] = frozenset({"mov_text"})  # codecs of those that it takes
    text: str = "mov_text"  # encoder of other text


CONTAINERS = {
    ".mp4": Container("mp4", X264, "aac", MPEG_SOUND | {"opus", "flac"}, START_FIRST),
    ".m4v": Container("mp4", X264, "aac", MPEG_SOUND, START_FIRST),
    ".mov": Container("mov", X264, "aac", MPEG_SOUND | PCM, START_FIRST),
    ".mkv": Container(
        "matroska",
        X264,
        "aac",
        MPEG_SOUND | PCM | {"opus", "vorbis", "flac", "mp2", "dts", "truehd"},
        {},
        frozenset({"ass", "subrip", "webvtt"}) | PICTURES_OF_TEXT,
        "subrip",
    ),
    ".webm": Container(
        "webm", VP9, "libopus", frozenset({"opus", "vorbis"}), {}, frozenset({"webvtt"}), "webvtt"
    ),
}


def container_of(output: Path) -> Container:
    """Return what the suffix of an output stands for.

    Raises:
        MediaError: if it stands for nothing that can be written.
    """
    try:
        return CONTAINERS[output.suffix.lower()]
    except KeyError:
        raise MediaError(
            f"cannot write {output}: no video format is known by the suffix "
            f"{output.suffix or '(none)'}",
            f"Use one of {', '.join(CONTAINERS)}, .gif.",
        ) from None
