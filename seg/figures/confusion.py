"""Where truth and prediction agree, and where not.

Axes: H height, W width, C channels.
"""

from __future__ import annotations

import numpy as np

from seg.figures.panels import RGB, Word, centred, fill, outline, rgb, scaled, scaled_mask

RIGHT, FALSE_POSITIVE, FALSE_NEGATIVE, WRONG_CLASS = 1, 2, 3, 4
# Far apart in full colour vision and in each kind of dichromacy.
OUTCOMES: dict[int, tuple[str, RGB]] = {
    RIGHT: ("true positive", (60, 220, 160)),
    FALSE_POSITIVE: ("false positive", (240, 70, 20)),
    FALSE_NEGATIVE: ("false negative", (90, 110, 255)),
    WRONG_CLASS: ("wrong class", (255, 235, 59)),
}
SHORT = {FALSE_POSITIVE: "FP", FALSE_NEGATIVE: "FN", WRONG_CLASS: "wrong"}
OPACITY = 0.4


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


def kinds(several: bool) -> list[int]:
    """Return the keys of OUTCOMES that can occur; the last only where there are several classes."""
    return [kind for kind in OUTCOMES if several or kind != WRONG_CLASS]


def counts(outcome_HW: np.ndarray, several: bool) -> list[Word]:
    """Say how many pixels are wrong in which way, in its colour: "FP 12"."""
    return [
        (f"{SHORT[kind]} {np.count_nonzero(outcome_HW == kind)}", OUTCOMES[kind][1])
        for kind in kinds(several)[1:]
    ]


def panel(image_HWC: np.ndarray, outcome_HW: np.ndarray) -> np.ndarray:
    """Colour the outcome of each pixel over its image, in a square of PANEL_PX.

    Where the image is shrunk an error outdoes what is right in the same pixel.

    Args:
        image_HWC: float over 0..1, 1 or 3 channels.
        outcome_HW: `outcomes`.
    """
    picture = scaled(rgb(image_HWC))
    shown = np.zeros(picture.shape[:2], np.uint8)
    for kind in OUTCOMES:
        shown[scaled_mask(outcome_HW == kind)] = kind
    for kind, (_, colour) in OUTCOMES.items():
        fill(picture, shown == kind, colour, OPACITY)
        outline(picture, shown == kind, colour)
    return centred(picture)
