"""Facts about `seg.infer.windows`, counted by hand."""

import numpy as np
import pytest

from seg.infer.windows import canvas, corners, weights


@pytest.mark.parametrize(
    ("original", "wanted"),
    [
        ((100, 100), (64, 64)),  # as small as what was learned from: fitted
        ((128, 96), (64, 64)),
        ((128, 128), (64, 64)),  # as large
        ((256, 128), (128, 64)),  # twice as high, at the scale of a half
        ((200, 300), (100, 150)),
        ((129, 20), (64, 64)),  # 64.5 rounds to even
        ((20, 500), (64, 250)),  # what is narrower than the input is padded
    ],
)
def test_a_larger_image_is_scaled_as_the_largest_that_was_learned_from(original, wanted):
    assert canvas(original, (64, 64), (128, 128)) == wanted


def test_an_oblong_input_scales_by_the_side_that_limits_it():
    """128 x 128 went into 64 x 32 at a quarter."""
    assert canvas((512, 512), (64, 32), (128, 128)) == (128, 128)


def test_nothing_is_tiled_where_it_is_not_known_what_was_learned_from():
    assert canvas((5000, 3000), (64, 64), None) == (64, 64)


def test_a_canvas_of_the_inputs_size_has_one_window():
    assert corners((64, 48), (64, 48), 0.5) == [(0, 0)]


def test_windows_are_spread_evenly_from_edge_to_edge():
    """100 in windows of 64: a second one, 36 further; 64 is covered by one."""
    assert corners((100, 64), (64, 64), 0.0) == [(0, 0), (36, 0)]
    assert [left for _, left in corners((64, 128), (64, 64), 0.5)] == [0, 32, 64]
    assert [left for _, left in corners((64, 129), (64, 64), 0.5)] == [0, 22, 43, 65]


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.9])
@pytest.mark.parametrize("length", [8, 9, 15, 16, 17, 100])
def test_windows_cover_all_and_overlap_as_much_as_is_asked_for(length, overlap):
    places = [top for top, _ in corners((length, 8), (8, 8), overlap)]
    covered = np.zeros(length, int)
    for top in places:
        covered[top : top + 8] += 1
    assert len(covered) == length
    assert covered.min() >= 1
    # Starts are whole pixels: one may lie a pixel further than its even share.
    assert all(b - a <= 8 * (1 - overlap) + 1 for a, b in zip(places, places[1:], strict=False))


def test_weights_are_a_gaussian_of_an_eighth_of_each_side():
    found = weights((16, 32))
    assert found.shape == (16, 32)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, found[::-1, ::-1])
    # Two rows apart is one standard deviation: exp(-(2.5^2 - 0.5^2) / (2 * 2^2)).
    assert found[10, 16] / found[8, 16] == pytest.approx(np.exp(-6 / 8))
    assert found[8, 20] / found[8, 16] == pytest.approx(np.exp(-(4.5**2 - 0.5**2) / 32))
    assert found.min() > 0
