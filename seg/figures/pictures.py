"""Pictures of slices: arrays in, uint8 RGB arrays or PNG files out.

Axes: H height, W width, C channels, K classes but the background.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from seg.contracts import SegError
from seg.figures.panels import (
    PANEL_PX,
    RGB,
    WHITE,
    captioned,
    centred,
    enlarged,
    fill,
    grid,
    outline,
    rgb,
    scaled,
    scaled_mask,
    shortened,
)

# Of the classes in order, and over again: truths are cold, predictions warm.
TRUTHS = ("#00c853", "#409cff", "#00e5e5", "#aa78ff")
PREDICTIONS = ("#ff40a0", "#ff9800", "#ffeb3b", "#e53935")
COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
MOST_PX, MOST_LETTERS = 32, 46
PNG_LEVEL = 3  # a quarter of the bytes of the default, in half as much time again

Layer = tuple[np.ndarray, RGB]


@dataclass(frozen=True)
class Style:
    """How the masks of truth and prediction look over an image.

    Attributes:
        truth_colours: of the classes in order, and over again; "#00c853" is red 0, green 200 and
            blue 83 of 255.
        prediction_colours: as truth_colours.
        outline_px: width of the line along the inside of a mask's edge, in pixels of the picture;
            0: none.
        opacity: of the colour over the area within, 0..1; 0: none.

    Raises:
        SegError: a value is not of this kind, or no mask would be seen.
    """

    truth_colours: Sequence[str] = TRUTHS
    prediction_colours: Sequence[str] = PREDICTIONS
    outline_px: int = 1
    opacity: float = 0.0

    def __post_init__(self) -> None:
        for key in ("truth_colours", "prediction_colours"):
            colours = getattr(self, key)
            wrong = [colour for colour in colours if not COLOUR.fullmatch(str(colour))]
            if wrong or not colours or isinstance(colours, str):
                received = repr(wrong[0] if wrong else colours)
                raise SegError(
                    f"overlay.{key}: {received} is no colour; give a list like ['#00c853']"
                )
        if self.outline_px not in range(MOST_PX + 1):
            raise SegError(
                f"overlay.outline_px is {self.outline_px}; give a whole number of pixels from 0 "
                f"(no outline) to {MOST_PX}"
            )
        if not 0 <= self.opacity <= 1:
            raise SegError(
                f"overlay.opacity is {self.opacity}; give a number from 0 (nothing is filled) to 1"
            )
        if not self.outline_px and not self.opacity:
            raise SegError(
                f"overlay.outline_px is {self.outline_px} and overlay.opacity {self.opacity}, so "
                "that no mask would be seen; give one of them a number above 0"
            )

    def truth(self, index: int) -> RGB:
        """Return the colour of a class of the truth, by its index, from 1 on."""
        return _of_class(index, self.truth_colours)

    def prediction(self, index: int) -> RGB:
        """Return the colour of a class of the prediction, by its index, from 1 on."""
        return _of_class(index, self.prediction_colours)


def write_png(path: Path, picture: np.ndarray) -> None:
    """Write a grey HW or RGB HWC uint8 picture, making its folder.

    Raises:
        OSError: the file could not be written, and is not there.
        ValueError: the picture is larger than a PNG.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    bgr = picture if picture.ndim == 2 else picture[..., ::-1]
    done, encoded = cv2.imencode(".png", bgr, [cv2.IMWRITE_PNG_COMPRESSION, PNG_LEVEL])
    if not done:
        raise ValueError(f"{path}: a picture of {bgr.shape} is none that PNG can hold")
    aside = path.with_name(f".part-{path.name}")
    try:
        encoded.tofile(aside)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def triptych(
    image_HWC: np.ndarray, truth_HWK: np.ndarray, probability_HWK: np.ndarray
) -> np.ndarray:
    """Set input, truth and predicted probability side by side under captions, as `overlay`.

    One class is white, several have each a colour.

    Args:
        image_HWC: float over 0..1, 1 or 3 channels.
        truth_HWK: of 0 and 1.
        probability_HWK: float over 0..1.
    """
    panels = [image_HWC, _tinted(truth_HWK), _tinted(probability_HWK)]
    return np.hstack(
        [
            captioned(enlarged(rgb(panel)), [(text, WHITE)])
            for panel, text in zip(panels, ("input", "truth", "prediction"), strict=True)
        ]
    )


