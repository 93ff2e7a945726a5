"""Verification of a dataset's files before any of them is learned from."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from seg.contracts import Case, SegError, Slice
from seg.data.images import brightest, read_image


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
    problems = [problem for problem, _ in found if problem]
    if problems:
        more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
        raise SegError("; ".join(problems[:3]) + more)
    largest = max(value for _, value in found)
    if largest == 0:
        raise SegError("dataset.root: every mask is black, there is nothing to learn; check masks/")
    if largest <= mask_threshold:
        raise SegError(
            f"dataset.mask_threshold: no mask has a value above {mask_threshold:g}, the largest is "
            f"{largest:g}; set dataset.mask_threshold={0 if largest <= 1 else int(largest // 2)}"
        )


def _inspect(slice_: Slice, channels: int) -> tuple[str, float]:
    """Return what is wrong with a pair ("" if nothing) and its mask's largest value (0..255)."""
    try:
        image_HWC = read_image(slice_.image, channels)
        mask_HW = brightest(slice_.mask)
    except (SegError, OSError) as error:
        return str(error), 0.0
    if image_HWC.shape[:2] != mask_HW.shape:
        sizes = "x".join(map(str, image_HWC.shape[:2])), "x".join(map(str, mask_HW.shape))
        return (
            f"{slice_.mask}: mask is {sizes[1]} but its image {slice_.image} is {sizes[0]} "
            "(height x width); export the pair at one size"
        ), 0.0
    return "", float(mask_HW.max())
