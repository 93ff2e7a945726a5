"""Verification of a dataset's files before any of them is learned from."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from seg.contracts import Case, Classes, SegError, Slice
from seg.data.images import FULL_SCALE, brightest, read_image, read_mask

MOST_NAMED = 20

log = logging.getLogger(__name__)


class _Facts(NamedTuple):
    """What is to be known of a slice.

    Attributes:
        image: largest value, of full scale.
        mask: largest value (0..255), or index with labels.
        target_px: pixels of the mask that are not background.
        found: indices of the classes with labels that the mask holds.
    """

    image: float
    mask: float
    target_px: int
    found: frozenset[int]


def verified(
    cases: Sequence[Case], channels: int, classes: Classes, on_bad: str = "error"
) -> list[Case]:
    """Decode every file once, compare each image with its mask, count the mask's foreground.

    Args:
        cases: as a reader returns them.
        channels: of the images, 1 or 3.
        classes: what the masks' pixels say.
        on_bad: where a file cannot be read, a pair differs in size or a mask has a value without
            label: "error", or "skip" to leave the slice out with a warning, and a case that has
            none left.

    Returns:
        The cases with target_px of every slice, at the size stored.

    Raises:
        SegError: no slice, or none left; a bad slice (the first three are named) where on_bad is
            "error"; no mask of the dataset has any foreground.
    """
    slices = [slice_ for case in cases for slice_ in case.slices]
    if not slices:
        raise SegError("dataset: no slice found; check dataset.root")
    with ThreadPoolExecutor() as pool:
        inspected = pool.map(lambda slice_: _inspect(slice_, channels, classes), slices)
        found = dict(zip(slices, inspected, strict=True))
    good = {slice_: facts for slice_, facts in found.items() if isinstance(facts, _Facts)}
    _report([what for what in found.values() if isinstance(what, str)], len(good), on_bad)
    largest = np.array([facts.mask for facts in good.values()])
    _check_masks(list(good), largest, _threshold(classes))
    _check_labels(classes, frozenset().union(*(facts.found for facts in good.values())))
    _check_range(max(facts.image for facts in good.values()))
    counted = [
        replace(
            case,
            slices=tuple(replace(s, target_px=good[s].target_px) for s in case.slices if s in good),
        )
        for case in cases
    ]
    return [case for case in counted if case.slices]


def warn_of_gaps(cases: Sequence[Case]) -> None:
    """Warn of cases whose slices are numbered, by the last number of their names, with a gap.

    Slices that are left out evenly, as every second, make none.
    """
    gaps = [gap for gap in map(_gap, cases) if gap]
    if gaps:
        log.warning(
            "%d of %d cases lack slices, the first between %s and %s: these count as neighbours, "
            "so that distances and lesions across the gap are wrong",
            *(len(gaps), len(cases), *gaps[0]),
        )


def _gap(case: Case) -> tuple[str, str] | None:
    """Return the names of the two slices around the first gap."""
    names = [slice_.id for slice_ in case.slices]
    numbers = [int(found[-1]) for name in names if (found := re.findall(r"\d+", name))]
    steps = np.diff(numbers)
    if len(numbers) < len(names) or len(steps) < 2 or steps.min() < 1:
        return None
    wide = np.flatnonzero(steps > steps.min())
    return (names[wide[0]], names[wide[0] + 1]) if len(wide) else None


def _report(problems: list[str], n_good: int, on_bad: str) -> None:
    if not problems:
        return
    if on_bad == "error":
        more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
        raise SegError(
            f"{'; '.join(problems[:3])}{more}; or take dataset.on_bad=skip to leave them out"
        )
    if not n_good:
        raise SegError(
            f"dataset.on_bad=skip: none of {len(problems)} slices can be used, the first one is "
            f"{problems[0]}"
        )
    log.warning("dataset.on_bad=skip: %d slices are left out, %d are used", len(problems), n_good)
    for problem in problems[:MOST_NAMED]:
        log.warning("left out: %s", problem)
    if len(problems) > MOST_NAMED:
        log.warning("and %d more", len(problems) - MOST_NAMED)


def _check_range(brightest_image: float) -> None:
    if brightest_image < 0.25:
        log.warning(
            "the brightest pixel of all images has %.1f%% of the largest value their format holds: "
            "window the intensities to use its range",
            100 * brightest_image,
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


def _check_labels(classes: Classes, found: frozenset[int]) -> None:
    for index, (name, value) in enumerate(classes.labels.items(), start=1):
        if index not in found:
            log.warning("dataset.labels: no mask has a pixel of %s=%d", name, value)


def _inspect(slice_: Slice, channels: int, classes: Classes) -> _Facts | str:
    """Return what is to be known of image and mask, or what is wrong with them."""
    try:
        image_HWC = read_image(slice_.image, channels)
        mask_HW = read_mask(slice_.mask, classes) if classes.labels else brightest(slice_.mask)
    except (SegError, OSError) as error:
        return str(error)
    if image_HWC.shape[:2] != mask_HW.shape:
        sizes = "x".join(map(str, image_HWC.shape[:2])), "x".join(map(str, mask_HW.shape))
        return (
            f"{slice_.mask}: mask is {sizes[1]} but its image {slice_.image} is {sizes[0]} "
            "(height x width); export the pair at one size"
        )
    return _Facts(
        image=float(image_HWC.max()) / FULL_SCALE,
        mask=float(mask_HW.max()),
        target_px=int(np.count_nonzero(mask_HW > _threshold(classes))),
        found=frozenset(np.unique(mask_HW).tolist()) if classes.labels else frozenset(),
    )


def _threshold(classes: Classes) -> float:
    """Return what foreground exceeds: with labels a mask holds indices."""
    return 0 if classes.labels else classes.threshold
