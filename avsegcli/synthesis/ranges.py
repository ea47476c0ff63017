"""Probabilities and ranges of composed clips, and combinations that are excluded."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class CompositionSettings:
    """Probabilities, and ranges as (lowest, highest), of a composed clip.

    Lengths are fractions of the frame, rates are per second, sigmas are in output pixels.
    """

    # What is in a clip
    scene: float = 0.45  # the picture is a whole photo with its mask; otherwise cutouts pasted
    pasted_on_scene: float = 0.30  # ... with a cutout in front of it
    silent_clip: float = 0.06  # nothing is heard but, at most, noise
    off_screen_clip: float = 0.14  # what is heard is not in the picture
    off_screen_extra: float = 0.06  # something off screen is heard beside what is in the picture
    num_sounding: tuple[float, ...] = (0.60, 0.30, 0.10)  # 1, 2, 3 classes seen and heard
    num_sounding_multi: tuple[float, ...] = (0.60, 0.30, 0.10)  # 2, 3, 4 of them in task multi
    num_silent: tuple[float, ...] = (0.42, 0.36, 0.22)  # 0, 1, 2 silent objects beside them
    silent_thing: float = 0.40  # a silent object is a thing of no class
    twin: float = 0.10  # a second object of a sounding class
    empty: float = 0.10  # nothing to see in a clip whose classes are not in the picture
    scene_class_sounds: float = 0.40  # another class of a scene sounds too
    player: float = 0.0  # an instrument that sounds is held by a silent person
    max_objects: int = 4

    # Objects
    object_size: tuple[float, float] = (0.25, 1.0)  # 1: as large as fits in the frame
    max_enlargement: float = 1.7  # of a cutout's own pixels
    cropped: float = 0.25  # may reach out of the frame
    apart: float = 0.75  # placed where it hides others least
    moving: float = 0.60
    speed: tuple[float, float] = (0.01, 0.10)
    growth: float = 0.06  # at most; relative size a second
    tilt_deg: float = 7.0  # standard deviation
    wild_tilt: float = 0.15  # tilted by up to 40 degrees instead
    light_match: tuple[float, float] = (0.15, 0.65)  # 1: mean colour of what is behind it
    contrast_match: tuple[float, float] = (0.0, 0.6)
    feather: tuple[float, float] = (0.4, 1.5)  # sigma of the edge
    trim: tuple[float, float] = (0.0, 0.35)  # alpha below it is cut off, so that no halo stays
    object_blur: float = 0.25
    shadow: float = 0.35  # a soft dark rim falls on what is behind

    # Camera
    camera_moves: float = 0.6
    window: tuple[float, float] = (0.45, 1.0)  # of the largest that fits in the photo
    pan: float = 0.06  # at most, of the window a second
    zoom: float = 0.07  # at most, a second
    camera_tilt: float = 0.25  # tilted by up to 6 degrees
    background_blur: float = 0.2  # behind pasted objects

    # The finished picture; the strengths are of colour, softness and noise
    strength_train: float = 1.0
    strength_held_out: float = 0.4
    grey: float = 0.03  # in train only
    soft: float = 0.35  # out of focus or of low resolution
    noisy: float = 0.5
    noise_sigma: tuple[float, float] = (1.0, 9.0)  # grey levels
    jpeg: float = 0.8
    jpeg_quality: tuple[int, int] = (40, 95)

    # Sound
    gain_db: tuple[float, float] = (-12.0, 3.0)
    whole: float = 0.6  # sounds from beginning to end
    twice: float = 0.25  # of the others: goes off and on again
    looped: float = 0.85  # a recording that is too short starts again; otherwise it ends
    level_db: tuple[float, float] = (-30.0, -3.0)  # peak of the mix, full scale = 0
    background_noise: float = 0.4
    snr_db: tuple[float, float] = (0.0, 25.0)
    playing_speed: tuple[float, float] = (0.9, 1.1)  # in train only, pitch with it
    tone_tilt_db: float = 3.0  # at most, an octave; in train only
    tone_curve_db: float = 0.0  # standard deviation of a curve over the band; in train only
    narrow_band: float = 0.2  # nothing above 2.5 to 7 kHz; in train only
    room: float = 0.0  # a source sounds in a room of its own, up to 0.6 s long; in train only
    imagined: float = 0.0  # a source has AudioSet tags in place of a recording; in train only


_WINDS = {"clarinet", "flute", "harmonica", "saxophone", "trombone", "trumpet", "tuba"}
_STRINGS = {"guitar", "harp", "sitar", "violin"}
INSTRUMENTS = {"accordion", "drum", "marimba", "piano", *_WINDS, *_STRINGS}
PLAYER = "person"  # the class that holds instruments

# Things that may well make the sound of a class: never in a clip where that class is heard.
THINGS_SOUNDING_LIKE = {
    "bird": {"ostrich", "peacock", "penguin"},
    "car": {"bus", "motorcycle", "train", "truck"},
    "dog": {"wild_animal"},
    "gun": {"cannon"},
    "helicopter": {"airplane"},
    "lion": {"bear", "tiger", "wild_animal"},
    "cat": {"tiger", "wild_animal"},
}

# Noise that holds the sound of a class: never in a clip where that class is seen.
CLASSES_IN_NOISE = {
    "babble": {"person"},
    "baby_cry": {"person"},
    "children": {"person"},
    "chainsaw": {"car", "motorcycle"},
    "siren": {"car", "truck", "bus"},
    "clock": {"clock"},
    "sneeze": {"person"},
    "street_music": {"person", *INSTRUMENTS},
}

# Classes hard to tell apart by ear: one is not heard from off screen while another is seen.
SOUND_FAMILIES = (
    {"trombone", "trumpet", "tuba", "saxophone"},
    {"clarinet", "flute", "saxophone", "harmonica", "accordion"},
    {"guitar", "harp", "sitar", "violin", "piano", "marimba"},
    {"bird", "hen"},
    {"cat", "dog", "lion"},
    {"horse", "sheep"},
    {"airplane", "boat", "bus", "car", "helicopter", "motorcycle", "train", "truck"},
)


def things_to_avoid(heard: Iterable[str]) -> set[str]:
    """Name the silent things that could be taken for the source of what is heard.

    Example:
        >>> sorted(things_to_avoid(["gun", "helicopter"]))
        ['airplane', 'cannon']
    """
    return {thing for name in heard for thing in THINGS_SOUNDING_LIKE.get(name, ())}


def noise_may_go_with(kind: str, visible: Iterable[str]) -> bool:
    """Say whether no visible class could be taken for the source of this kind of noise."""
    return CLASSES_IN_NOISE.get(kind, set()).isdisjoint(visible)


def may_sound_off_screen(name: str, visible: Iterable[str]) -> bool:
    """Say whether no visible class could be taken for the source of this class's sound."""
    family = set().union({name}, *(family for family in SOUND_FAMILIES if name in family))
    return family.isdisjoint(visible)
