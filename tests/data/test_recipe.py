"""Facts about `seg.data.recipe`: pixels computed by hand, or with NumPy from the definition."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seg.contracts import Scan, SegError
from seg.data.intensity import AsStored, Window
from seg.data.recipe import Recipe


def recipe(intensity=AsStored(), known=None, target=None, square=True, bits=8):  # noqa: B008
    return Recipe(intensity, known, target, square, bits)


def scan(height, width, spacing_mm):
    pixels = np.zeros((2, height, width), np.uint16)
    return Scan(pixels[..., None], pixels, spacing_mm)


def seen(values, low, high, bits=8, size=None):
    """Prepare one row of intensities."""
    image = np.array(values, np.float32)[None, :, None]
    bounds = (np.array([float(low)]), np.array([float(high)]))
    return recipe(bits=bits).image(image, *bounds, size or image.shape[:2])[..., 0]


@pytest.mark.parametrize("bits", [1, 12, 32])
def test_a_depth_that_png_lacks_is_refused(bits):
    with pytest.raises(SegError, match=f"bits must be 8 or 16. Received: {bits}"):
        recipe(bits=bits)


def test_a_window_is_linear_rounds_and_never_wraps():
    """50 +- 200 HU: (hu + 150) / 400 * 255; -149.06 gives 0.6, 247 gives 253.09."""
    hu = [-3000, -1000, -150, -149.06, -149.5, 49, 247, 249.5, 250, 251, 3000, 1e30, -1e30]
    expected = [0, 0, 0, 1, 0, 127, 253, 255, 255, 255, 255, 255, 0]
    pixels = seen(hu, -150, 250)
    assert pixels.dtype == np.uint8
    assert pixels[0].tolist() == expected


def test_sixteen_bits_are_65535_steps():
    """-149 HU is 1 / 400 * 65535 = 163.8."""
    pixels = seen([-150, -149, 50.2, 250, 9999], -150, 250, bits=16)
    assert pixels.dtype == np.uint16
    assert pixels[0].tolist() == [0, 164, 32800, 65535, 65535]


@given(
    values=st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=20),
    low=st.integers(-2000, 2000),
    width=st.integers(1, 5000),
    bits=st.sampled_from([8, 16]),
)
@settings(derandomize=True, deadline=None, max_examples=60)
def test_any_image_is_scaled_by_the_definition(values, low, width, bits):
    pixels = seen(values, low, low + width, bits)
    white = 2**bits - 1
    exact = np.clip((np.array(values) - low) / width, 0, 1) * white
    assert np.abs(pixels[0] - exact).max() <= 0.51
    assert pixels.dtype == f"uint{bits}"


def test_each_channel_is_scaled_between_its_own_bounds():
    image = np.array([[[0, 10, 100], [5, 20, 300]]], np.float32)
    pixels = recipe().image(image, np.array([0.0, 0, 100]), np.array([10.0, 20, 300]), (1, 2))
    assert pixels.shape == (1, 2, 3)
    assert pixels.tolist() == [[[0, 128, 0], [128, 255, 255]]]


def test_pictures_as_stored_come_out_as_they_were():
    """The reader gives 8-bit pixels as v * 257 of 65535; all values of both depths are tried."""
    for bits, stored, expected in (
        (8, np.arange(256) * 257, np.arange(256)),
        (16, np.arange(65536), np.arange(65536)),
    ):
        image = stored.astype(np.uint16).reshape(1, -1, 1)
        low, high = AsStored().bounds(image[None])
        made = recipe(bits=bits).image(image, low, high, image.shape[:2])
        np.testing.assert_array_equal(made[0, :, 0], expected)


def test_an_image_grows_linearly_between_pixel_centres():
    """New centres lie at -1/4, 1/4, 3/4, 5/4 of the old: 0, 63.75, 191.25, 255."""
    assert seen([0, 255], 0, 255, size=(1, 4))[0].tolist() == [0, 64, 191, 255]
    assert seen([0, 255], 0, 255, size=(3, 2)).tolist() == [[0, 255]] * 3


def test_a_colour_image_keeps_its_channels_when_it_grows():
    image = np.array([[[10, 20, 30]], [[10, 20, 30]]], np.uint8)
    made = recipe().image(image, *AsStored().bounds(image[None]), (5, 2))
    assert made.shape == (5, 2, 3)
    assert (made == [10, 20, 30]).all()


def test_a_single_channel_stays_an_axis_when_it_grows():
    image = np.zeros((2, 3, 1), np.uint8)
    assert recipe().image(image, *AsStored().bounds(image[None]), (4, 6)).shape == (4, 6, 1)


def test_a_window_clips_before_it_resizes():
    """Air beside bone: halfway between them is grey, however far beyond the window they are."""
    middle = seen([-30000, -30000, 3000, 3000], -150, 250, size=(1, 8))[0, 3:5]
    assert middle.tolist() == [64, 191]


@pytest.mark.parametrize(
    ("grid", "spacing", "size", "after"),
    [
        ((52, 48), (3, 1, 1.25), (52, 60), (3, 1, 1)),
        ((3, 10), (1, 4, 1), (12, 10), (1, 1, 1)),
        ((10, 3), (9, 0.5, 2), (10, 12), (9, 0.5, 0.5)),
        ((7, 5), (2, 1.1, 1), (8, 5), (2, 0.9625, 1)),
        ((7, 5), (2, 0.7, 0.7), (7, 5), (2, 0.7, 0.7)),
    ],
)
def test_the_coarser_direction_grows_to_the_finer_spacing(grid, spacing, size, after):
    volume = scan(*grid, spacing)
    assert recipe().size(volume) == size
    assert recipe().spacing_mm(volume) == pytest.approx(after)
    assert recipe(square=False).size(volume) == grid
    assert recipe(square=False).spacing_mm(volume) == pytest.approx(spacing)


def test_a_scan_of_unknown_spacing_stays_as_it_is():
    assert recipe().size(scan(4, 6, None)) == (4, 6)
    assert recipe().spacing_mm(scan(4, 6, None)) is None


LABEL = np.array([[0, 1, 2], [3, 255, 0]])


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (None, [[0, 255, 255], [255, 255, 0]]),
        ([1], [[0, 255, 0], [0, 0, 0]]),
        ([1, 3], [[0, 255, 0], [255, 0, 0]]),
        ([255], [[0, 0, 0], [0, 255, 0]]),
        ([4], [[0, 0, 0], [0, 0, 0]]),
    ],
)
def test_target_labels_are_white_and_all_others_black(target, expected):
    mask = recipe(target=target).mask(LABEL, None, LABEL.shape)
    assert mask.dtype == np.uint8
    assert mask.tolist() == expected


def test_a_negative_label_is_not_background():
    mask = recipe().mask(np.array([[-1, 0]]), None, (1, 2))
    assert mask.tolist() == [[255, 0]]


def test_labels_that_nobody_knows_are_named():
    with pytest.raises(SegError) as caught:
        recipe(known=[0, 1], target=[1]).mask(LABEL, None, LABEL.shape)
    message = str(caught.value)
    assert "holds the label 2, 3, 255, known are 0, 1;" in message
    assert "dataset.prepare.known_labels" in message
    many = np.arange(2, 9)[None]
    with pytest.raises(SegError, match=r"the label 2, 3, 4, 5, 6, \.\.\., known are 0"):
        recipe(known=[0]).mask(many, None, many.shape)


def test_what_the_publisher_says_of_labels_counts_unless_the_recipe_says_more():
    with pytest.raises(SegError, match="holds the label 3, 255, known are 0, 1, 2"):
        recipe().mask(LABEL, (0, 1, 2), LABEL.shape)
    told = recipe(known=[0, 1, 2, 3, 255]).mask(LABEL, (0, 1), LABEL.shape)
    assert np.count_nonzero(told) == 4
    with pytest.raises(SegError, match="known are 0, 1;"):
        recipe(known=[0, 1]).mask(LABEL, (0, 1, 2, 3, 255), LABEL.shape)


def test_an_unknown_label_is_refused_though_it_is_no_target():
    with pytest.raises(SegError, match="holds the label 7"):
        recipe(known=[0, 1], target=[1]).mask(np.array([[0, 1, 7]]), None, (1, 3))


@pytest.mark.parametrize(
    ("before", "after"), [((3, 5), (3, 8)), ((5, 6), (11, 6)), ((5, 2), (7, 9))]
)
def test_a_mask_grows_to_the_nearest_pixel_centre_and_stays_black_and_white(before, after):
    label = np.random.default_rng(0).integers(0, 2, before)
    rows, columns = (
        np.floor((np.arange(n) + 0.5) * m / n).astype(int)
        for m, n in zip(before, after, strict=True)
    )
    mask = recipe().mask(label, None, after)
    assert set(np.unique(mask)) == {0, 255}
    np.testing.assert_array_equal(mask == 255, label[np.ix_(rows, columns)] == 1)


def test_image_and_mask_of_a_window_stay_aligned():
    """A bright square and its mask, 3 mm rows to 1 mm: their centres of mass coincide."""
    label = np.zeros((20, 40), int)
    label[6:12, 10:25] = 1
    image = np.where(label == 1, 200.0, -200.0).astype(np.float32)[..., None]
    volume = Scan(image[None], label[None], (5, 3, 1))
    made = recipe(Window(50, 400))
    size = made.size(volume)
    assert size == (60, 40)
    grey = made.image(image, *made.intensity.bounds(image[None]), size)[..., 0] > 127
    mask = made.mask(label, None, size) > 0
    centres = [np.array(np.nonzero(pixels)).mean(axis=1) for pixels in (grey, mask)]
    np.testing.assert_allclose(*centres, atol=0.01)


def test_a_target_that_the_publisher_does_not_name_is_refused():
    recipe = Recipe(AsStored(), None, [2], True, 8)
    with pytest.raises(SegError, match=r"target_labels=\[2\]"):
        recipe.mask(np.zeros((2, 2), int), (0, 1), (2, 2))


def keeping(target=None, known=None):
    return Recipe(AsStored(), known, target, True, 8, merge_labels=False)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (None, [[0, 1, 2], [3, 255, 0]]),
        ([1, 3], [[0, 1, 0], [3, 0, 0]]),
        ([255], [[0, 0, 0], [0, 255, 0]]),
    ],
)
def test_labels_that_are_not_merged_keep_their_values(target, expected):
    mask = keeping(target).mask(LABEL, None, LABEL.shape)
    assert mask.dtype == np.uint8
    assert mask.tolist() == expected


def test_a_mask_of_labels_grows_to_the_nearest_pixel_centre():
    label = np.array([[1, 3]])
    assert keeping().mask(label, None, (2, 6)).tolist() == [[1, 1, 1, 3, 3, 3]] * 2


@pytest.mark.parametrize("value", [256, 1000, -1])
def test_a_label_that_a_mask_cannot_keep_is_refused_unless_it_is_no_target(value):
    label = np.array([[0, 1, value]])
    with pytest.raises(SegError, match=rf"holds the label {value}, a mask keeps 1 to 255: name"):
        keeping().mask(label, None, label.shape)
    assert keeping([1]).mask(label, None, label.shape).tolist() == [[0, 1, 0]]
    assert recipe().mask(label, None, label.shape).tolist() == [[0, 255, 255]]


def test_an_unknown_label_is_refused_whether_or_not_labels_are_merged():
    with pytest.raises(SegError, match="holds the label 3, 255, known are 0, 1, 2"):
        keeping([1], [0, 1, 2]).mask(LABEL, None, LABEL.shape)
