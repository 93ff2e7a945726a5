"""Pictures of slices: arrays in, uint8 RGB arrays or PNG files out.

Axes: H height, W width, C channels, K classes but the background.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np

RGB = tuple[int, int, int]
TRUTH_RGB = (0, 200, 83)
PREDICTION_RGB = (255, 64, 160)
# Of the classes in order, and over again: truths are cold, predictions warm.
TRUTHS_RGB = (TRUTH_RGB, (64, 156, 255), (0, 229, 229), (170, 120, 255))
PREDICTIONS_RGB = (PREDICTION_RGB, (255, 152, 0), (255, 235, 59), (229, 57, 53))
WHITE = (255, 255, 255)
CAPTION_PX = 18
FONT, FONT_SCALE = cv2.FONT_HERSHEY_SIMPLEX, 0.4
SMALLEST_PX = 256
PANEL_PX, GAP_PX, MOST_LETTERS = 256, 8, 46


def write_png(path: Path, picture: np.ndarray) -> None:
    """Write a grey HW or RGB HWC uint8 picture, making its folder.

    Raises:
        OSError: the file could not be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    encoded = cv2.imencode(".png", picture if picture.ndim == 2 else picture[..., ::-1])[1]
    encoded.tofile(path)


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
            captioned(_enlarged(rgb(panel)), [(text, WHITE)])
            for panel, text in zip(panels, ("input", "truth", "prediction"), strict=True)
        ]
    )


def overlay(
    image_HWC: np.ndarray, truth_HW: np.ndarray, mask_HW: np.ndarray, names: Sequence[str] = ()
) -> np.ndarray:
    """Draw the outlines of truth and prediction over the image, under a legend.

    The result has a whole number of pixels for each of the image's: one, unless that is small.

    Args:
        image_HWC: float over 0..1, 1 or 3 channels.
        truth_HW: bool, or index of each pixel's class, 0 the background.
        mask_HW: as truth_HW.
        names: of the classes from index 1 on; none where there is one class without a name.
    """
    picture = _enlarged(rgb(image_HWC))
    for mask, colours in ((truth_HW, TRUTHS_RGB), (mask_HW, PREDICTIONS_RGB)):
        for index in range(1, max(len(names), 1) + 1):
            outline(picture, _enlarged(mask == index), _of_class(index, colours))
    if not names:
        return captioned(picture, [("truth", TRUTH_RGB), ("prediction", PREDICTION_RGB)])
    for side, colours in (("prediction", PREDICTIONS_RGB), ("truth", TRUTHS_RGB)):
        words = [(name, _of_class(i, colours)) for i, name in enumerate(names, start=1)]
        picture = captioned(picture, [(side, WHITE), *words])
    return picture


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


def grid(tiles: Sequence[np.ndarray], columns: int) -> np.ndarray:
    """Set tiles of one size in rows on white; the last row is filled up with white."""
    tiles = [*tiles, *[np.full_like(tiles[0], 255)] * (-len(tiles) % columns)]
    tiles = [np.pad(t, [(GAP_PX, 0), (GAP_PX, 0), (0, 0)], constant_values=255) for t in tiles]
    rows = [np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)]
    return np.pad(np.vstack(rows), [(0, GAP_PX), (0, GAP_PX), (0, 0)], constant_values=255)


def _tile(image_HWC: np.ndarray, mask_HW: np.ndarray, name: str) -> np.ndarray:
    picture = scaled(rgb(image_HWC))
    # By any share of a pixel, so that no part of the mask is lost where it is shrunk.
    mask = scaled(mask_HW.astype(np.float32)) > 0
    outline(picture, mask, TRUTH_RGB)
    share = f"target {100 * mask_HW.mean():.2g}%" if mask_HW.any() else "no target"
    rule = np.full((PANEL_PX, 2, 3), 255, np.uint8)
    return captioned(
        np.hstack([centred(picture), rule, centred(rgb(mask[..., None]))]),
        [(shortened(name, MOST_LETTERS), WHITE), (share, TRUTH_RGB)],
    )


def shortened(name: str, most: int) -> str:
    """Cut a name to its last letters, by which names are told apart: `most`, four or more."""
    return name if len(name) <= most else f"...{name[3 - most :]}"


def scaled(picture: np.ndarray) -> np.ndarray:
    """Bring the longer side to PANEL_PX: by area averaging, or as near as whole pixels come."""
    height, width = picture.shape[:2]
    scale = PANEL_PX / max(height, width)
    if scale >= 1:
        return picture.repeat(int(scale), axis=0).repeat(int(scale), axis=1)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def centred(picture: np.ndarray) -> np.ndarray:
    """Put a picture in the middle of a square of PANEL_PX."""
    panel = np.full((PANEL_PX, PANEL_PX, 3), 64, np.uint8)
    top, left = ((PANEL_PX - length) // 2 for length in picture.shape[:2])
    panel[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return panel


def outline(picture: np.ndarray, mask: np.ndarray, colour: RGB) -> None:
    """Colour the pixels of the mask that lie at its edge, one pixel thin."""
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, outlines, -1, colour, 1)


def _of_class(index: int, colours: Sequence[RGB]) -> RGB:
    return colours[(index - 1) % len(colours)]


def _tinted(maps_HWK: np.ndarray) -> np.ndarray:
    """Return the map of one class as it is, else the sum of all, each in the colour of its truth.

    What is uncertain is dark, in the colour of the class that it may be.
    """
    n = maps_HWK.shape[-1]
    if n == 1:
        return maps_HWK
    return maps_HWK @ (np.array([_of_class(i + 1, TRUTHS_RGB) for i in range(n)]) / 255)


def rgb(image_HWC: np.ndarray) -> np.ndarray:
    """Return an image of 1 or 3 channels over 0..1 as uint8 RGB; what lies beyond is cut."""
    grey = np.clip(image_HWC * 255, 0, 255).round().astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(grey, (*grey.shape[:2], 3)))


def _enlarged(picture: np.ndarray) -> np.ndarray:
    """Repeat the pixels of a small picture until both sides have SMALLEST_PX or more."""
    times = -(-SMALLEST_PX // min(picture.shape[:2]))
    return picture.repeat(times, axis=0).repeat(times, axis=1)


def captioned(picture: np.ndarray, words: list[tuple[str, RGB]]) -> np.ndarray:
    """Put a black strip of CAPTION_PX above an RGB picture, with words in their colours."""
    strip = np.zeros((CAPTION_PX, picture.shape[1], 3), np.uint8)
    x = 3
    for text, colour in words:
        cv2.putText(strip, text, (x, 13), FONT, FONT_SCALE, colour, 1, cv2.LINE_AA)
        x += cv2.getTextSize(text, FONT, FONT_SCALE, 1)[0][0] + 12
    return np.vstack([strip, picture])