def overlay(
    image_HWC: np.ndarray,
    truth_HW: np.ndarray | None,
    mask_HW: np.ndarray,
    names: Sequence[str] = (),
    style: Style = Style(),  # noqa: B008
) -> np.ndarray:
    """Draw truth and prediction over the image, under a legend.

    The result has a whole number of pixels for each of the image's: one, unless that is small.

    Args:
        image_HWC: float over 0..1, 1 or 3 channels.
        truth_HW: bool, or index of each pixel's class, 0 the background; None where there is none.
        mask_HW: as truth_HW.
        names: of the classes from index 1 on; none where there is one class without a name.
        style: colours and strokes.
    """
    sides = [("truth", truth_HW, style.truth), ("prediction", mask_HW, style.prediction)]
    sides = [side for side in sides if side[1] is not None]
    indices = range(1, max(len(names), 1) + 1)
    picture = enlarged(rgb(image_HWC))
    layers = [(enlarged(mask == i), colour(i)) for _, mask, colour in sides for i in indices]
    paint(picture, layers, style)
    if not names:
        return captioned(picture, [(side, colour(1)) for side, _, colour in sides])
    for side, _, colour in reversed(sides):
        words = [(name, colour(i)) for i, name in zip(indices, names, strict=True)]
        picture = captioned(picture, [(side, WHITE), *words])
    return picture


def paint(picture: np.ndarray, layers: Sequence[Layer], style: Style) -> None:
    """Draw masks (bool, of the picture's size) in their colours, all outlines over all areas."""
    if style.opacity:
        for mask, colour in layers:
            fill(picture, mask, colour, style.opacity)
    if style.outline_px:
        for mask, colour in layers:
            outline(picture, mask, colour, style.outline_px)


def sheet(
    samples: Iterable[tuple[np.ndarray, np.ndarray, str]], columns: int | None = None
) -> np.ndarray:
    """Set samples in rows: the image with its mask's outline, beside it the mask, above its name.

    Each lies in a square of PANEL_PX: enlarged by the largest whole number that fits, or shrunk.

    Args:
        samples: image (HWC, float over 0..1, 1 or 3 channels), mask (bool HW) and name; at least
            one.
        columns: samples in a row; about as many as rows where it is not given.
    """
    tiles = [_tile(*sample) for sample in samples]
    return grid(tiles, columns or math.ceil(math.sqrt(len(tiles))))


def _tile(image_HWC: np.ndarray, mask_HW: np.ndarray, name: str) -> np.ndarray:
    picture, mask = scaled(rgb(image_HWC)), scaled_mask(mask_HW)
    colour = _of_class(1, TRUTHS)
    outline(picture, mask, colour)
    share = f"target {100 * mask_HW.mean():.2g}%" if mask_HW.any() else "no target"
    rule = np.full((PANEL_PX, 2, 3), 255, np.uint8)
    return captioned(
        np.hstack([centred(picture), rule, centred(rgb(mask[..., None]))]),
        [(shortened(name, MOST_LETTERS), WHITE), (share, colour)],
    )


def _of_class(index: int, colours: Sequence[str]) -> RGB:
    digits = colours[(index - 1) % len(colours)].removeprefix("#")
    red, green, blue = bytes.fromhex(digits)
    return red, green, blue


def _tinted(maps_HWK: np.ndarray) -> np.ndarray:
    """Return the map of one class as it is, else the sum of all, each in the colour of its truth.

    What is uncertain is dark, in the colour of the class that it may be.
    """
    n = maps_HWK.shape[-1]
    if n == 1:
        return maps_HWK
    return maps_HWK @ (np.array([_of_class(i + 1, TRUTHS) for i in range(n)]) / 255)
