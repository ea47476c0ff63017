"""From the sound classes of AudioSet, as YAMNet orders them, to object classes.

`TAGS` names the AudioSet classes that are the sound of an object class, `GROUPS` those that only
say that some class of a group sounds, such as "Engine". Numbers are YAMNet's class indices.
"""

NUM_TAGS = 521

TAGS: dict[str, tuple[int, ...]] = {
    "accordion": (204,),  # Accordion
    "airplane": (329, 330, 331, 332, 334),  # Aircraft, its engine, Jet engine, Propeller, Airplane
    "bird": (106, 107, 108, 109, 110, 111, 112, 113, 114, 115, 116),  # Bird .. Bird flight
    "boat": (295, 296, 297, 298, 299),  # Boat, Sailboat, Rowboat, Motorboat, Ship
    "bus": (315,),  # Bus
    "car": (301, 302, 303, 304, 306, 307, 308, 309),  # Car, horn, Toot, alarm, Skidding .. Race car
    "cat": (76, 77, 78, 79, 80),  # Cat, Purr, Meow, Hiss, Caterwaul
    "clarinet": (193,),  # Clarinet
    "clock": (400, 401, 402),  # Clock, Tick, Tick-tock
    "dog": (69, 70, 71, 72, 73, 74, 75),  # Dog, Bark, Yip, Howl, Bow-wow, Growling, Whimper
    "drum": (157, 158, 159, 160, 161, 162, 163, 164, 165, 166, 167, 156),  # Drum kit .. Hi-hat
    "elephant": (103,),  # Wild animals: AudioSet as YAMNet knows it has no elephant
    "flute": (191,),  # Flute
    "guitar": (135, 136, 137, 138, 139, 140, 141),  # Guitar and its kinds, Tapping, Strum
    "gun": (421, 422, 423, 424, 425),  # Gunshot, Machine gun, Fusillade, Artillery, Cap gun
    "harmonica": (203,),  # Harmonica
    "harp": (194,),  # Harp
    "helicopter": (333,),  # Helicopter
    "hen": (93, 94, 95, 96),  # Fowl, Chicken, Cluck, Crowing
    "horse": (82, 83, 84),  # Horse, Clip-clop, Neigh
    "keyboard_typing": (378, 379, 380),  # Typing, Typewriter, Computer keyboard
    "lion": (104, 105),  # Roaring cats, Roar
    "marimba": (174, 175, 176, 177),  # Mallet percussion, Marimba, Glockenspiel, Vibraphone
    "motorcycle": (320,),  # Motorcycle
    # Speech .. Humming, Whistling, Cough, Sneeze, Finger snapping, Clapping, Cheering .. Children
    "person": (*range(33), 35, 42, 43, 44, 57, 58, 61, 62, 63, 64, 65, 66),
    "piano": (147, 148, 149),  # Keyboard (musical), Piano, Electric piano
    "saxophone": (192,),  # Saxophone
    "sheep": (91, 92),  # Bleat, Sheep
    "sitar": (143,),  # Sitar
    "train": (322, 323, 324, 325, 326, 327, 328),  # Rail transport .. Subway
    "trombone": (183,),  # Trombone
    "truck": (310, 311, 312, 313, 314),  # Truck, Air brake, Air horn, Reversing, Ice cream truck
    "trumpet": (182,),  # Trumpet
    "tuba": (),
    "violin": (186, 187, 184),  # Violin, Pizzicato, Bowed string instrument
}

_INSTRUMENTS = (
    *("accordion", "clarinet", "drum", "flute", "guitar", "harmonica", "harp", "marimba"),
    *("piano", "saxophone", "sitar", "trombone", "trumpet", "tuba", "violin"),
)
GROUPS: tuple[tuple[tuple[int, ...], tuple[str, ...]], ...] = (
    ((132, 133), _INSTRUMENTS),  # Music, Musical instrument
    ((134,), ("guitar", "harp", "sitar", "violin")),  # Plucked string instrument
    ((180,), ("trombone", "trumpet", "tuba")),  # Brass instrument
    ((190,), ("clarinet", "flute", "saxophone")),  # Wind instrument, woodwind instrument
    ((294, 337), ("airplane", "boat", "bus", "car", "helicopter", "motorcycle", "train", "truck")),
    ((300, 345, 347), ("bus", "car", "motorcycle", "truck")),  # Motor vehicle, Starting, Revving
    ((67,), ("bird", "cat", "dog", "hen", "horse", "lion", "sheep")),  # Animal
    ((68,), ("cat", "dog")),  # Domestic animals, pets
    ((81,), ("hen", "horse", "sheep")),  # Livestock
    ((103,), ("bird", "lion")),  # Wild animals
)
