"""Facts about `seg.augment.geometry`, checked against numpy and scipy.ndimage."""

import math

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from seg.augment.geometry import Flip, Rotate, Scale, Shift, warp

HEIGHT, WIDTH = 12, 19
MOVES = [
    Flip(1.0, "horizontal"),
    Flip(1.0, "vertical"),
    Rotate(1.0, 40.0),
    Scale(1.0, 0.7, 1.4),
    Shift(1.0, 0.2),
]


@pytest.fixture(params=["eager", "tf.data"])
def warped(request):
    """Return a function that warps, called directly or inside a tf.data map."""

    def eager(image, mask, matrix):
        return [t.numpy() for t in warp(tf.constant(image), tf.constant(mask), matrix)]

    def mapped(image, mask, matrix):
        images, masks = tf.constant(image[None]), tf.constant(mask[None])
        dataset = tf.data.Dataset.from_tensor_slices((images, masks))
        return next(dataset.map(lambda i, m: warp(i, m, matrix)).as_numpy_iterator())

    return eager if request.param == "eager" else mapped


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).random((HEIGHT, WIDTH, 3), np.float32)


@pytest.fixture(scope="module")
def mask():
    return (np.random.default_rng(1).random((HEIGHT, WIDTH, 1)) < 0.5).astype(np.float32)


def matrices(transform, seeds, size=(HEIGHT, WIDTH)):
    """Return the matrices drawn for a range of seeds, (N, 3, 3)."""
    dataset = tf.data.Dataset.range(seeds).map(lambda k: transform.matrix(tf.stack([7, k]), size))
    return np.array(list(dataset.as_numpy_iterator()))


def in_rows(matrix, size=(HEIGHT, WIDTH)):
    """Turn a map of (x, y) about the centre into one of (row, column) from the corner."""
    swap = np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1.0]])
    to_corner = np.eye(3)
    to_corner[:2, 2] = [(size[0] - 1) / 2, (size[1] - 1) / 2]
    return to_corner @ swap @ np.asarray(matrix, float) @ swap @ np.linalg.inv(to_corner)


def by_scipy(picture_HWC, matrix, order):
    whole = in_rows(matrix)
    channels = [
        ndimage.affine_transform(
            picture_HWC[..., c], whole[:2, :2], whole[:2, 2], order=order, mode="grid-constant"
        )
        for c in range(picture_HWC.shape[-1])
    ]
    return np.stack(channels, -1)


