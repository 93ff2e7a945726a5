"""Facts about `seg.metrics.packed`."""

import numpy as np

from seg.metrics.cases import Confusion
from seg.metrics.packed import Packed


def drawn(rng, size):
    return [rng.random(size) < 0.5 for _ in range(2)]


def test_the_volumes_are_the_slices_that_were_added_in_order():
    """Of 5 x 7 pixels, which fill no whole number of bytes."""
    rng = np.random.default_rng(0)
    slices = [drawn(rng, (5, 7)) for _ in range(3)]
    packed = Packed((1, 2, 3))
    for pair in slices:
        packed.add(*pair)
    for volume, masks in zip(packed.volumes(), zip(*slices, strict=True), strict=True):
        assert volume.dtype == bool
        np.testing.assert_array_equal(volume, masks)


def test_slices_of_two_sizes_make_no_volume_but_are_counted():
    packed = Packed(None)
    packed.add(np.array([[True, False]]), np.array([[True, True]]))
    packed.add(np.array([[True], [False]]), np.array([[False], [False]]))
    assert packed.volumes() is None
    assert packed.counts == Confusion(tp=1, fp=1, fn=1, tn=1)


def test_a_slice_of_a_scan_takes_less_than_a_byte_for_500_pixels():
    i, j = np.ogrid[:512, :512]
    disc = (i - 200) ** 2 + (j - 300) ** 2 < 2000
    packed = Packed(None)
    packed.add(disc, disc)
    assert sum(len(data) for data in packed._pairs[0]) < 2 * 512 * 512 / 500
