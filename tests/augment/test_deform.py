"""Facts about `seg.augment.deform`, checked against the definitions at full resolution in scipy.

Axes: H height, W width, 2 the coordinates x and y.
"""

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from scipy import ndimage, signal

from seg.augment.deform import Distortion, Elastic, Lens
from seg.augment.ranges import generator
from seg.augment.warp import grid, grid_step, warp
from seg.build import build
from seg.config import conf_dir

ELASTIC = Elastic(1.0, [150.0, 150.0], 12.0, 512)
DISTORTION = Distortion(1.0, 0.08, [0.03, 0.03])
MIDDLE = [[0.5, 0.5]]
BARREL, PINCUSHION = Lens(1.0, 0.3, [-0.3, -0.3], MIDDLE), Lens(1.0, 0.3, [0.3, 0.3], MIDDLE)
BENT = [ELASTIC, DISTORTION, BARREL, PINCUSHION]
STILL = [
    Elastic(1.0, [0.0, 0.0], 12.0, 512),
    Distortion(1.0, 0.08, [0.0, 0.0]),
    Lens(1.0, 0.3, [0.0, 0.0], MIDDLE),
]
SIZES = [(48, 64), (33, 21), (131, 150), (400, 512)]


def pixels(size):
    """Return the centres of all pixels, from the picture's centre: HW2, float64."""
    y, x = np.mgrid[: size[0], : size[1]] - (np.array(size)[:, None, None] - 1) / 2
    return np.stack([x, y], -1)


def warped(transform, image, mask, k=0):
    size = image.shape[:2]
    return warp(image, mask, transform.move(grid(size), generator(7, k), size))


def field(transform, size, k=0):
    """Return how far each pixel of the output is from what it shows: HW2, to 1/64 pixel.

    Read off a picture whose grey values are its coordinates; NaN where it shows the outside.
    """
    own = pixels(size)
    coordinates = np.concatenate([own, np.ones((*size, 1))], -1).astype(np.float32)
    shown = warped(transform, coordinates, np.zeros((*size, 1), np.uint8), k)[0]
    return np.where(shown[..., 2:] == 1, shown[..., :2] - own, np.nan)


def inner(field_HW2, px):
    return field_HW2[px:-px, px:-px]


def correlation(field_HW, lags):
    """Return the correlation of a field with itself, rows and columns that many pixels apart."""
    of_lag = []
    for lag in lags:
        pairs = (field_HW[lag:], field_HW[:-lag]), (field_HW[:, lag:], field_HW[:, :-lag])
        of_lag.append([(a * b).mean() for a, b in pairs])
    return np.array(of_lag) / (field_HW**2).mean()


def ellipse(size=(80, 96), centre=(39, 47), radii=(19, 25)):
    y, x = np.mgrid[: size[0], : size[1]]
    inside = ((y - centre[0]) / radii[0]) ** 2 + ((x - centre[1]) / radii[1]) ** 2 < 1
    return inside.astype(np.uint8)[..., None]


@pytest.mark.parametrize("transform", STILL, ids=str)
@pytest.mark.parametrize("size", SIZES)
def test_a_transform_by_nothing_changes_nothing(transform, size):
    image = np.random.default_rng(0).random((*size, 1), np.float32)
    mask = (image < 0.5).astype(np.uint8)
    found = warped(transform, image, mask)
    np.testing.assert_array_equal(found[0], image)
    np.testing.assert_array_equal(found[1], mask)


