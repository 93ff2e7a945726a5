"""Facts about `seg.augment.artefacts`, checked against scipy and formulas written out here."""

import numpy as np
import pytest
from scipy import ndimage

from seg.augment.artefacts import (
    BiasField,
    CoarseDropout,
    GaussianBlur,
    GaussianNoise,
    LowResolution,
)
from seg.augment.ranges import generator

CHANGES = [
    GaussianNoise(1.0, [0.05, 0.1]),
    GaussianBlur(1.0, [0.5, 1.5]),
    LowResolution(1.0, [0.3, 0.6]),
    BiasField(1.0, [0.2, 0.8]),
    CoarseDropout(1.0, [1, 4], [0.1, 0.3]),
]
STILL = [
    GaussianNoise(1.0, [0.0, 0.0]),
    LowResolution(1.0, [1.0, 1.0]),
    BiasField(1.0, [0.0, 0.0]),
    CoarseDropout(1.0, [0, 0], [0.1, 0.3]),
]


@pytest.fixture(scope="module", params=[(24, 32, 1), (33, 21, 3)], ids=str)
def image(request):
    return np.random.default_rng(0).random(request.param, np.float32)


def changed(transform, image, k=0):
    return transform.change(image, generator(4, k)).reshape(image.shape)


def white(height, width, channels=1):
    return np.ones((height, width, channels), np.float32)


def bicubic(n, of):
    """Return the n x `of` matrix that resamples `of` numbers to n (a = -0.75, ends repeated)."""
    weights = np.zeros((n, of))
    for i in range(n):
        where = (i + 0.5) * of / n - 0.5
        for j in range(int(np.floor(where)) - 1, int(np.floor(where)) + 3):
            d = abs(where - j)
            near, far = 1.25 * d**3 - 2.25 * d**2 + 1, -0.75 * (d**3 - 5 * d**2 + 8 * d - 4)
            weights[i, min(max(j, 0), of - 1)] += near if d <= 1 else far
    return weights


def resampled(picture_HWC, height, width):
    rows, columns = bicubic(height, len(picture_HWC)), bicubic(width, picture_HWC.shape[1])
    return np.einsum("hi,ijc,wj->hwc", rows, picture_HWC, columns)


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
    first, again = ([changed(transform, image, k) for k in range(9)] for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert len({part.tobytes() for part in first}) > 6


@pytest.mark.parametrize("transform", CHANGES, ids=str)
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (1, 40)])
def test_tiny_pictures_become_something_finite(transform, size):
    assert np.isfinite(changed(transform, white(*size))).all()


def test_noise_is_normal_of_the_deviation_drawn():
    noise = changed(GaussianNoise(1.0, [0.05, 0.05]), white(200, 150, 1)) - 1
    assert abs(noise.mean()) < 5 * 0.05 / np.sqrt(noise.size)
    assert noise.std() == pytest.approx(0.05, rel=0.02)
    for sds, share in [(1, 0.6827), (2, 0.9545)]:
        assert np.mean(np.abs(noise) < sds * 0.05) == pytest.approx(share, abs=0.01)


def test_noise_differs_in_every_pixel_and_channel():
    noise = changed(GaussianNoise(1.0, [0.05, 0.05]), white(100, 90, 3)) - 1
    pairs = [
        (noise[..., 0], noise[..., 1]),
        (noise[..., 1], noise[..., 2]),
        (noise[1:], noise[:-1]),
        (noise[:, 1:], noise[:, :-1]),
    ]
    for a, b in pairs:
        assert abs(np.corrcoef(a.ravel(), b.ravel())[0, 1]) < 0.06


def test_the_deviation_of_noise_is_drawn_from_its_range():
    transform = GaussianNoise(1.0, [0.02, 0.1])
    drawn = [(changed(transform, white(20, 20), k) - 1).std() for k in range(200)]
    assert 0.018 < min(drawn) < 0.025
    assert 0.095 < max(drawn) < 0.11
    assert np.mean(drawn) == pytest.approx(0.06, abs=0.01)


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.3])
def test_blur_is_that_of_scipy(image, sigma):
    """The kernels end at about 4 sigma, beyond which a Gaussian has 6e-5 of its mass."""
    found = changed(GaussianBlur(1.0, [sigma, sigma]), image)
    for c in range(image.shape[-1]):
        expected = ndimage.gaussian_filter(image[..., c], sigma, mode="nearest", truncate=5)
        np.testing.assert_allclose(found[..., c], expected, atol=5e-4)


def test_the_blur_is_drawn_from_its_range():
    dot = np.zeros((41, 41, 1), np.float32)
    dot[20, 20] = 1
    sigmas = []
    for k in range(150):
        blurred = changed(GaussianBlur(1.0, [1.0, 2.0]), dot, k)[..., 0].sum(axis=0)
        sigmas.append(np.sqrt((blurred * (np.arange(41) - 20) ** 2).sum()))
    assert 0.97 < min(sigmas) < 1.05
    assert 1.9 < max(sigmas) < 2.01
    assert np.mean(sigmas) == pytest.approx(1.5, abs=0.12)


