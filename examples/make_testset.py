"""Compose the test set that `avseg noise-test` uses by default, and the noise it mixes in.

    apt-get install tuxpaint-stamps-default tuxpaint-data lomiri-wallpapers-16.04 \\
        fluid-soundfont-gm fluidsynth espeak-ng
    python examples/make_testset.py --out examples/testset

Photo stamps, photos and recordings of these packages become a parts folder, of which 40 clips are
composed as `avseg compose` does. The sounds beside the stamps' own are instruments rendered from
the FluidR3 soundfont and voices by eSpeak NG, here with tunes and sentences of our own; so is the
noise. The same packages and the same avseg give the same pictures and sounds.
"""

import argparse
import shutil
import tempfile
from pathlib import Path

import cv2
import numpy as np
import soundfile
import soxr
from make_clips import (
    LOMIRI,
    SAMPLE_RATE,
    STAMPS,
    TEMPLATES,
    Note,
    Wave,
    fade,
    load_sound,
    pitched,
    render_notes,
    speak,
)

from avsegcli.audio.log_mel import SAMPLE_RATE as MODEL_RATE
from avsegcli.datasets.io import read_waveform
from avsegcli.synthesis.writer import write_avss

CLIPS, FRAMES, SIZE, SEED = 40, 5, 224, 1
OGG_QUALITY = 0.4  # compression level of libsndfile: 0 is best, 1 smallest
JPEG_QUALITY = 90

OBJECTS = {
    "bird": ["blackbird", "drake", "duck", "guineafowl", "heron_greatblue", "pigeon", "tucan"],
    "car": ["beetle", "truck"],
    "dog": ["dingo"],
    "drum": ["drum_tomtom_floor"],
    "guitar": ["guitar2", "guitar_classical"],
    "person": ["fireman200b", "fireman240a"],
}
THINGS = {
    "food": ["apple_red", "carrot", "grapes", "pear", "pineapple", "strawberry"],
    "flower": ["daffodil", "iris", "marigold", "red-gazania"],
    "household": ["glass", "mallet_metal", "rubberduck", "teapot", "toolbox"],
    "sport": ["basketball", "tennis_racket"],
    "wild_animal": ["mouse", "rabbit", "squirrel"],
}
PHOTOS = {
    LOMIRI: "aitzgorri_by_Aitzol_Berasategi life_by_Aitzol_Berasategi",
    TEMPLATES: "burnt_bark cliff corn_maze lighthouse mossy_bark mossy_log mudstone ocean_waves "
    "rocks sun_behind_leaves trees_at_dusk wool_mill_machine",
}
RECORDINGS = {
    "bird": ["blackbird", "crow", "duck", "lark", "seagull", "tucan"],
    "dog": ["dog"],
    "drum": ["drum_tomtom_floor", "drumkit"],
}
# Heard off screen only: General MIDI programs of classes of which there is no stamp to show.
OFF_SCREEN = {"clarinet": 71, "flute": 73, "piano": 0, "trumpet": 56, "violin": 40}
GUITARS = (24, 25, 26, 27)  # nylon, steel, jazz, clean
VOICES = {
    "en-gb": "The train to the coast leaves at a quarter past nine, and it rarely waits.",
    "en-us+f3": "We counted eleven boats in the harbour before the fog came in.",
    "de+m3": "Heute Morgen lag Schnee auf den Dächern, und niemand wollte hinaus.",
    "fr+f2": "Le marchand range ses pommes rouges devant la porte de la boutique.",
}
CROWD = {
    "en-gb+m4": "I left the keys on the table next to the window, as you asked me to.",
    "en-us+f1": "Nobody in the office knew who had ordered forty chairs.",
    "de+f2": "Der Bus fährt heute über die andere Brücke, wegen der Baustelle am Markt.",
    "fr+m2": "Il reste encore deux places au fond de la salle, près du piano.",
    "es+f4": "Mañana vamos a pintar la pared de la cocina de color amarillo.",
    "it+m1": "La finestra era aperta e il vento muoveva le carte sul tavolo.",
    "nl+f2": "Wij hebben gisteren de hele dag in de tuin gewerkt.",
    "pl+m3": "Po obiedzie dzieci poszły nad rzekę łowić ryby.",
}


def fill_parts(root: Path, parts: Path) -> None:
    """Lay the material out as a parts folder of the split test."""
    kinds = OBJECTS | {f"_silent/{thing}": names for thing, names in THINGS.items()}
    for kind, names in kinds.items():
        for name in names:
            stamp = cv2.imread(str(find_stamp(root, f"{name}.png")), cv2.IMREAD_UNCHANGED)
            write_picture(parts / "objects" / kind / f"test-tux-{name}.png", stamp)
    for folder, names in PHOTOS.items():
        for name in names.split():
            photo = cv2.imread(str(root / folder / f"{name}.jpg"))
            scale = 640 / max(photo.shape[:2])
            photo = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            write_picture(parts / "backgrounds" / f"test-debian-{name}.jpg", photo)
    for kind, name, wave in draw_sounds(root):
        write_sound(parts / "sounds" / kind / f"test-debian-{name}.ogg", wave)