@pytest.mark.parametrize("size", [(96, 128), (384, 512)], ids=["step 1", "step 4"])
def test_elastic_is_as_strong_and_smooth_as_white_noise_smoothed_at_full_resolution(size):
    """The kernel is scipy's: noise of variance 1/3 keeps its sum of squares, and correlates as it.

    Over 16 fields of two axes the standard deviation is known to 1.4%.
    """
    side, lags = max(size), [4, 12, 20, 32]
    enlarged = side / 512
    impulse = np.zeros((193, 193))
    impulse[96, 96] = 1
    kernel = ndimage.gaussian_filter(impulse, 12.0)
    alike = signal.fftconvolve(kernel, kernel, mode="same")
    sd_px = enlarged * 150 * np.sqrt(alike[96, 96] / 3)
    assert sd_px == pytest.approx(enlarged * 0.163 * 150 / 12, rel=0.01)
    fields = [inner(field(ELASTIC, size, k), side // 12) for k in range(16)]
    axes = [part[..., axis] for part in fields for axis in (0, 1)]
    assert np.sqrt(np.mean([(part**2).mean() for part in axes])) == pytest.approx(sd_px, rel=0.05)
    in_pixels = [round(lag * enlarged) for lag in lags]
    found = np.mean([correlation(part, in_pixels) for part in axes], axis=0)
    expected = [alike[96, 96 + lag] / alike[96, 96] for lag in lags]
    np.testing.assert_allclose(found, np.stack([expected] * 2, -1), atol=0.04)


def test_elastic_scales_with_the_picture():
    """The field of one seed, at a grid of 128 cells each: twice as far in twice the picture."""
    small, middle, large = (
        ELASTIC.move(grid(size), generator(7, 0), size) - grid(size)
        for size in [(96, 128), (192, 256), (384, 512)]
    )
    np.testing.assert_allclose(middle, 2 * small, atol=1e-3)
    np.testing.assert_allclose(large, 4 * small, atol=1e-3)


def test_elastic_goes_every_way_alike():
    fields = np.stack([inner(field(ELASTIC, (96, 128), k), 10) for k in range(30)])
    x, y = fields[..., 0], fields[..., 1]
    assert abs(np.corrcoef(x.ravel(), y.ravel())[0, 1]) < 0.1
    sd_px = np.sqrt((fields**2).mean())
    assert np.abs([x.mean(), y.mean()]).max() < 0.1 * sd_px
    assert x.std() == pytest.approx(y.std(), rel=0.1)


def test_elastic_is_proportional_to_alpha():
    size = (96, 128)
    once, twice = (field(Elastic(1.0, [alpha, alpha], 12.0, 512), size) for alpha in (50.0, 100.0))
    np.testing.assert_allclose(inner(twice, 10), 2 * inner(once, 10), atol=3 / 64)


def test_elastic_is_exactly_scipys_smoothing_of_the_noise_drawn():
    size = (96, 128)
    noise = generator(7, 0).random((98 + 18, 130 + 18, 2), np.float32) * 2 - 1
    smooth = [ndimage.gaussian_filter(noise[..., c], 3.0, truncate=5)[9:-9, 9:-9] for c in (0, 1)]
    found = ELASTIC.move(grid(size), generator(7, 0), size) - grid(size)
    np.testing.assert_allclose(found, np.stack(smooth, -1) * 150 / 16, atol=2e-3)


@pytest.mark.parametrize("size", [(96, 128), (384, 512)], ids=["step 1", "step 4"])
def test_elastic_is_as_strong_at_the_edges_as_in_the_middle(size):
    """Over 400 fields of two axes and four corners, a standard deviation is known to 2%."""
    fields = [ELASTIC.move(grid(size), generator(3, k), size) - grid(size) for k in range(400)]
    sds = np.sqrt(np.mean(np.square(fields), axis=(0, 3)))
    middle = sds[sds.shape[0] // 4 : -sds.shape[0] // 4, sds.shape[1] // 4 : -sds.shape[1] // 4]
    corners = sds[[0, 0, -1, -1], [0, -1, 0, -1]]
    assert corners.mean() == pytest.approx(middle.mean(), rel=0.1)
    assert sds[0].mean() == pytest.approx(middle.mean(), rel=0.1)


@pytest.mark.parametrize("choice", ["on", "strong", "reference"])
@pytest.mark.parametrize("kind", ["elastic", "distortion"])
def test_no_ready_made_setting_folds_a_picture(choice, kind):
    """A fold is where the map from output to input turns over: its Jacobian is not positive."""
    with initialize_config_dir(conf_dir(), version_base="1.3"):
        transform = build("augment", compose("config", [f"augment={choice}"]).augment)[kind]
    folded = []
    for k in range(40):
        points = transform.move(grid((512, 512)), generator(5, k), (512, 512)).astype(float)
        down, right = np.gradient(points, axis=(0, 1))
        folded.append((down[..., 1] * right[..., 0] <= down[..., 0] * right[..., 1]).any())
    assert np.mean(folded) <= 0.05


@pytest.mark.parametrize("size", SIZES)
def test_the_largest_displacement_of_distortion_is_exactly_its_amplitude(size):
    for k in range(5):
        moved = DISTORTION.move(grid(size), generator(7, k), size) - grid(size)
        lengths = np.hypot(*np.moveaxis(moved, -1, 0))
        assert lengths.max() == pytest.approx(0.03 * max(size), rel=1e-4)
        shown = np.hypot(*np.moveaxis(field(DISTORTION, size, k), -1, 0))
        assert np.nanmax(shown) < 0.03 * max(size) + 1 / 32
        assert np.nanmax(shown) > 0.02 * max(size)


def test_the_amplitude_of_distortion_is_drawn_from_its_range():
    size, transform = (24, 32), Distortion(1.0, 0.08, [0.01, 0.05])
    drawn = [
        np.hypot(
            *np.moveaxis(transform.move(grid(size), generator(7, k), size) - grid(size), -1, 0)
        )
        for k in range(300)
    ]
    largest = np.max(drawn, axis=(1, 2)) / 32
    assert 0.0099 < largest.min() < 0.011
    assert 0.049 < largest.max() < 0.0501
    assert abs(largest.mean() - 0.03) < 6 * 0.04 / np.sqrt(12 * 300)


@pytest.mark.parametrize("size", [(96, 128), (400, 512)])
def test_distortion_follows_slopes_so_that_it_never_whirls(size):
    for k in range(3):
        moved = DISTORTION.move(grid(size), generator(7, k), size) - grid(size)
        x_along_y, y_along_x = (
            np.gradient(moved[..., 0], axis=0),
            np.gradient(moved[..., 1], axis=1),
        )
        assert np.abs(x_along_y).max() > 0.05 * grid_step(size)
        np.testing.assert_allclose(x_along_y, y_along_x, atol=1e-4 * grid_step(size))


@pytest.mark.parametrize("size", [(96, 128), (384, 512)], ids=["step 1", "step 4"])
def test_distortion_is_as_smooth_as_the_slopes_of_smoothed_noise(size):
    """At a distance d slopes correlate as exp(-d^2 / 4s^2), times 1 - d^2 / 2s^2 their own way."""
    transform, sigma = Distortion(1.0, 1 / 32, [0.02, 0.02]), max(size) // 32
    fields = [inner(field(transform, size, k), 3 * sigma) for k in range(12)]
    for lag in (sigma // 2, sigma, 2 * sigma):
        x, y = (
            np.mean([correlation(part[..., axis], [lag])[0] for part in fields], axis=0)
            for axis in (0, 1)
        )
        across = np.exp(-((lag / sigma) ** 2) / 4)
        along = across * (1 - (lag / sigma) ** 2 / 2)
        np.testing.assert_allclose([x, y], [[across, along], [along, across]], atol=0.05)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("amount", [-0.9, -0.3, 0.3, 0.5])
def test_lens_shows_what_browns_model_says(size, amount):
    """Between points `step` pixels apart the map is straight: off by its bend * step^2 / 8."""
    transform = Lens(1.0, 0.4, [amount, amount], [[0.4, 0.6]])
    radius = 0.4 * min(size)
    centre = np.array([-0.1 * (size[1] - 1), 0.1 * (size[0] - 1)])
    away = pixels(size) - centre
    r = np.hypot(*np.moveaxis(away, -1, 0))[..., None] / radius
    expected = away * amount * np.maximum(1 - r**2, 0)
    found, step = field(transform, size), grid_step(size)
    smooth = np.abs(r[..., 0] - 1) > 2 * step / radius
    off_px = 1 / 64 + 8 * abs(amount) / radius * step**2 / 8 * (step > 1) + 1e-3
    assert np.nanmax(np.abs(found)) > 0.2 * abs(amount) * radius
    np.testing.assert_allclose(found[smooth], expected[smooth], atol=off_px)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("transform", [BARREL, PINCUSHION], ids=str)
def test_outside_of_the_disc_of_a_lens_nothing_moves(transform, size):
    image = np.random.default_rng(0).random((*size, 1), np.float32)
    mask = (image < 0.5).astype(np.uint8)
    found = warped(transform, image, mask)
    r = np.hypot(*np.moveaxis(pixels(size), -1, 0))
    step = grid_step(size)
    outside = r > 0.3 * min(size) + (1.5 * step if step > 1 else 0)
    for after, before in zip(found, (image, mask), strict=True):
        np.testing.assert_array_equal(after[outside], before[outside])
        assert (after[~outside] != before[~outside]).any()


@pytest.mark.parametrize("amount", [-0.9, -0.5, 0.25, 0.5])
def test_a_lens_never_folds_the_picture(amount):
    transform = Lens(1.0, 0.5, [amount, amount], MIDDLE)
    radial = np.float32([[[r, 0] for r in range(70)]])
    shown = transform.move(radial, generator(0, 0), (128, 128))[0, :, 0]
    assert (np.diff(shown) > 0).all()
    assert shown[0] == 0
    np.testing.assert_array_equal(shown[64:], np.arange(64, 70))


@pytest.mark.parametrize("amount", [-1.1, 0.6])
def test_amounts_beyond_those_allowed_would_fold_it(amount):
    r = np.linspace(0, 1, 1001)
    assert (np.diff(r * (1 + amount * (1 - r**2))) < 0).any()


def test_a_barrel_enlarges_the_middle_and_a_pincushion_shrinks_it():
    blob = ellipse(radii=(8, 8))
    areas = [warped(lens, blob.astype(np.float32), blob)[1].sum() for lens in (BARREL, PINCUSHION)]
    assert areas[0] > 1.3 * blob.sum()
    assert areas[1] < 0.8 * blob.sum()


def test_each_centre_of_a_lens_is_drawn_as_often():
    corners = [[0.2, 0.3], [0.8, 0.3], [0.5, 0.75]]
    transform, size = Lens(1.0, 0.1, [-0.3, -0.3], corners), (81, 101)
    counts = np.zeros(3)
    for k in range(300):
        moved = transform.move(grid(size), generator(7, k), size) != grid(size)
        rows, columns = np.nonzero(moved.any(axis=-1))
        centre = np.array([columns.mean() - 1, rows.mean() - 1]) / [100, 80]
        counts += np.abs(np.array(corners) - centre).max(axis=1) < 0.01
    assert counts.sum() == 300
    assert np.abs(counts - 100).max() < 5 * np.sqrt(300 * 2 / 9)


def test_the_amount_of_a_lens_is_drawn_from_its_range():
    transform, near = Lens(1.0, 0.5, [-0.2, 0.4], MIDDLE), np.float32([[[1e-3, 0]]])
    drawn = np.array(
        [transform.move(near, generator(7, k), (64, 64))[0, 0, 0] / 1e-3 - 1 for k in range(300)]
    )
    assert -0.2001 < drawn.min() < -0.19
    assert 0.39 < drawn.max() < 0.4001
    assert abs(drawn.mean() - 0.1) < 6 * 0.6 / np.sqrt(12 * 300)


@pytest.mark.parametrize("size", [(80, 96), (160, 192)])
@pytest.mark.parametrize("transform", BENT, ids=str)
def test_an_image_that_is_its_mask_stays_its_mask(transform, size):
    blob = ellipse(size, (size[0] // 2, size[1] // 2), (size[0] // 4, size[1] // 4))
    edge = wrong = signed = 0
    for k in range(20):
        image, mask = warped(transform, blob.astype(np.float32), blob, k)
        between = (image > 0) & (image < 1)
        differs = (image >= 0.5) != (mask == 1)
        assert set(np.unique(mask)) == {0, 1}
        assert not (differs & ~between).any()
        edge, wrong = edge + between.sum(), wrong + differs.sum()
        centres = [ndimage.center_of_mass(part[..., 0]) for part in (image, mask)]
        signed = signed + np.subtract(*centres)
    assert wrong <= 0.15 * edge
    assert np.abs(signed / 20).max() < 0.2


@pytest.mark.parametrize("transform", BENT, ids=str)
def test_classes_0_1_and_3_stay_0_1_and_3(transform):
    index = np.random.default_rng(2).choice([0, 1, 3], (48, 64, 1)).astype(np.uint8)
    for k in range(5):
        found = warped(transform, np.zeros((48, 64, 1), np.float32), index, k)[1]
        assert set(np.unique(found)) == {0, 1, 3}


@pytest.mark.parametrize("transform", [ELASTIC, DISTORTION], ids=str)
def test_bending_at_random_keeps_the_mean_area(transform):
    blob = ellipse()
    areas = [warped(transform, blob.astype(np.float32), blob, k)[1].sum() for k in range(60)]
    assert np.mean(areas) == pytest.approx(blob.sum(), rel=0.03)
    assert np.std(areas) > 0.005 * blob.sum()


@pytest.mark.parametrize("transform", [ELASTIC, DISTORTION], ids=str)
def test_a_field_is_drawn_by_its_generator_alone(transform):
    first, again = (
        [transform.move(grid((24, 32)), generator(7, k), (24, 32)) for k in range(20)]
        for _ in range(2)
    )
    np.testing.assert_array_equal(first, again)
    assert len({field.tobytes() for field in first}) == 20


@pytest.mark.parametrize("transform", BENT, ids=str)
def test_the_points_given_stay_and_float32_stays_float32(transform):
    points = grid((24, 32)) + np.float32(1)
    before = points.copy()
    assert transform.move(points, generator(0, 0), (24, 32)).dtype == np.float32
    np.testing.assert_array_equal(points, before)


@pytest.mark.parametrize("transform", BENT, ids=str)
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (1, 40)])
def test_tiny_pictures_are_bent_to_something_finite(transform, size):
    image = np.ones((*size, 1), np.float32)
    found = warped(transform, image, image.astype(np.uint8))
    assert np.isfinite(found[0]).all()


@pytest.mark.parametrize(
    ("alpha", "sigma", "side_px", "sentence"),
    [
        (10.0, 3.9, 512, r"sigma must be at least side_px / 128 = 4. Received: 3.9"),
        (10.0, 0.0, 1, r"sigma must be at least side_px / 128 = 0.0078125. Received: 0"),
        (-1.0, 12.0, 512, r"alpha must be \[lowest, highest\] of 0 or more. Received: \[-1.0, 20"),
        (10.0, 12.0, 0, "side_px must be 1 or more. Received: 0"),
    ],
)
def test_elastic_refuses_what_no_field_has(alpha, sigma, side_px, sentence):
    with pytest.raises(ValueError, match=sentence):
        Elastic(0.5, [alpha, 20.0], sigma, side_px)


@pytest.mark.parametrize("sigma", [0.007, 1.1])
def test_distortion_refuses_a_landscape_too_fine_or_too_wide(sigma):
    with pytest.raises(ValueError, match=rf"sigma must lie in 0.0078125..1. Received: {sigma}"):
        Distortion(0.5, sigma, [0.0, 0.1])


def test_distortion_refuses_a_negative_amplitude():
    with pytest.raises(ValueError, match=r"amplitude must be \[lowest, highest\] of 0 or more"):
        Distortion(0.5, 0.1, [-0.1, 0.1])


@pytest.mark.parametrize("amount", [[-0.95, 0.1], [0.1, 0.51], [0.2, 0.1]])
def test_lens_refuses_amounts_that_fold(amount):
    with pytest.raises(ValueError, match=r"amount must be \[lowest, highest\] within -0.9..0.5"):
        Lens(0.5, 0.3, amount, MIDDLE)


@pytest.mark.parametrize(
    ("radius", "centres", "sentence"),
    [
        (0.0, MIDDLE, "radius must be more than 0. Received: 0.0"),
        (0.3, [], r"centres must be a list of \[x, y\]. Received: \[\]"),
        (0.3, [0.5, 0.5], r"centres must be a list of \[x, y\]. Received: \[0.5, 0.5\]"),
        (0.3, [[0.1, 0.2, 0.3]], r"centres must be a list of \[x, y\]. Received: \[\[0.1"),
        (0.3, [[0.1, 0.2], [0.3]], r"centres must be a list of \[x, y\]. Received: \[\[0.1"),
    ],
)
def test_lens_refuses_a_disc_that_is_none(radius, centres, sentence):
    with pytest.raises(ValueError, match=sentence):
        Lens(0.5, radius, [0.1, 0.2], centres)
