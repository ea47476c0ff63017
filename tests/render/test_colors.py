import codecs

import pytest

from avsegcli.errors import ConfigError
from avsegcli.render.colors import class_colour, class_colours, parse_palette

RED, GREEN = (255, 0, 0), (0, 255, 0)


@pytest.mark.parametrize(
    ("text", "palette"),
    [
        ("#ff0000 00FF00", (RED, GREEN)),
        ("#f00,#0f0,", (RED, GREEN)),
        ("drum=#f00", {"drum": RED}),
        (" vacuum cleaner = ff0000\n\ndrum=#0f0,\n", {"vacuum cleaner": RED, "drum": GREEN}),
    ],
)
def test_colours_are_read_as_a_list_or_by_names(tmp_path, text, palette):
    assert parse_palette(text) == palette
    file = tmp_path / "palette.txt"
    utf_16 = codecs.BOM_UTF16_LE + text.encode("utf-16-le")
    for data in (text.encode(), text.replace("\n", "\r\n").encode("utf-8-sig"), utf_16):
        file.write_bytes(data)
        assert parse_palette(str(file)) == palette


@pytest.mark.parametrize(
    "text",
    [
        *("", "red", "f00", "#ff00", "drum=red", "drum=", "=#ff0000", "drum=#f00,#0f0"),
        *("drum=#f00,drum=#0f0", "drum=#f00 guitar=#0f0"),
    ],
)
def test_what_is_no_palette_is_refused(text):
    with pytest.raises(ConfigError, match="in the palette"):
        parse_palette(text)


def test_classes_that_are_not_named_keep_their_colours():
    classes = ("background", "bird", "drum")
    assert class_colours({"drum": RED}, classes)[:3] == [class_colour(1), RED, class_colour(3)]
    with pytest.raises(ConfigError, match="no class is called 'dru'") as told:
        class_colours({"dru": RED}, classes)
    assert "bird, drum" in told.value.hint
