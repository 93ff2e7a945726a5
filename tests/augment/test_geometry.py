"""Facts about `seg.augment.geometry`, checked against numpy and scipy.ndimage.

Axes: H height, W width, C channels.
"""

import math

import numpy as np
import pytest
from scipy import ndimage

from seg.augment.geometry import Flip, Rotate, Scale, Shear, Shift
from seg.augment.ranges import generator
from seg.augment.warp import grid, warp

HEIGHT, WIDTH = 12, 19
FLIPS = [Flip(1.0, "horizontal"), Flip(1.0, "vertical")]
MOVES = [
    Rotate(1.0, [-40.0, 40.0], None),
    Rotate(1.0, [-9.0, 9.0], [70.0, 45.0]),
    Scale(1.0, [0.7, 1.4]),
    Shear(1.0, [-0.3, 0.3]),
    Shift(1.0, [-0.2, 0.2]),
]
STILL = [
    Rotate(1.0, [0.0, 0.0], None),
    Rotate(1.0, [-9.0, 9.0], [0.0]),
    Scale(1.0, [1.0, 1.0]),
    Shear(1.0, [0.0, 0.0]),
    Shift(1.0, [0.0, 0.0]),
]


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).random((HEIGHT, WIDTH, 3), np.float32)


@pytest.fixture(scope="module")
def mask():
    return (np.random.default_rng(1).random((HEIGHT, WIDTH, 1)) < 0.5).astype(np.uint8)


def warped(transform, image, mask, k=0):
    size = image.shape[:2]
    return warp(image, mask, transform.move(grid(size), generator(7, k), size))


def matrices(transform, n, size=(HEIGHT, WIDTH)):
    """Return the maps of (x, y, 1) about the centre drawn for samples 0..n-1, (n, 3, 3)."""
    known = np.float32([[[0, 0], [1, 0], [0, 1], [100, 100]]])
    drawn = np.stack([transform.move(known, generator(7, k), size)[0] for k in range(n)])
    origin, right, down, far = np.moveaxis(drawn.astype(float), 1, 0)
    columns = [right - origin, down - origin, origin]
    np.testing.assert_allclose(far, 100 * columns[0] + 100 * columns[1] + origin, atol=1e-3)
    matrices = np.tile(np.eye(3), (n, 1, 1))
    matrices[:, :2] = np.stack(columns, -1)
    return matrices


def in_rows(matrix, size=(HEIGHT, WIDTH)):
    """Turn a map of (x, y) about the centre into one of (row, column) from the corner."""
    swap = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1.0]])
    to_corner = np.eye(3)
    to_corner[:2, 2] = [(size[0] - 1) / 2, (size[1] - 1) / 2]
    return to_corner @ swap @ matrix @ swap @ np.linalg.inv(to_corner)


def by_scipy(picture_HWC, matrix, order):
    whole = in_rows(matrix, picture_HWC.shape[:2])
    channels = [
        ndimage.affine_transform(
            picture_HWC[..., c], whole[:2, :2], whole[:2, 2], order=order, mode="grid-constant"
        )
        for c in range(picture_HWC.shape[-1])
    ]
    return np.stack(channels, -1)