def ambiguous(matrix):
    """Return the output pixels whose source lies midway between two pixels of the input."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    points = np.stack([rows.ravel(), columns.ravel(), np.ones(rows.size)])
    source = (in_rows(matrix) @ points)[:2]
    return (np.abs(source % 1 - 0.5) < 1e-3).any(axis=0).reshape(HEIGHT, WIDTH, 1)


def test_the_identity_changes_nothing(warped, image, mask):
    found = warped(image, mask, tf.eye(3))
    np.testing.assert_array_equal(found[0], image)
    np.testing.assert_array_equal(found[1], mask)


@pytest.mark.parametrize(("axis", "flipped"), [("horizontal", 1), ("vertical", 0)])
@pytest.mark.parametrize("size", [(12, 19), (7, 8)])
def test_flip_is_exactly_that_of_numpy(warped, axis, flipped, size):
    image = np.random.default_rng(0).random((*size, 3), np.float32)
    mask = (image[..., :1] < 0.5).astype(np.float32)
    found = warped(image, mask, Flip(1.0, axis).matrix(tf.constant([0, 0]), size))
    np.testing.assert_array_equal(found[0], np.flip(image, flipped))
    np.testing.assert_array_equal(found[1], np.flip(mask, flipped))


@pytest.mark.parametrize("transform", MOVES[2:], ids=lambda t: type(t).__name__)
@pytest.mark.parametrize("seed", range(3))
def test_a_drawn_map_is_applied_as_scipy_does(warped, image, mask, transform, seed):
    matrix = transform.matrix(tf.constant([seed, 5]), (HEIGHT, WIDTH))
    found = warped(image, mask, matrix)
    assert not np.allclose(found[0], image, atol=0.01)
    np.testing.assert_allclose(found[0], by_scipy(image, matrix, 1), atol=1e-4)
    clear = ~ambiguous(matrix)
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(found[1][clear], by_scipy(mask, matrix, 0)[clear])


def test_a_general_map_is_applied_as_scipy_does(warped, image, mask):
    matrix = np.array([[0.9, -0.35, 1.3], [0.2, 1.2, -0.8], [0, 0, 1]], np.float32)
    found = warped(image, mask, tf.constant(matrix))
    np.testing.assert_allclose(found[0], by_scipy(image, matrix, 1), atol=1e-4)
    clear = ~ambiguous(matrix)
    np.testing.assert_array_equal(found[1][clear], by_scipy(mask, matrix, 0)[clear])


def test_a_quarter_turn_is_that_of_numpy(warped):
    image = np.random.default_rng(0).random((9, 9, 1), np.float32)
    mask = (image > 0.5).astype(np.float32)
    quarter = tf.constant([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    found = warped(image, mask, quarter)
    np.testing.assert_allclose(found[0], np.rot90(image), atol=1e-6)
    np.testing.assert_array_equal(found[1], np.rot90(mask))


def test_a_translation_shows_the_input_that_many_pixels_away(warped, image, mask):
    two_right_one_up = tf.constant([[1.0, 0, 2], [0, 1, -1], [0, 0, 1]])
    found = warped(image, mask, two_right_one_up)
    for picture, before in zip(found, (image, mask), strict=True):
        np.testing.assert_array_equal(picture[1:, :-2], before[:-1, 2:])
        assert not picture[0].any()
        assert not picture[:, -2:].any()


def test_outside_the_input_all_is_zero(warped, image, mask):
    far = tf.constant([[1.0, 0, 2 * WIDTH], [0, 1, 0], [0, 0, 1]])
    found = warped(image, mask, far)
    assert not np.any(found[0])
    assert not np.any(found[1])


def test_the_static_shape_survives(image, mask):
    dataset = tf.data.Dataset.from_tensors((image, mask)).map(lambda i, m: warp(i, m, tf.eye(3)))
    assert [tuple(spec.shape) for spec in dataset.element_spec] == [(12, 19, 3), (12, 19, 1)]


@pytest.mark.parametrize("transform", MOVES, ids=str)
def test_an_image_that_is_its_mask_stays_its_mask(transform):
    y, x = np.mgrid[:40, :56]
    blob = (((y - 17) / 9.0) ** 2 + ((x - 31) / 13.0) ** 2 < 1).astype(np.float32)[..., None]
    edge = wrong = signed = 0
    for matrix in matrices(transform, 30, (40, 56)):
        image, mask = (t.numpy() for t in warp(tf.constant(blob), tf.constant(blob), matrix))
        between = (image > 0) & (image < 1)
        differs = (image >= 0.5) != (mask == 1)
        assert set(np.unique(mask)) <= {0, 1}
        assert not (differs & ~between).any()
        assert mask.sum() > 50
        edge, wrong = edge + between.sum(), wrong + differs.sum()
        centres = [ndimage.center_of_mass(t[..., 0]) for t in (image, mask)]
        signed = signed + np.subtract(*centres)
    assert wrong <= 0.15 * edge
    assert np.abs(signed / 30).max() < 0.2


def test_rotate_draws_rotations_within_its_angle():
    drawn = matrices(Rotate(0.5, 30.0), 300)
    np.testing.assert_allclose(drawn @ drawn.transpose(0, 2, 1), [np.eye(3)] * 300, atol=1e-6)
    np.testing.assert_allclose(np.linalg.det(drawn), 1, atol=1e-6)
    angles = np.degrees(np.arctan2(drawn[:, 1, 0], drawn[:, 0, 0]))
    assert -30 <= angles.min() < -28
    assert 28 < angles.max() <= 30
    assert abs(angles.mean()) < 6 * 30 / math.sqrt(3 * 300)


def test_scale_draws_even_factors_within_its_bounds():
    drawn = matrices(Scale(0.5, 0.5, 2.0), 300)
    factors = 1 / drawn[:, 0, 0]
    assert 0.5 <= factors.min() < 0.55
    assert 1.95 < factors.max() <= 2.0
    np.testing.assert_allclose(factors.mean(), 1.25, atol=6 * 1.5 / math.sqrt(12 * 300))
    for matrix in drawn:
        np.testing.assert_array_equal(matrix, np.diag([matrix[0, 0], matrix[0, 0], 1]))


def test_a_factor_above_1_enlarges_the_object(warped):
    square = np.zeros((20, 30, 1), np.float32)
    square[8:12, 12:18] = 1
    matrix = Scale(1.0, 2.0, 2.0).matrix(tf.constant([0, 0]), (20, 30))
    image, mask = warped(square, square, matrix)
    assert mask.sum() == 4 * 24
    assert image.sum() == pytest.approx(4 * 24, rel=0.01)


def test_shift_draws_fractions_of_width_for_x_and_of_height_for_y():
    drawn = matrices(Shift(0.5, 0.1), 300, (20, 400))
    x, y = drawn[:, 0, 2], drawn[:, 1, 2]
    np.testing.assert_array_equal(drawn[:, :2, :2], [np.eye(2)] * 300)
    np.testing.assert_array_equal(drawn[:, 2], [[0, 0, 1]] * 300)
    assert -40 <= x.min() < -38
    assert 38 < x.max() <= 40
    assert -2 <= y.min() < -1.9
    assert 1.9 < y.max() <= 2
    assert abs(np.corrcoef(x, y)[0, 1]) < 0.3


@pytest.mark.parametrize("transform", MOVES[2:], ids=str)
def test_a_map_is_drawn_by_its_seed_alone(transform):
    first, second = matrices(transform, 50), matrices(transform, 50)
    np.testing.assert_array_equal(first, second)
    assert len({matrix.tobytes() for matrix in first}) == 50
    eager = transform.matrix(tf.constant([7, 3], tf.int64), (HEIGHT, WIDTH))
    np.testing.assert_allclose(eager, first[3], rtol=1e-6)


def test_an_unknown_axis_is_refused():
    with pytest.raises(ValueError, match="Received: diagonal"):
        Flip(0.5, "diagonal")


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-0.5, 1.0), (1.2, 1.1)])
def test_factors_that_turn_the_picture_inside_out_are_refused(bounds):
    with pytest.raises(ValueError, match="0 < smallest <= largest"):
        Scale(0.5, *bounds)
