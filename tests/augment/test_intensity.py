"""Facts about `seg.augment.intensity`, checked against their formulas in float64 and scipy."""

import numpy as np
import pytest
from scipy import ndimage

from seg.augment.intensity import Brightness, Contrast, Gamma, Sharpen
from seg.augment.ranges import generator

CHANGES = [
    Brightness(1.0, [0.8, 1.2], [-0.2, 0.2]),
    Contrast(1.0, [0.5, 1.5]),
    Gamma(1.0, [0.5, 2.0]),
    Sharpen(1.0, [0.2, 1.0]),
]
STILL = [
    Brightness(1.0, [1.0, 1.0], [0.0, 0.0]),
    Contrast(1.0, [1.0, 1.0]),
    Gamma(1.0, [1.0, 1.0]),
    Sharpen(1.0, [0.0, 0.0]),
]


@pytest.fixture(scope="module", params=[(5, 7, 1), (40, 31, 3)], ids=str)
def image(request):
    return np.random.default_rng(0).random(request.param, np.float32)


def changed(transform, image, k=0):
    return transform.change(image, generator(4, k)).reshape(image.shape)


def series(transform, image, n):
    """Return what comes of an image for samples 0..n-1, NHWC."""
    return np.stack([changed(transform, image, k) for k in range(n)])


def pixel(*grey):
    return np.float32(grey).reshape(1, -1, 1)


@pytest.mark.parametrize("transform", STILL, ids=str)
def test_a_change_by_nothing_changes_nothing(transform, image):
    np.testing.assert_array_equal(changed(transform, image), image)


@pytest.mark.parametrize("transform", CHANGES, ids=str)
def test_the_image_given_stays_and_float32_stays_float32(transform, image):
    before = image.copy()
    found = changed(transform, image)
    assert found.dtype == np.float32
    assert not np.allclose(found, image, atol=0.01)
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("transform", CHANGES, ids=str)
def test_a_change_is_drawn_by_its_generator_alone(transform, image):
    first, again = series(transform, image, 9), series(transform, image, 9)
    np.testing.assert_array_equal(first, again)
    assert len({part.tobytes() for part in first}) == 9


@pytest.mark.parametrize("transform", CHANGES, ids=str)
@pytest.mark.parametrize("grey", [0.0, 1.0])
def test_a_black_or_white_image_becomes_something_finite(transform, grey):
    assert np.isfinite(changed(transform, np.full((6, 9, 3), grey, np.float32))).all()


def test_brightness_multiplies_and_adds(image):
    found = changed(Brightness(1.0, [1.2, 1.2], [-0.1, -0.1]), image)
    np.testing.assert_allclose(found, image.astype(float) * 1.2 - 0.1, atol=1e-6)


def test_brightness_raises_every_pixel_by_one_value(image):
    for found in series(Brightness(1.0, [1.0, 1.0], [-0.2, 0.2]), image, 20):
        delta = found - image
        np.testing.assert_allclose(delta, delta[0, 0, 0], atol=1e-6)
        assert abs(delta[0, 0, 0]) > 1e-5


@pytest.mark.parametrize(
    ("make", "read"),
    [
        (lambda pair: Brightness(1.0, [1.0, 1.0], pair), lambda found: found[:, 0, 1, 0] - 0.5),
        (lambda pair: Brightness(1.0, pair, [0.0, 0.0]), lambda found: found[:, 0, 1, 0] / 0.5),
        (
            lambda pair: Contrast(1.0, pair),
            lambda found: (found[:, 0, 1, 0] - found[:, 0, 0, 0]) / 0.25,
        ),
        (lambda pair: Gamma(1.0, pair), lambda found: np.log(found[:, 0, 1, 0]) / np.log(0.5)),
        (
            lambda pair: Sharpen(1.0, pair),
            lambda found: (found[:, 0, 1, 0] - 0.5) / 0.25,
        ),
    ],
    ids=["offset", "factor", "contrast", "gamma", "sharpen"],
)
def test_what_is_drawn_is_uniform_within_its_range(make, read):
    drawn = read(series(make([0.2, 0.6]), pixel(0.25, 0.5, 0.5), 300).astype(float))
    assert 0.1999 <= drawn.min() < 0.22
    assert 0.58 < drawn.max() <= 0.6001
    assert abs(drawn.mean() - 0.4) < 6 * 0.2 / np.sqrt(3 * 300)
    assert len(set(drawn)) > 290


