"""Facts about `seg.data.pictures`: pixels written by OpenCV or Pillow, read back as a scan."""

import os
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from seg.contracts import SegError, Source
from seg.data.pictures import PicturePairs

LAYOUT = (
    r"images/(?P<patient>[^/]+)/(?P<slice>\d+)\.\w+$",
    r"labels/(?P<patient>[^/]+)/(?P<slice>\d+)\.\w+$",
)
GREY, COLOUR = PicturePairs(*LAYOUT, channels=1), PicturePairs(*LAYOUT, channels=3)


@pytest.fixture
def put(tmp_path):
    """Write pixels below the root: kind, name, pixels -> path."""

    def write(kind, name, pixels):
        path = tmp_path / kind / "p" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), np.asarray(pixels))
        return path

    return write


def source(images, labels):
    return Source("p", "", None, tuple(images), tuple(labels))


def noise(shape, dtype=np.uint8, seed=0):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, shape, dtype)


def refusal(reader, case, path):
    """Return the message of a refused case, one line that names the file."""
    with pytest.raises(SegError) as caught:
        reader.load(case)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def test_slices_are_stacked_by_number_with_their_labels(put, tmp_path):
    images = {k: noise((4, 5), seed=k) for k in (10, 2, 1)}
    for k, pixels in images.items():
        put("images", f"{k}.png", pixels)
        put("labels", f"{k}.png", np.full((4, 5), k, np.uint8))
    cases, problems = GREY.find(tmp_path)
    assert problems == {}
    made = GREY.load(cases[0])
    assert made.image_SHWC.shape == (3, 4, 5, 1)
    assert made.image_SHWC.dtype == np.uint16
    assert made.label_SHW[:, 0, 0].tolist() == [1, 2, 10]
    for k, image in zip((1, 2, 10), made.image_SHWC, strict=True):
        np.testing.assert_array_equal(image[..., 0], images[k].astype(np.uint16) * 257)
    assert made.spacing_mm is None
    assert made.known_labels is None


def test_a_label_of_16_bits_keeps_small_values(put):
    """0, 1 and 2 of 65535 are far less than one step of 8 bits."""
    label = np.array([[0, 1], [2, 65535]], np.uint16)
    made = GREY.load(source([put("images", "1.png", label)], [put("labels", "1.png", label)]))
    np.testing.assert_array_equal(made.label_SHW[0], label)


@pytest.mark.parametrize("ending", ["png", "tif", "bmp"])
def test_a_label_of_8_bits_keeps_its_values(ending, put):
    label = np.array([[0, 1, 2], [127, 128, 255]], np.uint8)
    paths = (put("images", "1.png", label), put("labels", f"1.{ending}", label))
    np.testing.assert_array_equal(GREY.load(source(*([p] for p in paths))).label_SHW[0], label)


def test_a_colour_label_is_its_brightest_channel(put):
    label = np.zeros((2, 2, 3), np.uint8)
    label[0, 1], label[1, 0] = (0, 0, 255), (7, 9, 8)
    paths = (put("images", "1.png", label[..., 0]), put("labels", "1.png", label))
    assert GREY.load(source(*([p] for p in paths))).label_SHW[0].tolist() == [[0, 255], [9, 0]]


def palette(path, colours):
    """Save the indices 0, 1, 2 as a PNG with these colours."""
    picture = Image.fromarray(np.array([[0, 1, 2], [2, 1, 0]], np.uint8), "P")
    picture.putpalette([part for colour in colours for part in colour])
    picture.save(path)
    return path


def test_a_palette_whose_colours_are_the_values_gives_the_values(put, tmp_path):
    image = put("images", "1.png", noise((2, 3)))
    label = palette(tmp_path / "grey.png", [(0, 0, 0), (1, 1, 1), (2, 2, 2)])
    made = GREY.load(source([image], [label]))
    assert made.label_SHW[0].tolist() == [[0, 1, 2], [2, 1, 0]]


def test_two_classes_of_a_palette_do_not_become_one(put, tmp_path):
    """The usual palette of VOC: 1 is dark red, 2 is dark green."""
    image = put("images", "1.png", noise((2, 3)))
    label = palette(tmp_path / "voc.png", [(0, 0, 0), (128, 0, 0), (0, 128, 0)])
    try:
        row = GREY.load(source([image], [label])).label_SHW[0, 0]
    except SegError as error:
        assert "voc.png" in str(error)
        return
    assert len(set(row.tolist())) == 3, f"classes 0, 1, 2 became {row.tolist()}"


