"""Facts about `seg.data.images`: which pixels come out of which file, and where they go."""

import cv2
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from seg.contracts import Classes, SegError
from seg.data.images import brightest, fit_image, fit_mask, read_image, read_mask, unfit

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
SIZES = [
    ((16, 16), (16, 16)),
    ((10, 20), (16, 16)),
    ((33, 21), (16, 16)),
    ((64, 48), (16, 24)),
    ((7, 13), (32, 32)),
    ((5, 5), (8, 33)),
    ((7, 12), (20, 20)),
    ((12, 7), (20, 20)),
    ((29, 17), (50, 31)),
    ((31, 47), (15, 31)),
]


@pytest.fixture
def grey():
    """All 256 grey values, 16 x 16."""
    return np.arange(256, dtype=np.uint8).reshape(16, 16)


@pytest.fixture
def colour():
    """Random RGB, 6 x 9."""
    return np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)


def ramp(size):
    """Return a plane over the pixels, another slope along each axis."""
    y, x = np.mgrid[: size[0], : size[1]]
    return 1000.0 * (y + 0.5) / size[0] + 3000.0 * (x + 0.5) / size[1] + 500


def ellipse(size):
    y, x = np.mgrid[: size[0], : size[1]]
    return ((y / size[0] - 0.4) / 0.25) ** 2 + ((x / size[1] - 0.55) / 0.3) ** 2 < 1


