"""Verification of a dataset's files before any of them is learned from."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from seg.contracts import Case, SegError, Slice
from seg.data.images import FULL_SCALE, brightest, read_image

log = logging.getLogger(__name__)


def verify(cases: Sequence[Case], channels: int, mask_threshold: float) -> None:
    """Decode every file once and compare each image with its mask.

    Raises:
        SegError: no case; a file cannot be read; a pair differs in size (the first three bad files
            are named); no mask of the dataset has any foreground.
    """
    slices = [slice_ for case in cases for slice_ in case.slices]
    if not slices:
        raise SegError("dataset: no slice found; check dataset.root")
    with ThreadPoolExecutor() as pool:
        found = list(pool.map(lambda slice_: _inspect(slice_, channels), slices))
    problems = [facts for facts in found if isinstance(facts, str)]
    if problems:
        more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
        raise SegError("; ".join(problems[:3]) + more)
    brightest_image, brightest_mask = np.array(found).T
    _check_masks(slices, brightest_mask, mask_threshold)
    if brightest_image.max() < 0.25:
        log.warning(
            "the brightest pixel of all images has %.1f%% of the largest value their format holds: "
            "window the intensities to use its range",
            100 * brightest_image.max(),
        )


def _check_masks(slices: list[Slice], brightest_mask: np.ndarray, mask_threshold: float) -> None:
    largest = brightest_mask.max()
    advice = f"set dataset.mask_threshold={0 if largest <= 10 else int(largest // 2)}"
    if largest == 0:
        raise SegError("dataset.root: every mask is black, there is nothing to learn; check masks/")
    if largest <= mask_threshold:
        raise SegError(
            f"dataset.mask_threshold: no mask has a value above {mask_threshold:g}, the largest is "
            f"{largest:g}; {advice}"
        )
    lost = np.flatnonzero((brightest_mask > 0) & (brightest_mask <= mask_threshold))
    if len(lost):
        log.warning(
            "%d masks hold values, but none above dataset.mask_threshold=%g, and count as empty, "
            "%s first: are they stored like the others?",
            len(lost),
            mask_threshold,
            slices[lost[0]].mask,
        )


def _inspect(slice_: Slice, channels: int) -> tuple[float, float] | str:
    """Return the largest values of image (0..1) and mask (0..255), or what is wrong with them."""
    try:
        image_HWC = read_image(slice_.image, channels)
        mask_HW = brightest(slice_.mask)
    except (SegError, OSError) as error:
        return str(error)
    if image_HWC.shape[:2] != mask_HW.shape:
        sizes = "x".join(map(str, image_HWC.shape[:2])), "x".join(map(str, mask_HW.shape))
        return (
            f"{slice_.mask}: mask is {sizes[1]} but its image {slice_.image} is {sizes[0]} "
            "(height x width); export the pair at one size"
        )
    return float(image_HWC.max()) / FULL_SCALE, float(mask_HW.max())