def test_a_grey_jpeg_of_three_equal_channels_is_that_grey(put):
    grey = cv2.GaussianBlur(noise((32, 32)), (0, 0), 4)
    image = put("images", "1.jpg", np.dstack([grey] * 3))
    stored = cv2.imread(str(image), cv2.IMREAD_UNCHANGED)
    assert stored.shape == (32, 32, 3)
    made = GREY.load(source([image], [put("labels", "1.png", grey)]))
    np.testing.assert_array_equal(made.image_SHWC[0, ..., 0] // 257, stored[..., 1])
    assert np.abs(made.image_SHWC[0, ..., 0] / 257 - grey).max() < 8


def test_colours_come_as_red_green_blue(put):
    bgr = np.zeros((2, 2, 3), np.uint8)
    bgr[..., 0], bgr[..., 1], bgr[..., 2] = 10, 20, 30
    made = COLOUR.load(source([put("images", "1.tif", bgr)], [put("labels", "1.tif", bgr)]))
    assert (made.image_SHWC[0] // 257 == [30, 20, 10]).all()


def test_a_grey_image_is_given_three_equal_colours(put):
    path = put("images", "1.png", noise((3, 4), np.uint16))
    made = COLOUR.load(source([path], [path]))
    stored = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(made.image_SHWC[0], np.dstack([stored] * 3))


def test_slices_of_one_case_have_one_size(put):
    images = [put("images", f"{k}.png", noise((4, 4 + (k == 2)))) for k in (1, 2)]
    labels = [put("labels", f"{k}.png", noise((4, 4 + (k == 2)))) for k in (1, 2)]
    message = refusal(GREY, source(images, labels), images[1])
    assert "is 4 x 5 pixels, the first image of its case is 4 x 4;" in message


@pytest.mark.parametrize("shape", [(4, 6), (5, 5), (8, 10)])
def test_a_mask_has_the_size_of_its_image(shape, put):
    paths = (put("images", "1.png", noise((4, 5))), put("labels", "1.png", noise(shape)))
    message = refusal(GREY, source(*([p] for p in paths)), paths[1])
    assert f"is {shape[0]} x {shape[1]} pixels, the first image of its case is 4 x 5;" in message


def test_cases_may_differ_in_size(put):
    for k, shape in ((1, (4, 5)), (2, (7, 3))):
        paths = (
            put("images", f"{k}.png", noise(shape)),
            put("labels", f"{k}.png", noise(shape)),
        )
        assert GREY.load(source(*([p] for p in paths))).label_SHW.shape == (1, *shape)


def test_a_slice_without_label_is_a_problem_of_its_case_alone(put, tmp_path):
    for patient in ("a", "b"):
        for kind in ("images", "labels"):
            for k in (1, 2):
                path = tmp_path / kind / patient / f"{k}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
    (tmp_path / "labels/b/2.png").unlink()
    cases, problems = GREY.find(tmp_path)
    assert [case.name for case in cases] == ["a"]
    assert problems == {"b": f"{tmp_path}/images/b/2.png: has no label"}


def damaged(kind, path):
    """Damage a PNG."""
    data = path.read_bytes()
    if kind == "enormous":  # a valid header of 10^12 pixels
        header = data[12:16] + struct.pack(">II", 10**6, 10**6) + data[24:29]
        data = data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]
    path.write_bytes(
        {"empty": b"", "text": b"not a picture\n", "truncated": data[: len(data) // 2]}.get(
            kind, data
        )
    )


@pytest.mark.parametrize("kind", ["empty", "text", "truncated", "enormous"])
@pytest.mark.parametrize("which", ["images", "labels"])
def test_a_damaged_picture_is_named(kind, which, put):
    paths = {k: put(k, "1.png", noise((32, 32))) for k in ("images", "labels")}
    damaged(kind, paths[which])
    message = refusal(GREY, source([paths["images"]], [paths["labels"]]), paths[which])
    assert "not a readable image" in message


def test_half_a_jpeg_is_not_an_image(put):
    path = put("images", "1.jpg", cv2.GaussianBlur(noise((64, 64)), (0, 0), 3))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    label = put("labels", "1.png", noise((64, 64)))
    assert "not a readable image" in refusal(GREY, source([path], [label]), path)


def test_float_pixels_are_refused(put):
    path = put("images", "1.tif", np.ones((3, 3), np.float32))
    label = put("labels", "1.png", noise((3, 3)))
    assert "received float32" in refusal(GREY, source([path], [label]), path)


def test_a_link_to_nothing_is_a_file_that_cannot_be_read(put, tmp_path):
    """What git-annex and DataLad leave of a file that was not fetched."""
    label = put("labels", "1.png", noise((3, 3)))
    link = tmp_path / "images.png"
    os.symlink(tmp_path / "annex", link)
    refusal(GREY, source([link], [label]), link)