def inner(original, size):
    """Return the slices that the picture fills after fitting, by hand: Python rounds like this."""
    scale = min(size[0] / original[0], size[1] / original[1])
    parts = [max(1, round(side * scale)) for side in original]
    starts = [(full - part) // 2 for full, part in zip(size, parts, strict=True)]
    return tuple(slice(s, s + part) for s, part in zip(starts, parts, strict=True))


def test_8_bit_becomes_exactly_257_times_itself(tmp_path, grey):
    Image.fromarray(grey).save(tmp_path / "a.png")
    image_HWC = read_image(tmp_path / "a.png", 1)
    assert image_HWC.dtype == np.uint16
    np.testing.assert_array_equal(image_HWC[..., 0], grey.astype(int) * 257)


def test_16_bit_grey_is_kept(tmp_path):
    pixels = np.array([[0, 1, 255, 256], [257, 40000, 65534, 65535]], np.uint16)
    cv2.imwrite(str(tmp_path / "a.png"), pixels)
    image_HWC = read_image(tmp_path / "a.png", 1)
    assert image_HWC.dtype == np.uint16
    np.testing.assert_array_equal(image_HWC[..., 0], pixels)


def test_16_bit_colour_is_kept_in_rgb_order(tmp_path):
    rgb = np.random.default_rng(0).integers(0, 65536, (4, 5, 3), np.uint16)
    cv2.imwrite(str(tmp_path / "a.png"), rgb[..., ::-1])
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", 3), rgb)


def test_colour_comes_in_rgb_order(tmp_path, colour):
    Image.fromarray(colour).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", 3), colour.astype(int) * 257)


def test_grey_fills_three_equal_channels(tmp_path, grey):
    Image.fromarray(grey).save(tmp_path / "a.png")
    image_HWC = read_image(tmp_path / "a.png", 3)
    assert image_HWC.shape == (16, 16, 3)
    np.testing.assert_array_equal(image_HWC, np.stack([grey.astype(int) * 257] * 3, -1))


def test_colour_becomes_grey_by_luma(tmp_path, colour):
    Image.fromarray(colour).save(tmp_path / "a.png")
    image_HWC = read_image(tmp_path / "a.png", 1)
    assert image_HWC.shape == (6, 9, 1)
    luma = colour @ [0.299, 0.587, 0.114]
    np.testing.assert_allclose(image_HWC[..., 0] / 257, luma, atol=0.51)


def test_grey_stored_as_colour_is_the_same_grey(tmp_path, grey):
    Image.fromarray(np.stack([grey] * 3, -1)).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", 1)[..., 0], grey.astype(int) * 257)


def test_alpha_is_dropped_from_colour(tmp_path, colour):
    alpha = np.random.default_rng(1).integers(0, 256, (6, 9, 1), np.uint8)
    Image.fromarray(np.concatenate([colour, alpha], -1), "RGBA").save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", 3), colour.astype(int) * 257)


def test_alpha_is_dropped_from_grey(tmp_path, grey):
    pixels = np.stack([grey, grey[::-1]], -1)
    Image.fromarray(pixels, "LA").save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png", 1)[..., 0], grey.astype(int) * 257)


@pytest.mark.parametrize("suffix", ["png", "jpg", "jpeg", "bmp", "tif", "tiff"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_listed_format_is_read(tmp_path, suffix, channels):
    pixels = np.full((32, 32, 3), (200, 90, 30), np.uint8)
    pixels[:, 16:] = (20, 60, 220)
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(pixels).save(
        path, **({"quality": 95, "subsampling": 0} if "jp" in suffix else {})
    )
    expected = pixels if channels == 3 else pixels @ np.array([[0.299], [0.587], [0.114]])
    np.testing.assert_allclose(read_image(path, channels) / 257, expected, atol=3)


def test_a_path_beyond_ascii_is_read(tmp_path, grey):
    path = tmp_path / "Größe 1.png"
    Image.fromarray(grey).save(path)
    assert read_image(path, 1)[15, 15, 0] == 65535


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16, np.int32])
def test_other_pixels_than_8_and_16_bit_unsigned_are_refused(tmp_path, dtype):
    path = tmp_path / "a.tif"
    cv2.imwrite(str(path), np.ones((4, 4), dtype))
    with pytest.raises(SegError, match=rf"a\.tif.*received {np.dtype(dtype)}"):
        read_image(path, 1)


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif"])
@pytest.mark.parametrize("kept", [0.0, 0.3, 0.9])
def test_a_truncated_file_is_refused_by_its_path(tmp_path, suffix, kept):
    path = tmp_path / f"broken.{suffix}"
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(SegError) as caught:
        read_image(path, 3)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "read", [lambda path: read_image(path, 1), lambda p: read_mask(p, Classes(127))]
)
def test_a_file_that_is_no_image_is_refused_by_its_path(tmp_path, read):
    path = tmp_path / "notes.png"
    path.write_text("not a picture\n" * 50)
    with pytest.raises(SegError) as caught:
        read(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("colour", [RED, GREEN, BLUE])
def test_a_pure_colour_is_foreground(tmp_path, colour):
    pixels = np.zeros((3, 4, 3), np.uint8)
    pixels[1, 2] = colour
    Image.fromarray(pixels).save(tmp_path / "m.png")
    mask_HW = read_mask(tmp_path / "m.png", Classes(127))
    assert mask_HW.dtype == bool
    assert np.argwhere(mask_HW).tolist() == [[1, 2]]


def test_only_values_above_the_threshold_are_foreground(tmp_path, grey):
    Image.fromarray(grey).save(tmp_path / "m.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png", Classes(127)), grey >= 128)


def test_a_16_bit_mask_is_measured_in_units_of_255(tmp_path):
    cv2.imwrite(str(tmp_path / "m.png"), np.array([[0, 127 * 257, 128 * 257, 65535]], np.uint16))
    assert read_mask(tmp_path / "m.png", Classes(127)).tolist() == [[False, False, True, True]]
    np.testing.assert_array_equal(brightest(tmp_path / "m.png"), [[0, 127, 128, 255]])


def test_the_opacity_of_a_mask_does_not_count(tmp_path):
    pixels = np.zeros((2, 2, 4), np.uint8)
    pixels[..., 3] = 255
    pixels[0, 0, 0] = 255
    Image.fromarray(pixels, "RGBA").save(tmp_path / "m.png")
    assert read_mask(tmp_path / "m.png", Classes(127)).tolist() == [[True, False], [False, False]]


@pytest.mark.parametrize(("original", "size"), SIZES)
def test_fit_keeps_the_aspect_ratio_and_pads_evenly(original, size):
    fitted = fit_image(np.full((*original, 1), 9, np.uint16), size)
    filled = np.zeros(size, bool)
    filled[inner(original, size)] = True
    assert fitted.shape == (*size, 1)
    np.testing.assert_array_equal(fitted[..., 0], np.where(filled, 9, 0))
    np.testing.assert_array_equal(fit_mask(np.ones(original, bool), size), filled)


