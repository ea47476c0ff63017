"""Compose the example clips from pictures and sounds of Debian packages.

    apt-get install tuxpaint-stamps-default tuxpaint-data lomiri-wallpapers-16.04 \\
        fluid-soundfont-gm fluidsynth espeak-ng
    python examples/make_clips.py --out examples

Each clip is one photo filmed by a slow virtual camera. Photo stamps of Tux Paint stand in it,
with the light, blur and grain of the photo and a shadow on the ground. What sounds moves a
little with its sound. The sounds are recordings that come with the stamps, instruments rendered
from the FluidR3 soundfont and a voice by eSpeak NG. The same packages give the same clips.
"""

import argparse
import struct
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import av
import cv2
import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

Image = NDArray[np.float32]  # (H, W, 3) RGB or (H, W, 4) RGB premultiplied by alpha, in [0, 1]
Wave = NDArray[np.float32]  # (S,) mono at SAMPLE_RATE, in [-1, 1]
Point = tuple[float, float]  # x, y in pixels

WIDTH, HEIGHT, FPS = 640, 360, 25
SCENE = (1408, 792)  # width, height of the composed picture: 2.2 times the clip's
SAMPLE_RATE = 44_100  # Hz
MIDI_TICKS_PER_S = 960  # 480 a quarter note at the default 120 beats a minute

STAMPS = "usr/share/tuxpaint/stamps"
TEMPLATES = "usr/share/tuxpaint/templates"
LOMIRI = "usr/share/backgrounds"
SOUNDFONT = "usr/share/sounds/sf2/FluidR3_GM.sf2"


# --- Sound -----------------------------------------------------------------------------------


