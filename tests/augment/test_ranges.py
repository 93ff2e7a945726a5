"""Facts about `seg.augment.ranges`: whose random numbers are whose."""

from concurrent.futures import ThreadPoolExecutor
from itertools import product

import numpy as np
import pytest

from seg.augment.ranges import generator, require_range, uniform

LARGEST = 2**32 - 1


def words(seed, k, stream=0, n=32):
    """Return the first numbers of a stream, 64 random bits each."""
    return generator(seed, k, stream).integers(2**64, size=n, dtype=np.uint64).tolist()


def test_equal_seeds_numbers_and_streams_give_equal_numbers():
    assert words(3, 5) == words(3, 5)
    assert words(LARGEST, 2**40, 1) == words(LARGEST, 2**40, 1)


def test_no_number_comes_twice_whatever_seed_sample_and_stream():
    where = list(product([0, 1, 2, 3, LARGEST], [0, 1, 2, 3, 2**40], [0, 1]))
    assert len({word for place in where for word in words(*place)}) == 32 * len(where)


def test_seed_and_sample_are_not_exchangeable():
    assert not set(words(1, 2)) & set(words(2, 1))


def test_the_numbers_of_a_batch_are_not_those_of_the_sample_of_its_number():
    assert not set(words(7, 4, stream=0, n=1000)) & set(words(7, 4, stream=1, n=1000))


@pytest.mark.parametrize("vary", ["seed", "k"])
def test_neighbouring_streams_are_uncorrelated_and_uniform(vary):
    drawn = np.stack(
        [generator(**({"seed": 4, "k": 4} | {vary: i})).random(6) for i in range(2000)]
    )
    correlations = np.corrcoef(np.hstack([drawn[:-1], drawn[1:]]).T)
    assert np.abs(correlations - np.eye(12)).max() < 5 / np.sqrt(2000)
    for column in drawn.T:
        expected = (np.arange(2000) + 0.5) / 2000
        assert np.abs(np.sort(column) - expected).max() < 2 / np.sqrt(2000)


def test_order_and_thread_change_nothing():
    with ThreadPoolExecutor(4) as pool:
        backwards = list(pool.map(lambda k: words(9, k), reversed(range(40))))
    assert backwards[::-1] == [words(9, k) for k in range(40)]


def test_uniform_numbers_fill_their_range():
    rng = generator(0, 0)
    drawn = np.array([uniform(rng, [-2, 3]) for _ in range(1000)])
    assert -2 <= drawn.min() < -1.97
    assert 2.97 < drawn.max() <= 3
    assert abs(drawn.mean() - 0.5) < 5 * 5 / np.sqrt(12 * 1000)


@pytest.mark.parametrize("value", [0.0, 1.0, -0.3, 1])
def test_a_range_of_one_number_gives_exactly_it(value):
    assert uniform(generator(0, 0), [value, value]) == value


@pytest.mark.parametrize("between", [[0, 1], (0.0, 0.0), [1, 1], [0.2, 0.3]])
def test_a_range_may_touch_its_bounds(between):
    require_range("x", between, least=0, most=1)


@pytest.mark.parametrize("between", [[1, 0], [0], [], [0, 1, 2], [0, float("nan")]])
def test_what_is_no_range_is_refused_in_words(between):
    with pytest.raises(
        ValueError, match=r"^slope must be \[lowest, highest\]. Received: \["
    ) as raised:
        require_range("slope", between)
    assert str(raised.value).endswith(f"Received: {between}")


@pytest.mark.parametrize("between", [[-0.1, 0.5], [0.5, 1.1], [float("nan"), 1]])
def test_a_range_that_leaves_its_bounds_is_told_them(between):
    with pytest.raises(ValueError, match=r"p must be \[lowest, highest\] within 0\.\.1\. Received"):
        require_range("p", between, least=0, most=1)


def test_a_single_bound_is_told_too():
    with pytest.raises(ValueError, match=r"sd must be \[lowest, highest\] of 0 or more. "):
        require_range("sd", [-1, 1], least=0)
