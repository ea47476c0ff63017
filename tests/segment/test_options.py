from dataclasses import FrozenInstanceError, fields, replace
from fractions import Fraction
from typing import get_type_hints

import pytest

from avsegcli.errors import ConfigError
from avsegcli.segment.options import OptionArguments, SegmentOptions
from avsegcli.segment.segmenter import Segmenter


def test_the_keyword_arguments_are_the_fields():
    types = get_type_hints(SegmentOptions)
    assert {field.name: types[field.name] for field in fields(SegmentOptions)} == get_type_hints(
        OptionArguments
    )


@pytest.mark.parametrize(
    "wrong",
    [
        *({"fps": 0}, {"fps": "4"}, {"threshold": 1.5}, {"audio_stream": "1"}, {"alpha": 2}),
        *({"start": "soon"}, {"start": 3, "end": 2}, {"style": "cubist"}, {"palette": "#ggg"}),
    ],
)
def test_wrong_options_are_refused_when_they_are_made(wrong):
    with pytest.raises(ConfigError):
        SegmentOptions(**wrong)
    with pytest.raises(ConfigError):
        replace(SegmentOptions(), **wrong)


def test_options_are_frozen_and_know_their_parts(tmp_path):
    options = SegmentOptions(palette="#f00", start="0:02", crf=30, audio="a.wav", audio_stream=2)
    with pytest.raises(FrozenInstanceError):
        options.fps = 1
    assert options.look.palette == ((255, 0, 0),)
    assert options.encoding.crf == 30
    track = options.sound_of(tmp_path / "v.mp4")
    assert (str(track.path), track.number, track.span.start) == ("a.wav", 2, Fraction(2))
    assert SegmentOptions().sound_of(tmp_path / "v.mp4").path == tmp_path / "v.mp4"


def test_an_unknown_argument_is_refused(tmp_path):
    with pytest.raises(TypeError, match="styel"):
        Segmenter().segment_file("v.mp4", tmp_path / "o.mp4", styel="cutout")
    with pytest.raises(TypeError, match="json"):
        next(Segmenter().segment("v.mp4", json="a.json"))