def load_sound(path: Path, start_s: float = 0.0, end_s: float | None = None) -> Wave:
    """Read a part of a recording, with 15 ms fades, peak 1."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    wave = soxr.resample(samples.mean(axis=1), rate, SAMPLE_RATE).astype(np.float32)
    wave = wave[int(start_s * SAMPLE_RATE) : None if end_s is None else int(end_s * SAMPLE_RATE)]
    return fade(wave / np.abs(wave).max(), 0.015)


def fade(wave: Wave, seconds: float) -> Wave:
    """Fade a sound in over 5 ms and out over ``seconds``."""
    gain = np.ones(len(wave), np.float32)
    rise, fall = int(0.005 * SAMPLE_RATE), int(seconds * SAMPLE_RATE)
    gain[:rise] = np.linspace(0.0, 1.0, rise)
    gain[-fall:] *= np.linspace(1.0, 0.0, fall)
    return wave * gain


def pitched(wave: Wave, ratio: float) -> Wave:
    """Play a sound ``ratio`` times faster and higher, as a smaller animal would utter it."""
    return np.asarray(soxr.resample(wave, ratio * SAMPLE_RATE, SAMPLE_RATE), np.float32)


@dataclass(frozen=True)
class Note:
    start_s: float
    length_s: float
    key: int  # MIDI note; on the drum channel, the drum
    velocity: int = 96


def render_notes(
    root: Path, notes: list[Note], length_s: float, program: int = 0, drums: bool = False
) -> Wave:
    """Render notes with the FluidR3 soundfont; peak 1, faded out at ``length_s``."""
    channel = 9 if drums else 0
    events = [(0, bytes([0xC0 | channel, program]))]
    for note in notes:
        start = round(note.start_s * MIDI_TICKS_PER_S)
        end = round((note.start_s + note.length_s) * MIDI_TICKS_PER_S)
        events.append((start, bytes([0x90 | channel, note.key, note.velocity])))
        events.append((end, bytes([0x80 | channel, note.key, 0])))
    track, now = b"", 0
    for tick, message in sorted(events):
        track += _midi_number(tick - now) + message
        now = tick
    track += b"\x00\xff\x2f\x00"  # end of track
    midi = struct.pack(">4sIHHH", b"MThd", 6, 0, 1, MIDI_TICKS_PER_S // 2)
    midi += struct.pack(">4sI", b"MTrk", len(track)) + track

    with tempfile.TemporaryDirectory() as folder:
        score, audio = Path(folder, "score.mid"), Path(folder, "audio.wav")
        score.write_bytes(midi)
        command = ["fluidsynth", "-ni", "-q", "-g", "0.8", "-r", str(SAMPLE_RATE), "-F", audio]
        subprocess.run([*command, root / SOUNDFONT, score], check=True, capture_output=True)
        return fade(load_sound(audio, end_s=length_s), 0.08)


def _midi_number(value: int) -> bytes:
    """Encode a delta time: seven bits a byte, the high bit set on all but the last."""
    digits = [value & 0x7F]
    while value := value >> 7:
        digits.append(0x80 | value & 0x7F)
    return bytes(reversed(digits))


def speak(text: str, voice: str = "en-gb", words_a_minute: int = 150) -> Wave:
    """Say a sentence with eSpeak NG."""
    with tempfile.TemporaryDirectory() as folder:
        audio = Path(folder, "speech.wav")
        command = ["espeak-ng", "-v", voice, "-s", str(words_a_minute), "-w", audio, text]
        subprocess.run(command, check=True, capture_output=True)
        return load_sound(audio)


def mix(sounds: list[tuple[float, float, Wave]], length_s: int, seed: int, room: float) -> Wave:
    """Place sounds on a track.

    Args:
        sounds: ``(start in seconds, gain, wave)`` of each.
        length_s: length of the track, s.
        seed: of the reverberation and the background hiss.
        room: share of the reverberation of a small room, in [0, 1].

    Returns:
        The track, peak 0.8, with a hiss 50 dB below full scale.
    """
    rng = np.random.default_rng(seed)
    dry = np.zeros(length_s * SAMPLE_RATE, np.float32)
    for start_s, gain, wave in sounds:
        start = round(start_s * SAMPLE_RATE)
        part = wave[: len(dry) - start]
        dry[start : start + len(part)] += np.float32(gain) * part
    tail_s = np.arange(int(0.25 * SAMPLE_RATE)) / SAMPLE_RATE
    echo = rng.standard_normal(len(tail_s)) * np.exp(-tail_s / 0.05)
    echo /= np.sqrt(np.sum(echo**2))
    size = len(dry) + len(echo)
    wet = np.fft.irfft(np.fft.rfft(dry, size) * np.fft.rfft(echo, size), size)[: len(dry)]
    track = dry + room * wet
    track *= 0.8 / np.abs(track).max()
    hiss = np.convolve(rng.standard_normal(len(track)), np.full(8, 1 / 8), "same")
    return (track + 10 ** (-50 / 20) * hiss / hiss.std()).astype(np.float32)


def loudness(sounds: list[tuple[float, float, Wave]], length_s: int) -> NDArray[np.float32]:
    """Smoothed level of some sounds for each video frame, ``(length_s * FPS,)``, peak 1."""
    dry = np.zeros(length_s * SAMPLE_RATE, np.float32)
    for start_s, _, wave in sounds:
        start = round(start_s * SAMPLE_RATE)
        part = wave[: len(dry) - start]
        dry[start : start + len(part)] += part
    level = np.sqrt(np.mean(dry.reshape(length_s * FPS, -1) ** 2, axis=1))
    level = np.convolve(level, [0.2, 0.4, 0.3, 0.1], "same")
    return (level / max(level.max(), 1e-6)).astype(np.float32)


# --- Picture ---------------------------------------------------------------------------------


def load_rgb(path: Path) -> Image:
    """Read a photo as ``(H, W, 3)``."""
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB).astype(np.float32) / 255


def crop_scene(photo: Image, left: float, top: float, width: float) -> Image:
    """Cut a 16:9 piece out of a photo and scale it to the size of the scene."""
    scale = SCENE[0] / width
    matrix = np.array([[scale, 0, -left * scale], [0, scale, -top * scale]], np.float32)
    shrunk = cv2.GaussianBlur(photo, (0, 0), 0.45 / scale) if scale < 1 else photo
    scene = cv2.warpAffine(
        shrunk, matrix, SCENE, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT
    )
    return scene.clip(0, 1)


@dataclass(frozen=True)
class Prop:
    """A stamp that stands in the scene."""

    stamp: str
    foot: Point  # the point of the stamp that touches the ground, as a share of its size
    place: Point  # where this point is in the scene, px
    width: float  # of the stamp in the scene, px
    angle: float = 0.0  # degrees, anticlockwise
    flip: bool = False
    blur: float = 0.8  # px in the scene; the softness of the photo at this place
    light: tuple[float, float, float] = (1.0, 1.0, 1.0)  # gain of R, G, B
    contrast: float = 1.0
    haze: float = 0.0  # lifts the darkest colours, as the lens does in the photo
    shade: float = 0.0  # how much darker the ground side is
    shadow: tuple[float, float, float, float] = (0.6, 0.25, 10.0, 0.35)  # lean, squash, px, dark
    contact: tuple[float, float, float] = (30.0, 8.0, 0.5)  # radii in px and darkness
    sink: float = 0.0  # px at the foot that strands of the ground cover
    sway: Point = (0.0, 0.0)  # degrees and px that it turns and rises at its loudest
    level: NDArray[np.float32] | None = field(default=None, compare=False)  # for each frame


def load_stamp(root: Path, prop: Prop) -> Image:
    """Read a stamp, lit as the scene, premultiplied by its alpha."""
    pixels = cv2.imread(str(root / STAMPS / f"{prop.stamp}.png"), cv2.IMREAD_UNCHANGED)
    rgba = cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA).astype(np.float32) / 255
    rgb, alpha = rgba[..., :3], rgba[..., 3:]
    rgb = (rgb - 0.5) * prop.contrast + 0.5
    rgb = prop.haze + (1 - prop.haze) * rgb * np.array(prop.light, np.float32)
    rgb *= np.linspace(1 + prop.shade / 2, 1 - prop.shade / 2, len(rgb))[:, None, None]
    stamp = np.concatenate([rgb.clip(0, 1) * alpha, alpha], axis=2).astype(np.float32)
    border = 4
    stamp = cv2.copyMakeBorder(stamp, *[border] * 4, cv2.BORDER_CONSTANT, value=(0, 0, 0, 0))
    return stamp[:, ::-1].copy() if prop.flip else stamp


def place_stamp(stamp: Image, prop: Prop, frame: int, flat: bool = False) -> Image:
    """Draw a stamp on an empty scene; ``flat``, lying on the ground as its shadow does."""
    height, width = stamp.shape[:2]
    scale = prop.width / (width - 8)
    foot_x = (1 - prop.foot[0] if prop.flip else prop.foot[0]) * (width - 8) + 4
    foot_y = prop.foot[1] * (height - 8) + 4
    level = 0.0 if prop.level is None else float(prop.level[frame])
    turn = np.deg2rad(prop.angle + prop.sway[0] * level * (-1 if prop.flip else 1))
    stretch = scale * (1 + prop.sway[1] * level / (scale * height))
    cos, sin = np.cos(turn), np.sin(turn)
    axes = np.array([[cos * scale, sin * stretch], [-sin * scale, cos * stretch]])
    if flat:
        lean, squash, _, _ = prop.shadow
        axes = np.array([[1.0, -lean], [0.0, squash]]) @ axes
    shift = np.array(prop.place) - axes @ np.array([foot_x, foot_y])
    matrix = np.concatenate([axes, shift[:, None]], axis=1)
    small = cv2.GaussianBlur(stamp, (0, 0), 0.45 / scale) if scale < 1 else stamp
    return cv2.warpAffine(small, matrix, SCENE, flags=cv2.INTER_LINEAR)


def add_prop(scene: Image, stamp: Image, prop: Prop, frame: int) -> Image:
    """Paste a prop on the scene: shadow on the ground, contact shadow, then the stamp."""
    _, _, softness, darkness = prop.shadow
    shadow = cv2.GaussianBlur(place_stamp(stamp, prop, frame, flat=True)[..., 3], (0, 0), softness)
    x, y = np.meshgrid(np.arange(SCENE[0]), np.arange(SCENE[1]))
    radius_x, radius_y, contact = prop.contact
    away = ((x - prop.place[0]) / radius_x) ** 2 + ((y - prop.place[1]) / radius_y) ** 2
    dark = (1 - darkness * shadow) * (1 - contact * np.exp(-away))
    ground = scene * dark[..., None].astype(np.float32)

    layer = cv2.GaussianBlur(place_stamp(stamp, prop, frame), (0, 0), prop.blur)
    if prop.sink:
        grey = scene.mean(axis=2)
        strands = (grey - cv2.GaussianBlur(grey, (0, 0), 6)) / 0.06
        depth = (y - (prop.place[1] - prop.sink)) / prop.sink
        layer *= 1 - (depth + 0.6 * strands).clip(0, 1)[..., None].astype(np.float32)
    return ground * (1 - layer[..., 3:]) + layer[..., :3]


@dataclass(frozen=True)
class Nod:
    """A part of the photo that jerks with a sound: the head of a dog that barks."""

    centre: Point
    radius: float  # px
    move: Point  # px at the loudest
    level: NDArray[np.float32]


def apply_nods(scene: Image, nods: list[Nod], frame: int) -> Image:
    """Shift parts of the scene, smoothly fading to no shift around them."""
    x, y = np.meshgrid(np.arange(SCENE[0], dtype=np.float32), np.arange(SCENE[1], dtype=np.float32))
    from_x, from_y = x.copy(), y.copy()
    for nod in nods:
        away = ((x - nod.centre[0]) ** 2 + (y - nod.centre[1]) ** 2) / nod.radius**2
        near = np.exp(-(away**2)) * nod.level[frame]
        from_x -= nod.move[0] * near
        from_y -= nod.move[1] * near
    return cv2.remap(scene, from_x, from_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)


def film(
    scene: Image, second: float, length_s: int, zoom: Point, grain: float, seed: int
) -> NDArray[np.uint8]:
    """Take one frame: a hand-held camera that slowly zooms, a little vignette, sensor grain.

    Args:
        scene: ``(792, 1408, 3)``.
        second: time in the clip, s.
        length_s: length of the clip, s.
        zoom: of the first and the last frame; 1 shows the scene's full width.
        grain: standard deviation of the noise, grey levels of 255.
        seed: of the noise.

    Returns:
        ``(360, 640, 3)`` uint8 RGB.
    """
    ease = 0.5 - 0.5 * np.cos(np.pi * second / length_s)
    scale = 2 * WIDTH / SCENE[0] * (zoom[0] + (zoom[1] - zoom[0]) * ease)
    waves = ((0.13, 0.4), (0.31, 2.0), (0.17, 1.1), (0.37, 0.2))  # Hz and phase of the hand
    sway = [np.sin(2 * np.pi * second * rate + phase) for rate, phase in waves]
    spare = np.array([SCENE[0] - 2 * WIDTH / scale, SCENE[1] - 2 * HEIGHT / scale]) / 2
    offset = spare * (1 + 0.35 * np.array([sway[0] + 0.4 * sway[1], sway[2] + 0.4 * sway[3]]))
    matrix = np.array([[scale, 0, -offset[0] * scale], [0, scale, -offset[1] * scale]])
    large = cv2.warpAffine(
        scene,
        matrix,
        (2 * WIDTH, 2 * HEIGHT),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT,
    )
    picture = cv2.resize(large, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    x, y = np.meshgrid(np.linspace(-1, 1, WIDTH), np.linspace(-1, 1, HEIGHT))
    picture *= (1 - 0.07 * (x**2 + y**2))[..., None].astype(np.float32)
    rng = np.random.default_rng((seed, round(second * FPS)))
    noise = rng.standard_normal((HEIGHT, WIDTH, 1)) + 0.4 * rng.standard_normal((HEIGHT, WIDTH, 3))
    noise = cv2.GaussianBlur(noise, (0, 0), 0.5) * 1.6
    return (255 * picture + grain * noise).clip(0, 255).astype(np.uint8)


def write_clip(path: Path, frames: list[NDArray[np.uint8]], track: Wave) -> None:
    """Encode H.264 (yuv420p) and AAC."""
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
        video = container.add_stream("libx264", rate=FPS)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        video.options = {"crf": "25", "preset": "slower", "g": str(2 * FPS)}
        audio = container.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
        audio.bit_rate = 96_000
        for frame in frames:
            container.mux(video.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(video.encode())
        sound = av.AudioFrame.from_ndarray(track[None], format="fltp", layout="mono")
        sound.sample_rate = SAMPLE_RATE
        container.mux(audio.encode(sound))
        container.mux(audio.encode())


# --- The clips -------------------------------------------------------------------------------


def blackbird_song(root: Path) -> list[Wave]:
    """Three phrases of one song, 1.0, 0.8 and 0.6 s long."""
    song = root / STAMPS / "animals/birds/blackbird.ogg"
    return [load_sound(song, *cut) for cut in ((1.7, 2.7), (0.2, 1.0), (7.2, 7.8))]


def dogs_and_blackbird(root: Path) -> tuple[list[NDArray[np.uint8]], Wave]:
    """Two dogs bark, then a blackbird on a rope sings, then nobody, then all."""
    length_s = 8
    dog = root / STAMPS / "animals/mammals/dogs/dog.ogg"
    barks, first, second = (
        load_sound(dog, *cut) for cut in ((0.0, 0.93), (0.0, 0.42), (0.45, 0.93))
    )
    trill, call, chirp = blackbird_song(root)
    upper = [(0.05, 0.8, barks), (5.03, 0.7, first)]
    lower = [(1.05, 0.8, pitched(barks, 1.12)), (6.03, 0.7, second)]
    bird = [
        (2.0, 0.6, trill),
        (3.1, 0.6, call),
        (5.4, 0.7, chirp),
        (6.45, 0.7, chirp),
        (7.15, 0.7, call),
    ]

    photo = load_rgb(root / LOMIRI / "friends_by_Aitzol_Berasategi.jpg")
    boards = cv2.resize(photo[:, :50], (700, len(photo)), interpolation=cv2.INTER_CUBIC)
    scene = crop_scene(np.concatenate([boards, photo], axis=1), 90, 655, 2666)
    prop = Prop(
        "animals/birds/blackbird", foot=(0.67, 0.985), place=(1181, 744), width=252, flip=True,
        blur=1.1, light=(1.05, 1.0, 0.95), haze=0.045, contrast=1.0, shade=0.1,
        shadow=(0.0, 1.0, 14.0, 0.0), contact=(22.0, 3.0, 0.45), sway=(5.0, 3.0),
        level=loudness(bird, length_s),
    )  # fmt: skip
    stamp = load_stamp(root, prop)
    nods = [
        Nod((775, 170), 150, (3.0, -9.0), loudness(upper, length_s)),
        Nod((945, 520), 130, (3.0, -8.0), loudness(lower, length_s)),
    ]
    frames = []
    for frame in range(length_s * FPS):
        picture = add_prop(apply_nods(scene, nods, frame), stamp, prop, frame)
        frames.append(film(picture, frame / FPS, length_s, (1.02, 1.07), 2.0, seed=1))
    return frames, mix(upper + lower + bird, length_s, seed=1, room=0.12)


def djembe_and_guitar(root: Path) -> tuple[list[NDArray[np.uint8]], Wave]:
    """A djembe, then a guitar, then both, then a voice from off screen."""
    length_s = 8
    drums = [41, 45, 48, 45, 41, 45, 48, 50, 41, 45, 48, 45]  # toms, low to high
    beat = [Note(i * 0.16, 0.15, key, 96 if i % 4 else 118) for i, key in enumerate(drums)]
    keys = [40, 47, 52, 55, 59, 55, 52, 47, 45, 52, 57, 60, 64, 60, 57, 52]  # E minor, A minor
    melody = [Note(i * 0.12, 0.5, key, 96 if i % 4 else 110) for i, key in enumerate(keys)]
    drum_sound = render_notes(root, beat, 1.95, drums=True)
    guitar_sound = render_notes(root, melody, 1.97, program=24)
    voice = speak("And now you only hear my voice.")
    drum = [(0.02, 0.9, drum_sound), (4.02, 0.9, drum_sound)]
    guitar = [(2.02, 0.8, guitar_sound), (4.02, 0.6, guitar_sound)]

    photo = load_rgb(root / LOMIRI / "Wine_by_Jakkub_Mede.jpg")
    wide = cv2.copyMakeBorder(photo, 0, 0, 0, 500, cv2.BORDER_REFLECT)  # more floor on the right
    scene = crop_scene(wide, 0, 1400, 3000)
    prop = Prop(
        "hobbies/music/string/guitar_classical", foot=(0.4, 0.99), place=(1105, 742), width=282,
        angle=9.0, blur=1.3, light=(0.92, 0.78, 0.58), contrast=1.05, haze=0.03, shade=0.25,
        shadow=(0.55, 0.25, 16.0, 0.5), contact=(110.0, 12.0, 0.6),
    )  # fmt: skip
    stamp = load_stamp(root, prop)
    scene = add_prop(scene, stamp, prop, 0)
    frames = [
        film(scene, frame / FPS, length_s, (1.07, 1.02), 2.4, seed=2)
        for frame in range(length_s * FPS)
    ]
    return frames, mix(drum + guitar + [(6.15, 0.8, voice)], length_s, seed=2, room=0.2)


def blackbird_and_squirrel(root: Path) -> tuple[list[NDArray[np.uint8]], Wave]:
    """A blackbird sings with pauses; the squirrel beside it is silent."""
    length_s = 6
    trill, call, chirp = blackbird_song(root)
    bird = [(0.1, 0.8, call), (2.0, 0.8, trill), (3.1, 0.8, call), (5.15, 0.8, chirp)]

    scene = crop_scene(load_rgb(root / TEMPLATES / "mossy_log.jpg"), 0, 20, 960)
    singer = Prop(
        "animals/birds/blackbird", foot=(0.67, 0.985), place=(905, 395), width=400,
        blur=1.2, light=(1.15, 1.1, 0.95), haze=0.02, contrast=1.1, shade=0.2,
        shadow=(0.8, 0.22, 9.0, 0.6), contact=(45.0, 9.0, 0.55), sink=9.0, sway=(5.0, 4.0),
        level=loudness(bird, length_s),
    )  # fmt: skip
    squirrel = Prop(
        "animals/mammals/rodents/squirrel", foot=(0.5, 0.985), place=(230, 620), width=330,
        flip=True, blur=1.6, light=(0.9, 0.9, 0.8), contrast=1.0, shade=0.3,
        shadow=(0.5, 0.2, 12.0, 0.6), contact=(70.0, 12.0, 0.6), sink=14.0,
    )  # fmt: skip
    scene = add_prop(scene, load_stamp(root, squirrel), squirrel, 0)
    stamp = load_stamp(root, singer)
    frames = []
    for frame in range(length_s * FPS):
        picture = add_prop(scene, stamp, singer, frame)
        frames.append(film(picture, frame / FPS, length_s, (1.02, 1.12), 2.2, seed=3))
    return frames, mix(bird, length_s, seed=3, room=0.08)


CLIPS = (dogs_and_blackbird, djembe_and_guitar, blackbird_and_squirrel)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent, help="folder to write to"
    )
    parser.add_argument(
        "--root", type=Path, default=Path("/"), help="folder that the packages are unpacked in"
    )
    arguments = parser.parse_args()
    for make in CLIPS:
        frames, track = make(arguments.root)
        path = arguments.out / f"{make.__name__}.mp4"
        write_clip(path, frames, track)
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