@pytest.mark.parametrize("parts", [2, 4])
def test_low_resolution_averages_blocks_and_enlarges_them_bicubically(parts):
    image = np.random.default_rng(0).random((24, 32, 3), np.float32)
    found = changed(LowResolution(1.0, [1 / parts, 1 / parts]), image)
    small = image.reshape(24 // parts, parts, 32 // parts, parts, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(found, resampled(small, 24, 32), atol=1e-5)


def test_low_resolution_neither_shifts_nor_brightens():
    y, x = np.mgrid[:60, :80]
    blob = np.exp(-((y - 23) ** 2 + (x - 51) ** 2) / 128)[..., None].astype(np.float32)
    for factor in (0.3, 0.47, 0.8):
        found = changed(LowResolution(1.0, [factor, factor]), blob)
        assert found.sum() == pytest.approx(blob.sum(), rel=0.01)
        centre = ndimage.center_of_mass(found[..., 0])
        np.testing.assert_allclose(centre, (23, 51), atol=0.1)


def test_low_resolution_loses_what_is_finer_than_its_pixels():
    checks = np.indices((24, 32)).sum(axis=0)[..., None] % 2
    found = changed(LowResolution(1.0, [0.5, 0.5]), checks.astype(np.float32))
    np.testing.assert_allclose(found, 0.5, atol=1e-6)


@pytest.mark.parametrize("size", [(24, 32), (33, 21), (5, 70)])
def test_the_gain_of_a_bias_field_is_2_to_the_bicubic_of_16_exponents(size):
    rows, columns = bicubic(size[0], 4), bicubic(size[1], 4)
    drawn = []
    for k in range(30):
        logs = np.log2(changed(BiasField(1.0, [0.8, 0.8]), white(*size), k)[..., 0].astype(float))
        exponents = np.linalg.pinv(rows) @ logs @ np.linalg.pinv(columns).T
        np.testing.assert_allclose(rows @ exponents @ columns.T, logs, atol=1e-5)
        drawn.append(exponents)
    assert -0.8001 < np.min(drawn) < -0.76
    assert 0.76 < np.max(drawn) < 0.8001
    assert abs(np.mean(drawn)) < 5 * 0.8 / np.sqrt(3 * 30 * 16)


def test_a_gain_stays_positive_however_strong():
    gains = [changed(BiasField(1.0, [3.0, 3.0]), white(32, 32), k) for k in range(50)]
    assert np.min(gains) > 0


def test_all_channels_get_the_same_gain_and_every_sample_another():
    found = [changed(BiasField(1.0, [0.5, 0.5]), white(24, 32, 3), k) for k in range(20)]
    for gain in found:
        np.testing.assert_array_equal(gain, gain[..., :1].repeat(3, axis=-1))
    assert len({gain.tobytes() for gain in found}) == 20


def test_a_bias_field_multiplies(image):
    transform = BiasField(1.0, [0.5, 0.5])
    gain = changed(transform, np.ones_like(image))
    np.testing.assert_allclose(changed(transform, image), image * gain, rtol=1e-6)


def test_bias_fields_darken_as_often_as_they_brighten():
    logs = [np.log2(changed(BiasField(1.0, [0.4, 0.4]), white(16, 16), k)) for k in range(200)]
    assert abs(np.mean(logs)) < 0.02
    assert 0.1 < np.std(logs) < 0.4 / np.sqrt(3)


def test_holes_are_black_rectangles_of_the_sizes_asked_for():
    transform = CoarseDropout(1.0, [1, 1], [0.1, 0.5])
    heights, widths = [], []
    for k in range(200):
        black = changed(transform, white(60, 40, 3), k) == 0
        assert (black == black[..., :1]).all()
        rows, columns = black[..., 0].any(axis=1), black[..., 0].any(axis=0)
        np.testing.assert_array_equal(black[..., 0], rows[:, None] & columns)
        assert np.abs(np.diff(rows.astype(int))).sum() <= 2
        heights.append(rows.sum())
        widths.append(columns.sum())
    assert (min(heights), max(heights)) == (6, 30)
    assert (min(widths), max(widths)) == (4, 20)
    assert abs(np.corrcoef(heights, widths)[0, 1]) < 0.35


def test_a_hole_may_lie_everywhere():
    transform = CoarseDropout(1.0, [1, 1], [0.3, 0.3])
    black = np.sum([changed(transform, white(12, 16), k)[..., 0] == 0 for k in range(400)], axis=0)
    assert black.min() > 0


def test_every_number_of_holes_is_as_likely():
    transform = CoarseDropout(1.0, [0, 3], [0.01, 0.01])
    counts = np.bincount(
        [(changed(transform, white(90, 90), k) == 0).sum() for k in range(400)], minlength=4
    )
    assert len(counts) == 4
    assert np.abs(counts - 100).max() < 5 * np.sqrt(400 * 3 / 16)


@pytest.mark.parametrize(("fraction", "black"), [(0.0, 1), (1.0, 35)])
def test_a_hole_is_at_least_a_pixel_and_at_most_the_picture(fraction, black):
    found = changed(CoarseDropout(1.0, [1, 1], [fraction, fraction]), white(5, 7))
    assert (found == 0).sum() == black


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: GaussianNoise(0.5, [-0.1, 0]), r"sd must be .* of 0 or more. Received: \[-0.1"),
        (lambda: GaussianBlur(0.5, [0, 1]), r"sigma_px must be .* of 0.01 or more. Received"),
        (lambda: LowResolution(0.5, [0, 1]), r"factor must be .* within 0.01..1. Received: \[0,"),
        (lambda: LowResolution(0.5, [1, 1.5]), r"factor must be .* within 0.01..1. Received: \[1"),
        (lambda: BiasField(0.5, [-1, 0]), r"strength must be .* of 0 or more. Received: \[-1, 0"),
        (lambda: CoarseDropout(0.5, [-1, 2], [0, 1]), r"holes must be .* of 0 or more. Received"),
        (lambda: CoarseDropout(0.5, [3, 2], [0, 1]), r"holes must be .* of 0 or more. Received"),
        (lambda: CoarseDropout(0.5, [1, 2], [0, 2]), r"fraction must be .* within 0..1. Received"),
    ],
)
def test_what_is_no_range_is_refused_in_words(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
