"""A sheet of slices in rows: what was seen, what is true, what was predicted, what is wrong.

Axes: H height, W width, C channels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from seg.figures import confusion
from seg.figures.panels import (
    GAP_PX,
    LEFT_PX,
    PANEL_PX,
    RGB,
    WHITE,
    WORD_GAP_PX,
    Word,
    centred,
    length_px,
    rgb,
    scaled,
    scaled_mask,
    shortened,
    strip,
)
from seg.figures.pictures import Style, paint

CHOSEN = "of each case the slice with the most wrong pixels"
COLUMNS = ("input", "truth", "prediction", "errors")
LABEL_PX, LINE_PX, SCALE, DICE_SCALE = 224, 24, 0.5, 0.75
MOST_LETTERS, NAME_LINES = 60, 3
PALE = (170, 170, 170)
WIDTH_PX = LABEL_PX + len(COLUMNS) * (PANEL_PX + GAP_PX) + 2 * GAP_PX


@dataclass(frozen=True)
class Example:
    """A slice of a case.

    Attributes:
        case: its name.
        slice: name of the slice.
        dice: of the case.
        image_HWC: float over 0..1, 1 or 3 channels.
        truth_HW: bool, or index of each pixel's class, 0 the background.
        mask_HW: the prediction, as truth_HW.
    """

    case: str
    slice: str
    dice: float
    image_HWC: np.ndarray
    truth_HW: np.ndarray
    mask_HW: np.ndarray


def contact_sheet(
    groups: Mapping[str, Iterable[Example]], names: Sequence[str], style: Style
) -> np.ndarray:
    """Set slices below each other, in groups under their titles and under a legend.

    A row is what is known of the slice, its image, the truth, the prediction and the outcome of
    each pixel, in squares of PANEL_PX: enlarged by the largest whole number that fits, or shrunk.
    Pixels are counted at the slice's own size.

    Args:
        groups: slices by title, at least one of each.
        names: of the classes from index 1 on; none where there is one class without a name.
        style: of the masks.
    """
    parts = _legend(names, style)
    for title, examples in groups.items():
        parts.append(_line([(f"{title} cases", WHITE), (CHOSEN, PALE)]))
        parts.append(_captions())
        parts += [_row(example, names, style) for example in examples]
    return np.vstack([*parts, np.full((GAP_PX, WIDTH_PX, 3), 255, np.uint8)])


def _legend(names: Sequence[str], style: Style) -> list[np.ndarray]:
    """Return lines that name the colours: of errors, and of the classes on either side."""
    words = [confusion.OUTCOMES[kind] for kind in confusion.kinds(len(names) > 1)]
    sides: list[tuple[str, Callable[[int], RGB]]] = [
        *(("truth", style.truth), ("prediction", style.prediction))
    ]
    if not names:
        return [_line([*[(side, colour(1)) for side, colour in sides], ("errors:", PALE), *words])]
    lines = []
    for side, colour in sides:
        of_classes = [(name, colour(i)) for i, name in enumerate(names, start=1)]
        lines += _wrapped([(f"{side}:", PALE), *of_classes])
    return [*lines, _line([("errors:", PALE), *words])]


def _wrapped(words: Sequence[Word]) -> list[np.ndarray]:
    """Set words in as many lines as they need."""
    lines: list[list[Word]] = [[]]
    x = LEFT_PX
    for text, colour in words:
        length = length_px(text, SCALE) + WORD_GAP_PX
        if x + length > WIDTH_PX and lines[-1]:
            lines.append([])
            x = LEFT_PX
        lines[-1].append((text, colour))
        x += length
    return [_line(line) for line in lines]


def _line(words: Sequence[Word], width_px: int = WIDTH_PX, scale: float = SCALE) -> np.ndarray:
    height_px = LINE_PX if scale == SCALE else 3 * LINE_PX // 2
    return strip(words, width_px, height_px, scale)


def _captions() -> np.ndarray:
    """Return the line that names the columns."""
    cells = [np.zeros((LINE_PX, GAP_PX + LABEL_PX, 3), np.uint8)]
    cells += [_line([(name, PALE)], GAP_PX + PANEL_PX) for name in COLUMNS]
    return np.hstack([*cells, np.zeros((LINE_PX, GAP_PX, 3), np.uint8)])


def _row(example: Example, names: Sequence[str], style: Style) -> np.ndarray:
    outcome_HW = confusion.outcomes(example.truth_HW, example.mask_HW)
    indices = range(1, max(len(names), 1) + 1)
    cells = [_label(example, confusion.counts(outcome_HW, len(names) > 1))]
    cells.append(centred(scaled(rgb(example.image_HWC))))
    for mask_HW, colour in ((example.truth_HW, style.truth), (example.mask_HW, style.prediction)):
        picture = scaled(rgb(example.image_HWC))
        paint(picture, [(scaled_mask(mask_HW == i), colour(i)) for i in indices], style)
        cells.append(centred(picture))
    cells.append(confusion.panel(example.image_HWC, outcome_HW))
    around = [(GAP_PX, 0), (GAP_PX, 0), (0, 0)]
    row = np.hstack([np.pad(cell, around, constant_values=255) for cell in cells])
    return np.pad(row, [(0, 0), (0, GAP_PX), (0, 0)], constant_values=255)


def _label(example: Example, counts: Sequence[Word]) -> np.ndarray:
    """Return a cell of words: case, slice, Dice and the pixels that are wrong."""
    names = [(line, WHITE) for line in _lines(example.case)]
    names += [(line, PALE) for line in _lines(example.slice)]
    lines = [_line([name], LABEL_PX) for name in names]
    lines.append(_line([(f"Dice {example.dice:.3f}", WHITE)], LABEL_PX, DICE_SCALE))
    lines += [_line([count], LABEL_PX) for count in counts]
    label = np.vstack(lines)
    return np.pad(label, [(0, PANEL_PX - len(label)), (0, 0), (0, 0)])


def _lines(name: str) -> list[str]:
    """Break a name into lines that fit; of one too long for NAME_LINES the end is kept."""
    for most in range(min(len(name), MOST_LETTERS), 3, -1):
        lines = [""]
        for letter in shortened(name, most):
            if length_px(lines[-1] + letter, SCALE) > LABEL_PX - 3 * LEFT_PX:
                lines.append("")
            lines[-1] += letter
        if len(lines) <= NAME_LINES:
            return lines
    return [name]