def draw_sounds(root: Path) -> list[tuple[str, str, Wave]]:
    """Class, name and sound of every recording that may be heard in a clip."""
    sounds = [
        (kind, name, load_sound(find_stamp(root, f"{name}.ogg")))
        for kind, names in RECORDINGS.items()
        for name in names
    ]
    bark = sounds[len(RECORDINGS["bird"])][2]
    sounds += [("dog", "small", pitched(bark, 1.2)), ("dog", "large", pitched(bark, 0.85))]
    rng = np.random.default_rng(SEED)
    for number, keys in enumerate(([36, 42, 38, 42], [41, 45, 48, 50], [36, 38, 46, 38])):
        beat = [Note(i * 0.22, 0.2, keys[i % 4], 120 if i % 4 == 0 else 92) for i in range(18)]
        sounds.append(("drum", f"beat{number}", render_notes(root, beat, 4.0, drums=True)))
    for program in GUITARS:
        sounds.append(("guitar", f"gm{program}", tune(root, rng, program, lowest=45)))
    for kind, program in OFF_SCREEN.items():
        sounds.append((kind, f"gm{program}", tune(root, rng, program, lowest=60)))
    for voice, text in VOICES.items():
        sounds.append(("person", voice.replace("+", "-"), speak(text, voice)))
    return sounds


def tune(root: Path, rng: np.random.Generator, program: int, lowest: int) -> Wave:
    """Four seconds of a random walk over a pentatonic scale."""
    scale = lowest + np.array([0, 2, 4, 7, 9, 12, 14, 16])
    steps = np.clip(np.cumsum(rng.integers(-2, 3, 16)) + 3, 0, len(scale) - 1)
    notes = [Note(i * 0.25, 0.24, int(scale[step]), 100) for i, step in enumerate(steps)]
    return render_notes(root, notes, 4.0, program)


def draw_noise(root: Path) -> dict[str, Wave]:
    """The speech and the music that are mixed in as noise.

    The music is played by an organ, strings in chords and a synthetic bass, the voices come from
    nowhere in the pictures: the only class of the test set that is in them is "person".
    """
    pause = np.zeros(SAMPLE_RATE // 3, np.float32)
    speech = [sound for voice, text in CROWD.items() for sound in (speak(text, voice, 165), pause)]
    organ, strings, bass = [], [], []
    chords = ([57, 60, 64], [53, 57, 60], [55, 60, 64], [55, 59, 62])  # A minor, F, C, G
    for bar in range(8):
        chord = chords[bar % 4]
        strings += [Note(bar * 2.0, 1.95, key, 84) for key in chord]
        bass += [Note(bar * 2.0 + beat * 0.5, 0.45, chord[0] - 24, 100) for beat in range(4)]
        organ += [Note(bar * 2 + i * 0.25, 0.24, chord[i * 5 % 3] + 12, 88) for i in range(8)]
    music = sum(
        gain * render_notes(root, notes, 16.0, program)
        for notes, program, gain in ((organ, 17, 0.5), (strings, 48, 0.8), (bass, 38, 0.6))
    )
    return {"speech": np.concatenate(speech), "music": fade(music, 0.1)}


def find_stamp(root: Path, name: str) -> Path:
    """Find a photo stamp, or its sound, wherever it is filed."""
    found = (root / STAMPS).rglob(name)
    return min(path for path in found if "cartoon" not in path.parts)


def write_picture(path: Path, picture: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), picture)


def write_sound(path: Path, wave: Wave) -> None:
    """Write a sound of the rate of these scripts at that of the model, peak 0.9."""
    path.parent.mkdir(parents=True, exist_ok=True)
    low = soxr.resample(wave, SAMPLE_RATE, MODEL_RATE)
    write_ogg(path, 0.9 * low / np.abs(low).max())


def write_ogg(path: Path, wave: Wave) -> None:
    with soundfile.SoundFile(
        path, "w", MODEL_RATE, 1, format="OGG", subtype="VORBIS", compression_level=OGG_QUALITY
    ) as file:
        file.write(wave)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "testset")
    parser.add_argument(
        "--root", type=Path, default=Path("/"), help="folder that the packages are unpacked in"
    )
    arguments = parser.parse_args()
    out: Path = arguments.out
    with tempfile.TemporaryDirectory() as folder:
        parts, clips = Path(folder, "parts"), Path(folder, "clips")
        fill_parts(arguments.root, parts)
        options = {"splits": ["test"], "num_frames": FRAMES, "size": SIZE}
        write_avss(parts, clips, task="semantic", clips=CLIPS, seed=SEED, **options)
        for sound in clips.rglob("audio.wav"):
            write_ogg(sound.with_suffix(".ogg"), read_waveform(sound))
            sound.unlink()
        for frame in clips.rglob("frames/*.jpg"):
            cv2.imwrite(
                str(frame), cv2.imread(str(frame)), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
            )
        shutil.copytree(clips, out, dirs_exist_ok=True)
    for name, wave in draw_noise(arguments.root).items():
        write_sound(out / "noise" / f"{name}.ogg", wave)
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    print(f"{out}: {CLIPS} clips, {size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main()
