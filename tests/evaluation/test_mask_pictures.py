import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from avsegcli.datasets.label_colors import label_colours, labels_to_colours
from avsegcli.errors import DataError
from avsegcli.evaluation.mask_pictures import MaskPictures

BINARY = ("background", "object")
CLASSES = ("background", *(f"class {index}" for index in range(1, 10)))
IDS = np.zeros((8, 12), np.uint8)  # of objects, or classes
IDS[:4, :6], IDS[5:, 7:] = 1, 2
MASK = (IDS > 0).astype(np.uint8)


def palette_picture(indices, colours):
    picture = Image.frombytes("P", indices.shape[::-1], indices.tobytes())
    picture.putpalette(np.asarray(colours, np.uint8).tobytes())
    return picture


def read(tmp_path, pictures, classes=BINARY, ending="png", **options):
    """Write pictures, and read them as one set: what they hold, and how they were read."""
    paths = []
    for number, picture in enumerate(pictures):
        paths.append(tmp_path / f"{number}.{ending}")
        image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
        image.save(paths[-1], bits=8)
    masks = MaskPictures(paths, classes, **options)
    return [masks.read(path) for path in paths], masks


@pytest.mark.parametrize("colours", [label_colours(9), [(0, 0, 0), (9, 200, 3), (7, 7, 60)]])
def test_ids_of_a_palette_are_objects(tmp_path, colours):
    (frame,), masks = read(tmp_path, [palette_picture(IDS, colours)])
    np.testing.assert_array_equal(frame.probs, MASK)
    assert masks.how == "palette PNG, ids 1 to 2 as objects"


@pytest.mark.parametrize("classes", [BINARY, CLASSES])
def test_colours_of_avsbench_are_found_in_a_palette_of_another_order(tmp_path, classes):
    colours = label_colours(9)
    first = palette_picture(np.where(IDS == 0, 1, 0).astype(np.uint8), [colours[2], colours[0]])
    second = palette_picture(IDS, [colours[0], colours[7], colours[9]])
    frames, masks = read(tmp_path, [first, second], classes)
    labels = [np.where(IDS > 0, 2, 0), np.array([0, 7, 9])[IDS]]
    for frame, label in zip(frames, labels, strict=True):
        np.testing.assert_array_equal(frame.labels, label if classes == CLASSES else label > 0)
    assert masks.how == "palette PNG in AVSBench's colours"


def test_indices_with_a_palette_of_their_own_are_classes(tmp_path):
    (frame,), masks = read(
        tmp_path, [palette_picture(IDS, [(0,) * 3, (9, 8, 7), (1, 2, 3)])], CLASSES
    )
    np.testing.assert_array_equal(frame.labels, IDS)
    assert masks.how == "palette PNG, indices 0 to 2 as classes"


def test_indices_beyond_their_palette_are_no_background(tmp_path):
    coded = io.BytesIO()
    palette_picture(IDS, np.zeros((3, 3))).save(coded, "PNG", bits=8)
    data = coded.getvalue()
    start, end = data.index(b"PLTE") - 4, data.index(b"IDAT") - 4
    black = b"PLTE" + bytes(3)  # the only entry
    chunk = struct.pack(">I", 3) + black + struct.pack(">I", zlib.crc32(black))
    (tmp_path / "a.png").write_bytes(data[:start] + chunk + data[end:])
    masks = MaskPictures([tmp_path / "a.png"], CLASSES)
    np.testing.assert_array_equal(masks.read(tmp_path / "a.png").labels, IDS)


def test_palettes_that_differ_and_name_no_class_are_refused(tmp_path):
    pictures = [palette_picture(IDS, [(0,) * 3, (9, 8, end), (1, 2, 3)]) for end in (7, 8)]
    with pytest.raises(DataError, match="their palettes differ"):
        read(tmp_path, pictures, CLASSES)


def test_a_palette_without_a_background_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"index 0 has the colour \(10, 20, 30\), not black"):
        read(tmp_path, [palette_picture(IDS, [(10, 20, 30), (9, 8, 7), (1, 2, 3)])])


def test_a_grey_palette_is_grey(tmp_path):
    (frame,), masks = read(tmp_path, [palette_picture(1 - MASK, [(255,) * 3, (0,) * 3])])
    np.testing.assert_array_equal(frame.probs, MASK)
    assert masks.how == "palette PNG, grey, masks of 0 and 255"


@pytest.mark.parametrize(
    ("values", "how"),
    [
        (MASK, "grey PNG, masks of 0 and 1"),
        (MASK * np.uint8(255), "grey PNG, masks of 0 and 255"),
        (MASK.astype(bool), "grey PNG, masks of 0 and 1"),
        (MASK.astype(np.uint16) * 65535, "grey PNG, masks of 0 and 65535"),
        (IDS, "grey PNG, ids 1 to 2 as objects"),
        (MASK * 0, "grey PNG, all of them empty"),
    ],
)
def test_grey_masks_are_told_by_all_their_values(tmp_path, values, how):
    (frame,), masks = read(tmp_path, [values])
    np.testing.assert_array_equal(frame.probs, values > 0)
    assert masks.how == how