def test_factor_and_offset_of_brightness_are_drawn_apart():
    found = series(Brightness(1.0, [0.5, 1.5], [-0.2, 0.2]), pixel(0.0, 1.0), 300)[:, 0, :, 0]
    offsets, factors = found[:, 0], found[:, 1] - found[:, 0]
    assert abs(np.corrcoef(offsets, factors)[0, 1]) < 0.3


def test_contrast_keeps_the_mean_and_scales_the_spread(image):
    found = changed(Contrast(1.0, [0.4, 0.4]), image)
    assert found.mean() == pytest.approx(image.mean(), abs=1e-6)
    assert found.std() == pytest.approx(0.4 * image.std(), rel=1e-5)
    mean = image.mean(dtype=float)
    np.testing.assert_allclose(found, mean + 0.4 * (image - mean), atol=1e-6)


def test_without_contrast_all_is_the_mean(image):
    np.testing.assert_allclose(changed(Contrast(1.0, [0, 0]), image), image.mean(), atol=1e-6)


@pytest.mark.parametrize("exponent", [0.5, 2.0, 3.0])
def test_gamma_is_a_power_that_keeps_black_and_white(exponent):
    found = changed(Gamma(1.0, [exponent, exponent]), pixel(0, 0.25, 0.81, 1)).ravel()
    np.testing.assert_allclose(found, [0, 0.25**exponent, 0.81**exponent, 1], rtol=1e-5)
    assert (found[0], found[-1]) == (0, 1)


@pytest.mark.parametrize("amount", [0.3, 1.0])
def test_sharpen_takes_away_scipys_laplacian_channel_by_channel(image, amount):
    found = changed(Sharpen(1.0, [amount, amount]), image)
    for c in range(image.shape[-1]):
        grey = image[..., c].astype(float)
        expected = grey - amount * ndimage.laplace(grey, mode="nearest")
        np.testing.assert_allclose(found[..., c], expected, atol=1e-5)


def test_sharpen_at_1_is_the_kernel_of_5_amid_four_minus_1():
    dot = np.zeros((5, 5, 1), np.float32)
    dot[2, 2] = 1
    kernel = [[0, -1, 0], [-1, 5, -1], [0, -1, 0]]
    np.testing.assert_array_equal(changed(Sharpen(1.0, [1, 1]), dot)[1:-1, 1:-1, 0], kernel)


def test_sharpen_leaves_what_is_even_alone():
    even = np.full((6, 8, 3), 0.3, np.float32)
    np.testing.assert_allclose(changed(Sharpen(1.0, [1.0, 1.0]), even), even, atol=1e-6)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Brightness(0.5, [-0.1, 1], [0, 0]), r"factor must be .* of 0 or more. Received"),
        (
            lambda: Brightness(0.5, [1, 1], [0.1, 0]),
            r"offset must be \[lowest, highest\]. Received",
        ),
        (lambda: Contrast(0.5, [-1, 1]), r"factor must be .* of 0 or more. Received: \[-1, 1\]"),
        (lambda: Gamma(0.5, [0, 1]), r"exponent must be .* of 0.01 or more. Received: \[0, 1\]"),
        (lambda: Sharpen(0.5, [-0.5, 1]), r"amount must be .* of 0 or more. Received: \[-0.5, 1"),
        (lambda: Sharpen(0.5, [1]), r"amount must be .* of 0 or more. Received: \[1\]"),
    ],
)
def test_what_is_no_range_is_refused_in_words(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