def test_an_odd_rest_of_padding_lies_below_and_right():
    fitted = fit_image(np.ones((5, 8, 1), np.uint16), (8, 8))[..., 0]
    assert fitted.any(axis=1).tolist() == [0, 1, 1, 1, 1, 1, 0, 0]
    fitted = fit_image(np.ones((8, 5, 1), np.uint16), (8, 8))[..., 0]
    assert fitted.any(axis=0).tolist() == [0, 1, 1, 1, 1, 1, 0, 0]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_fit_keeps_dtype_and_channels(dtype, channels):
    fitted = fit_image(np.ones((6, 9, channels), dtype), (4, 4))
    assert (fitted.shape, fitted.dtype) == ((4, 4, channels), dtype)


def test_fit_to_the_same_size_changes_nothing():
    image_HWC = np.random.default_rng(0).integers(0, 65536, (7, 5, 3), np.uint16)
    np.testing.assert_array_equal(fit_image(image_HWC, (7, 5)), image_HWC)


def test_fit_shrinks_by_averaging_areas():
    image_HWC = np.random.default_rng(0).integers(0, 65536, (12, 18, 1), np.uint16)
    means = image_HWC.reshape(4, 3, 6, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(fit_image(image_HWC, (4, 6))[..., 0], means, atol=1)


def test_fit_grows_bilinearly_about_pixel_centres():
    image_HWC = np.array([[0, 400]], np.uint16).repeat(2, 0)[..., None]
    row = fit_image(image_HWC, (4, 4))[1, :, 0]
    assert row.tolist() == [0, 100, 300, 400]


@pytest.mark.parametrize(("original", "size"), SIZES)
def test_fit_does_not_shift_a_picture(original, size):
    fitted = fit_image(ramp(original)[..., None].astype(np.float32), size)[..., 0]
    found = fitted[inner(original, size)][1:-1, 1:-1]
    expected = ramp([part.stop - part.start for part in inner(original, size)])[1:-1, 1:-1]
    pixel = 1000 / original[0] + 3000 / original[1]
    assert np.abs(found - expected).max() < 0.2 * pixel


@pytest.mark.parametrize(("original", "size"), SIZES)
def test_unfit_undoes_fit(original, size):
    before = ramp(original).astype(np.float32)
    after = unfit(fit_image(before[..., None], size)[..., 0], original)
    assert after.shape == original
    assert after.dtype == np.float32
    row, column = (min(side, max(2, side // 6)) for side in original)
    centre = np.s_[row:-row, column:-column]
    pixel = 1000 / min(original[0], size[0]) + 3000 / min(original[1], size[1])
    assert np.abs(after - before)[centre].max() < 0.2 * pixel
    assert np.abs(after - before).max() < pixel


def test_unfit_grows_bilinearly_about_pixel_centres():
    map_HW = np.array([[0, 1], [0, 1]], np.float32)
    np.testing.assert_allclose(unfit(map_HW, (4, 4)), [[0, 0.25, 0.75, 1]] * 4, atol=1e-6)


def test_unfit_leaves_the_padding_out():
    map_HW = np.full((8, 8), 5, np.float32)
    map_HW[2:6] = 1
    np.testing.assert_array_equal(unfit(map_HW, (10, 20)), np.ones((10, 20)))


def test_fit_mask_takes_the_pixel_in_the_centre():
    mask_HW = np.random.default_rng(0).random((12, 18)) < 0.5
    np.testing.assert_array_equal(fit_mask(mask_HW, (4, 6)), mask_HW[1::3, 1::3])


@pytest.mark.parametrize(("original", "size"), SIZES)
def test_fit_mask_takes_the_nearest_pixel_up_to_ties(original, size):
    mask_HW = np.random.default_rng(0).random(original) < 0.5
    area = inner(original, size)
    nearest = [
        (2 * np.arange(part.stop - part.start) + 1) * side // (2 * (part.stop - part.start))
        for part, side in zip(area, original, strict=True)
    ]
    assert np.mean(fit_mask(mask_HW, size)[area] == mask_HW[np.ix_(*nearest)]) > 0.98


@pytest.mark.parametrize(("original", "size"), SIZES)
def test_a_fitted_mask_is_boolean_and_not_empty(original, size):
    fitted = fit_mask(ellipse(original), size)
    assert (fitted.dtype, fitted.shape) == (bool, size)
    assert 0 < fitted.sum() < fitted.size


@pytest.mark.parametrize(
    ("original", "size"),
    [
        ((90, 60), (30, 20)),
        ((100, 150), (20, 30)),
        ((60, 90), (60, 60)),
        ((53, 81), (40, 40)),
        ((62, 93), (128, 128)),
        ((40, 25), (64, 40)),
    ],
)
def test_mask_and_image_are_fitted_to_the_same_place(original, size):
    mask_HW = ellipse(original)
    fitted_mask = fit_mask(mask_HW, size)
    fitted_image = fit_image((mask_HW * 65535).astype(np.uint16)[..., None], size)[..., 0]
    of_mask = ndimage.center_of_mass(fitted_mask)
    of_image = ndimage.center_of_mass(fitted_image.astype(float))
    np.testing.assert_allclose(of_mask, of_image, atol=0.15)


@pytest.mark.parametrize("original", [(1, 1), (1, 40), (40, 1)])
def test_the_thinnest_pictures_survive_both_ways(original):
    fitted = fit_image(np.full((*original, 1), 7, np.uint16), (8, 8))[..., 0]
    assert fitted.max() == 7
    np.testing.assert_array_equal(unfit(fitted.astype(np.float32), original), np.full(original, 7))


LIVER = Classes(127, {"liver": 1, "tumour": 200})


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_with_labels_a_mask_holds_the_index_of_each_pixels_class(tmp_path, dtype):
    cv2.imwrite(str(tmp_path / "m.png"), np.array([[0, 200, 1], [1, 0, 200]], dtype))
    mask_HW = read_mask(tmp_path / "m.png", LIVER)
    assert mask_HW.dtype == np.uint8
    assert mask_HW.tolist() == [[0, 2, 1], [1, 0, 2]]


def test_the_index_of_a_class_is_its_place_in_the_mapping_not_its_value(tmp_path):
    cv2.imwrite(str(tmp_path / "m.png"), np.array([[0, 7, 60000]], np.uint16))
    classes = Classes(127, {"late": 60000, "early": 7})
    assert read_mask(tmp_path / "m.png", classes).tolist() == [[0, 2, 1]]


def test_the_label_of_a_picture_with_a_palette_is_its_index_there(tmp_path):
    picture = Image.fromarray(np.array([[0, 1, 200]], np.uint8), "P")
    picture.putpalette([0, 0, 0, 255, 0, 0] + [90, 90, 90] * 254)
    picture.save(tmp_path / "m.png")
    assert read_mask(tmp_path / "m.png", LIVER).tolist() == [[0, 1, 2]]


def test_a_value_without_a_label_is_refused_with_file_value_and_names(tmp_path):
    cv2.imwrite(str(tmp_path / "m.png"), np.array([[0, 1, 3, 9]], np.uint8))
    with pytest.raises(SegError) as caught:
        read_mask(tmp_path / "m.png", LIVER)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path}/m.png: pixels must be 0 or named in ")
    assert "dataset.labels={liver: 1, tumour: 200}, received 3; name that value" in message


def test_there_may_be_254_labels_and_255_is_one_of_them(tmp_path):
    values = [*range(1, 254), 255]
    cv2.imwrite(str(tmp_path / "m.png"), np.array([[0, 1, 253, 255]], np.uint8))
    many = Classes(127, {f"c{value}": value for value in values})
    assert read_mask(tmp_path / "m.png", many).tolist() == [[0, 1, 253, 254]]


@pytest.mark.parametrize(("original", "size"), SIZES)
def test_a_mask_of_indices_is_fitted_as_the_mask_of_each_class(original, size):
    mask_HW = np.random.default_rng(0).integers(0, 4, original, np.uint8)
    fitted = fit_mask(mask_HW, size)
    assert fitted.dtype == np.uint8
    assert set(np.unique(fitted)) <= {0, 1, 2, 3}
    for index in (1, 2, 3):
        np.testing.assert_array_equal(fitted == index, fit_mask(mask_HW == index, size))
