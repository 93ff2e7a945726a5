"""Pictures of cases that went badly and well: where truth and prediction agree, and where not.

Axes: H height, W width, C channels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from seg.figures.pictures import (
    RGB,
    WHITE,
    captioned,
    centred,
    grid,
    outline,
    rgb,
    scaled,
    shortened,
)

RIGHT, FALSE_POSITIVE, FALSE_NEGATIVE, WRONG_CLASS = 1, 2, 3, 4
# Far apart in full colour vision and in each kind of dichromacy.
OUTCOMES: dict[int, tuple[str, RGB]] = {
    RIGHT: ("true positive", (60, 220, 160)),
    FALSE_POSITIVE: ("false positive", (240, 70, 20)),
    FALSE_NEGATIVE: ("false negative", (90, 110, 255)),
    WRONG_CLASS: ("wrong class", (255, 235, 59)),
}
SHORT = {FALSE_POSITIVE: "FP", FALSE_NEGATIVE: "FN", WRONG_CLASS: "wrong"}
CHOSEN = "of each the slice with the most wrong pixels"
OPACITY = 0.4
CASE_LETTERS, SLICE_LETTERS = 21, 31

Panel = tuple[np.ndarray, np.ndarray, str, str, float]


def outcomes(truth_HW: np.ndarray, mask_HW: np.ndarray) -> np.ndarray:
    """Return each pixel's outcome as uint8 HW, a key of OUTCOMES; 0 is background in both.

    Args:
        truth_HW: bool, or index of each pixel's class, 0 the background.
        mask_HW: as truth_HW.
    """
    in_truth, in_mask = truth_HW > 0, mask_HW > 0
    kinds = {
        FALSE_POSITIVE: in_mask & ~in_truth,
        FALSE_NEGATIVE: in_truth & ~in_mask,
        WRONG_CLASS: truth_HW != mask_HW,
        RIGHT: in_truth,
    }
    return np.select([*kinds.values()], [*kinds]).astype(np.uint8)


def confusion_sheet(groups: Mapping[str, Iterable[Panel]], several: bool) -> np.ndarray:
    """Set groups of slices below each other, the outcome of each pixel in its colour.

    Args:
        groups: slices by title, at least one of each: image (HWC, float over 0..1, 1 or 3
            channels), `outcomes`, name of its case, own name, Dice of the case.
        several: whether there are several classes, and so a wrong one.
    """
    kinds = [kind for kind in OUTCOMES if several or kind != WRONG_CLASS]
    tiles = {title: [_tile(*panel, kinds) for panel in panels] for title, panels in groups.items()}
    # Two at least, for the legend needs their width.
    columns = max(2, *map(len, tiles.values()))
    rows = [
        captioned(grid(tiles_, columns), [(f"{title} cases, {CHOSEN}", WHITE)])
        for title, tiles_ in tiles.items()
    ]
    return captioned(np.vstack(rows), [OUTCOMES[kind] for kind in kinds])


def _tile(
    image_HWC: np.ndarray,
    outcome_HW: np.ndarray,
    case: str,
    slice_: str,
    dice: float,
    kinds: list[int],
) -> np.ndarray:
    picture = scaled(rgb(image_HWC))
    shown = np.zeros(picture.shape[:2], np.uint8)
    for kind in kinds:
        # By any share of a pixel, so that no error is lost where it is shrunk.
        shown[scaled((outcome_HW == kind).astype(np.float32)) > 0] = kind
    for kind in kinds:
        inside, colour = shown == kind, OUTCOMES[kind][1]
        mixed = (1 - OPACITY) * picture[inside] + OPACITY * np.array(colour)
        picture[inside] = mixed.round()
        outline(picture, inside, colour)
    counts = [
        (f"{SHORT[kind]} {np.count_nonzero(outcome_HW == kind)}", OUTCOMES[kind][1])
        for kind in kinds[1:]
    ]
    tile = captioned(centred(picture), counts)
    tile = captioned(tile, [(shortened(slice_, SLICE_LETTERS), WHITE)])
    return captioned(tile, [(f"Dice {dice:.3f}", WHITE), (shortened(case, CASE_LETTERS), WHITE)])