def ambiguous(matrix, size):
    """Return the output pixels whose source lies midway between two pixels of the input."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    points = np.stack([rows.ravel(), columns.ravel(), np.ones(rows.size)])
    source = (in_rows(matrix, size) @ points)[:2]
    return (np.abs(source % 1 - 0.5) < 2e-3).any(axis=0).reshape(*size, 1)


def ellipse(size=(40, 56), centre=(17, 31), radii=(9, 13)):
    y, x = np.mgrid[: size[0], : size[1]]
    inside = ((y - centre[0]) / radii[0]) ** 2 + ((x - centre[1]) / radii[1]) ** 2 < 1
    return inside.astype(np.uint8)[..., None]


@pytest.mark.parametrize("transform", STILL, ids=str)
@pytest.mark.parametrize("size", [(12, 19), (131, 150)])
def test_a_transform_by_nothing_changes_nothing(transform, size):
    image = np.random.default_rng(0).random((*size, 1), np.float32)
    mask = (image < 0.5).astype(np.uint8)
    found = warped(transform, image, mask)
    np.testing.assert_array_equal(found[0], image)
    np.testing.assert_array_equal(found[1], mask)


@pytest.mark.parametrize(("axis", "flipped"), [("horizontal", 1), ("vertical", 0)])
@pytest.mark.parametrize("size", [(12, 19), (7, 8), (131, 150), (300, 257)])
def test_flip_is_exactly_that_of_numpy(axis, flipped, size):
    image = np.random.default_rng(0).random((*size, 3), np.float32)
    mask = (image[..., :1] < 0.5).astype(np.uint8)
    found = warped(Flip(1.0, axis), image, mask)
    np.testing.assert_array_equal(found[0], np.flip(image, flipped))
    np.testing.assert_array_equal(found[1], np.flip(mask, flipped))


@pytest.mark.parametrize("size", [(12, 19), (131, 150)])
@pytest.mark.parametrize("transform", MOVES, ids=str)
@pytest.mark.parametrize("k", range(3))
def test_a_drawn_map_is_applied_as_scipy_does(transform, size, k):
    """Positions are rounded to 1/32 pixel, so that a grey value is off by its steepness / 64."""
    image = np.random.default_rng(0).random((*size, 3), np.float32)
    mask = (np.random.default_rng(1).random((*size, 1)) < 0.5).astype(np.uint8)
    matrix = matrices(transform, k + 1, size)[k]
    found = warped(transform, image, mask, k)
    assert not np.allclose(found[0], image, atol=0.01)
    framed = np.pad(image, ((1, 1), (1, 1), (0, 0)))
    steepest = sum(np.abs(np.diff(framed, axis=axis)).max() for axis in (0, 1))
    np.testing.assert_allclose(found[0], by_scipy(image, matrix, 1), atol=steepest / 64 + 1e-3)
    clear = ~ambiguous(matrix, size)
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(found[1][clear], by_scipy(mask, matrix, 0)[clear])


@pytest.mark.parametrize(("degrees", "turns"), [(90.0, 1), (180.0, 2), (270.0, 3), (-90.0, 3)])
@pytest.mark.parametrize("side", [9, 12, 131])
def test_quarter_turns_are_those_of_numpy(degrees, turns, side):
    image = np.random.default_rng(0).random((side, side, 1), np.float32)
    mask = (image > 0.5).astype(np.uint8)
    found = warped(Rotate(1.0, [-9.0, 9.0], [degrees]), image, mask)
    np.testing.assert_array_equal(found[0], np.rot90(image, turns))
    np.testing.assert_array_equal(found[1], np.rot90(mask, turns))


@pytest.mark.parametrize("transform", [*FLIPS, *MOVES], ids=str)
def test_an_image_that_is_its_mask_stays_its_mask(transform):
    blob = ellipse()
    edge = wrong = signed = 0
    for k in range(30):
        image, mask = warped(transform, blob.astype(np.float32), blob, k)
        between = (image > 0) & (image < 1)
        differs = (image >= 0.5) != (mask == 1)
        assert set(np.unique(mask)) <= {0, 1}
        assert not (differs & ~between).any()
        assert mask.sum() > 50
        edge, wrong = edge + between.sum(), wrong + differs.sum()
        centres = [ndimage.center_of_mass(part[..., 0]) for part in (image, mask)]
        signed = signed + np.subtract(*centres)
    assert wrong <= 0.15 * edge
    assert np.abs(signed / 30).max() < 0.2


@pytest.mark.parametrize("transform", [*FLIPS, *MOVES], ids=str)
def test_classes_0_1_and_3_stay_0_1_and_3(transform, image):
    index = np.random.default_rng(2).choice([0, 1, 3], (HEIGHT, WIDTH, 1)).astype(np.uint8)
    for k in range(5):
        found = warped(transform, image, index, k)[1]
        assert found.dtype == np.uint8
        assert set(np.unique(found)) == {0, 1, 3}


@pytest.mark.parametrize("transform", [*FLIPS, MOVES[0], MOVES[1], MOVES[3]], ids=str)
def test_what_neither_shrinks_nor_enlarges_keeps_the_area(transform):
    blob = ellipse((64, 64), (31, 33), (11, 15))
    areas = [warped(transform, blob.astype(np.float32), blob, k)[1].sum() for k in range(20)]
    assert np.mean(areas) == pytest.approx(blob.sum(), rel=0.01)
    assert np.abs(areas / blob.sum() - 1).max() < 0.04


@pytest.mark.parametrize("factor", [0.5, 0.8, 1.25, 2.0])
def test_a_factor_changes_the_area_by_its_square(factor):
    blob = ellipse((80, 90), (38, 47), (14, 17))
    image, mask = warped(Scale(1.0, [factor, factor]), blob.astype(np.float32), blob)
    assert mask.sum() == pytest.approx(factor**2 * blob.sum(), rel=0.03)
    assert image.sum() == pytest.approx(factor**2 * blob.sum(), rel=0.03)


def test_a_factor_above_1_enlarges_the_object():
    square = np.zeros((20, 30, 1), np.uint8)
    square[8:12, 12:18] = 1
    image, mask = warped(Scale(1.0, [2.0, 2.0]), square.astype(np.float32), square)
    assert mask.sum() == 4 * 24
    assert image.sum() == pytest.approx(4 * 24, rel=0.01)


@pytest.mark.parametrize("fraction", [-0.125, 0.0625, 0.25])
def test_a_shift_moves_the_centroid_by_the_fraction_of_each_side(fraction):
    blob = ellipse((80, 96), (39, 47), (9, 11))
    image, mask = warped(Shift(1.0, [fraction, fraction]), blob.astype(np.float32), blob)
    way = np.abs(fraction) * np.array([80, 96])
    for part in (image, mask):
        moved = np.subtract(ndimage.center_of_mass(part[..., 0]), (39, 47))
        np.testing.assert_allclose(np.abs(moved), way, atol=0.02)


def test_a_slope_slides_each_row_by_its_distance_from_the_middle():
    stripe = np.zeros((21, 41, 1), np.uint8)
    stripe[:, 20] = 1
    columns = np.nonzero(warped(Shear(1.0, [1.0, 1.0]), stripe.astype(np.float32), stripe)[1])[1]
    np.testing.assert_array_equal(columns, 20 - (np.arange(21) - 10))


def test_rotate_draws_rotations_within_its_range():
    drawn = matrices(Rotate(0.5, [-30.0, 50.0], None), 300)
    np.testing.assert_allclose(drawn @ drawn.transpose(0, 2, 1), [np.eye(3)] * 300, atol=1e-6)
    np.testing.assert_allclose(np.linalg.det(drawn), 1, atol=1e-6)
    angles = np.degrees(np.arctan2(drawn[:, 1, 0], drawn[:, 0, 0]))
    assert -30 <= angles.min() < -28
    assert 48 < angles.max() <= 50.001
    assert abs(angles.mean() - 10) < 6 * 40 / math.sqrt(3 * 300)


def test_rotate_draws_each_of_its_angles_as_often():
    drawn = matrices(Rotate(0.5, [-9.0, 9.0], [0.0, 90.0, 200.0]), 600)
    angles = np.rint(np.degrees(np.arctan2(drawn[:, 1, 0], drawn[:, 0, 0]))) % 360
    values, counts = np.unique(angles, return_counts=True)
    assert values.tolist() == [0, 90, 200]
    assert np.abs(counts - 200).max() < 5 * math.sqrt(600 * 2 / 9)


def test_scale_draws_even_factors_within_its_range():
    drawn = matrices(Scale(0.5, [0.5, 2.0]), 300)
    factors = 1 / drawn[:, 0, 0]
    assert 0.5 <= factors.min() < 0.55
    assert 1.95 < factors.max() <= 2.0001
    np.testing.assert_allclose(factors.mean(), 1.25, atol=6 * 1.5 / math.sqrt(12 * 300))
    for matrix in drawn:
        np.testing.assert_array_equal(matrix, np.diag([matrix[0, 0], matrix[0, 0], 1]))


def test_shear_draws_slopes_within_its_range_and_keeps_heights():
    drawn = matrices(Shear(0.5, [-0.1, 0.3]), 300)
    slopes = drawn[:, 0, 1].copy()
    assert -0.1 <= slopes.min() < -0.09
    assert 0.29 < slopes.max() <= 0.3001
    assert abs(slopes.mean() - 0.1) < 6 * 0.2 / math.sqrt(3 * 300)
    drawn[:, 0, 1] = 0
    np.testing.assert_array_equal(drawn, [np.eye(3)] * 300)


def test_shift_draws_fractions_of_width_for_x_and_of_height_for_y():
    drawn = matrices(Shift(0.5, [-0.1, 0.1]), 300, (20, 400))
    x, y = drawn[:, 0, 2], drawn[:, 1, 2]
    np.testing.assert_allclose(drawn[:, :2, :2], [np.eye(2)] * 300, atol=1e-5)
    assert -40 <= x.min() < -38
    assert 38 < x.max() <= 40
    assert -2 <= y.min() < -1.9
    assert 1.9 < y.max() <= 2
    assert abs(np.corrcoef(x, y)[0, 1]) < 0.3


@pytest.mark.parametrize("transform", [MOVES[0], *MOVES[2:]], ids=str)
def test_a_map_is_drawn_by_its_generator_alone(transform):
    first, second = matrices(transform, 50), matrices(transform, 50)
    np.testing.assert_array_equal(first, second)
    assert len({matrix.tobytes() for matrix in first}) == 50


@pytest.mark.parametrize("transform", [*FLIPS, *MOVES], ids=str)
def test_the_points_given_stay_and_float32_stays_float32(transform):
    points = grid((HEIGHT, WIDTH)) + np.float32(1)
    before = points.copy()
    assert transform.move(points, generator(0, 0), (HEIGHT, WIDTH)).dtype == np.float32
    np.testing.assert_array_equal(points, before)


def test_an_unknown_axis_is_refused():
    with pytest.raises(ValueError, match="axis must be horizontal or vertical.*: diagonal"):
        Flip(0.5, "diagonal")


@pytest.mark.parametrize("bounds", [[0.0, 1.0], [-0.5, 1.0], [1.2, 1.1]])
def test_factors_that_turn_the_picture_inside_out_are_refused(bounds):
    with pytest.raises(ValueError, match=r"factor must be \[lowest, highest\] of 0.01 or more"):
        Scale(0.5, bounds)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda pair: Rotate(0.5, pair, None), "range_deg"),
        (lambda pair: Shear(0.5, pair), "slope"),
        (lambda pair: Shift(0.5, pair), "fraction"),
    ],
)
def test_a_range_the_wrong_way_round_is_refused(make, name):
    with pytest.raises(
        ValueError, match=rf"^{name} must be \[lowest, highest\]. Received: \[1, -1"
    ):
        make([1, -1])