@pytest.mark.parametrize(("dtype", "white"), [(np.uint8, 255), (np.uint16, 65535)])
def test_other_grey_values_are_probabilities(tmp_path, dtype, white):
    values = np.linspace(0, white, IDS.size).round().astype(dtype).reshape(IDS.shape)
    (frame,), masks = read(tmp_path, [values])
    np.testing.assert_allclose(frame.probs, values / white, rtol=1e-6)
    assert masks.how == f"grey PNG, value / {white} as probability"
    _, masks = read(tmp_path, [values // 3])
    assert f"none above one half, the highest is {white // 3}" in masks.how


def test_a_few_grey_values_that_may_mean_anything_are_refused(tmp_path):
    with pytest.raises(DataError, match="the values 0, 38, 75 are neither masks") as caught:
        read(tmp_path, [np.array([0, 38, 75], np.uint8)[IDS]])
    assert caught.value.hint == "Save masks as 0 and 255."


@pytest.mark.parametrize("bits", [2, 4])
def test_ids_of_few_bits_are_not_scaled(tmp_path, bits):
    (tmp_path / "a.png").write_bytes(_grey_png(IDS, bits))
    masks = MaskPictures([tmp_path / "a.png"], CLASSES)
    np.testing.assert_array_equal(masks.read(tmp_path / "a.png").labels, IDS)


def _grey_png(values, bits):
    """Encode grey values of 2 or 4 bits, which Pillow reads but does not write."""
    coded = io.BytesIO()
    palette_picture(values, np.zeros((1 << bits, 3))).save(coded, "PNG", bits=bits)
    data = bytearray(coded.getvalue())
    data[25] = 0  # the kind of colour: grey
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    start = data.index(b"PLTE") - 4
    (length,) = struct.unpack(">I", data[start : start + 4])
    del data[start : start + 12 + length]
    return bytes(data)


@pytest.mark.parametrize("colour", [(255, 255, 255), (10, 200, 30)])
def test_masks_may_be_in_the_alpha_channel(tmp_path, colour):
    pictures = []
    for mask in (MASK, MASK * np.uint8(0)):
        picture = np.zeros((*mask.shape, 4), np.uint8)
        picture[..., :3], picture[..., 3] = colour, mask * np.uint8(255)
        pictures.append(picture)
    (frame, empty), masks = read(tmp_path, pictures)
    np.testing.assert_array_equal(frame.probs, MASK)
    assert not empty.probs.any()
    assert masks.how == "alpha channel of PNG, masks of 0 and 255"
    with pytest.raises(DataError, match="an alpha channel, which says no class"):
        read(tmp_path, pictures, CLASSES)


def test_two_masks_in_one_picture_are_refused(tmp_path):
    picture = np.repeat(MASK[..., None] * np.uint8(255), 4, axis=2)
    picture[0, 0, 3], picture[7, 0, 3] = 0, 255
    with pytest.raises(DataError, match="masks in colours and in its alpha channel"):
        read(tmp_path, [picture])


def test_16_bits_of_each_colour_are_refused(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.full((8, 12, 3), 300, np.uint16))
    with pytest.raises(DataError, match="has 16 bits for each colour"):
        MaskPictures([tmp_path / "a.png"], BINARY)


def test_jpeg_masks_are_read_with_a_warning(tmp_path):
    big = np.kron(MASK, np.full((16, 16), 255, np.uint8))
    (frame,), masks = read(tmp_path, [big], ending="jpg")
    assert (frame.probs != big // 255).mean() < 0.01
    assert masks.how == "JPEG, masks from 128 on"
    assert masks.warnings == [
        "JPEG changes values near the edges of masks: 128 and above counts as an object"
    ]
    with pytest.raises(DataError, match="no value of the JPEGs reaches 128"):
        read(tmp_path, [big // 255], ending="jpg")
    with pytest.raises(DataError, match="JPEG blends class indices"):
        read(tmp_path, [big], CLASSES, ending="jpg")
    with pytest.raises(DataError, match="is a JPEG with colours"):
        read(tmp_path, [labels_to_colours(np.kron(IDS, np.ones((16, 16), np.uint8)))], ending="jpg")


def test_colours_of_objects_are_objects(tmp_path):
    (frame,), masks = read(tmp_path, [labels_to_colours(IDS)])
    np.testing.assert_array_equal(frame.probs, MASK)
    assert masks.how == "RGB PNG in AVSBench's colours, every one an object"


def test_blended_colours_are_refused_or_read_as_the_nearest(tmp_path):
    blended = labels_to_colours(IDS)
    blended[0, 0] = (0, 17, 0)
    with pytest.raises(DataError, match=r"colour \(0, 17, 0\) at row 0, column 0") as caught:
        read(tmp_path, [blended], CLASSES)
    assert "RESIZE_PRED_MASK" in caught.value.hint
    assert "interpolation" in caught.value.hint
    assert "--nearest-colour" in caught.value.hint
    (frame,), masks = read(tmp_path, [blended], CLASSES, nearest_colour=True)
    expected = IDS.copy()
    expected[0, 0] = 0
    np.testing.assert_array_equal(frame.labels, expected)
    assert (masks.changed_pixels, masks.read_pixels) == (1, IDS.size)
    assert masks.how == "RGB PNG in AVSBench's colours, the nearest ones"
