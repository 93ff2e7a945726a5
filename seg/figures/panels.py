"""What pictures are put together of: panels of one size, words above them, outlines in them.

Axes: H height, W width, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

RGB = tuple[int, int, int]
Word = tuple[str, RGB]
WHITE = (255, 255, 255)
CAPTION_PX = 18
FONT, FONT_SCALE = cv2.FONT_HERSHEY_SIMPLEX, 0.4
LEFT_PX, WORD_GAP_PX = 3, 12
SMALLEST_PX, LARGEST_PX = 256, 4096
PANEL_PX, GAP_PX = 256, 8


def rgb(image_HWC: np.ndarray) -> np.ndarray:
    """Return an image of 1 or 3 channels over 0..1 as uint8 RGB; what lies beyond is cut."""
    grey = np.clip(image_HWC * 255, 0, 255).round().astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(grey, (*grey.shape[:2], 3)))


def enlarged(picture: np.ndarray) -> np.ndarray:
    """Repeat the pixels of a small picture until both sides have SMALLEST_PX or one LARGEST_PX."""
    times = -(-SMALLEST_PX // min(picture.shape[:2]))
    times = max(1, min(times, LARGEST_PX // max(picture.shape[:2])))
    return picture.repeat(times, axis=0).repeat(times, axis=1)


def scaled(picture: np.ndarray) -> np.ndarray:
    """Bring the longer side to PANEL_PX: by area averaging, or as near as whole pixels come."""
    height, width = picture.shape[:2]
    scale = PANEL_PX / max(height, width)
    if scale >= 1:
        return picture.repeat(int(scale), axis=0).repeat(int(scale), axis=1)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def scaled_mask(mask_HW: np.ndarray) -> np.ndarray:
    """Bring a mask to the size of its image by `scaled`, as bool.

    Where it is shrunk a pixel is in it by any share, so that no part of it is lost.
    """
    return scaled(mask_HW.astype(np.float32)) > 0


def centred(picture: np.ndarray) -> np.ndarray:
    """Put a picture in the middle of a square of PANEL_PX."""
    panel = np.full((PANEL_PX, PANEL_PX, 3), 64, np.uint8)
    top, left = ((PANEL_PX - length) // 2 for length in picture.shape[:2])
    panel[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return panel


def grid(tiles: Sequence[np.ndarray], columns: int) -> np.ndarray:
    """Set tiles of one size in rows on white; the last row is filled up with white."""
    tiles = [*tiles, *[np.full_like(tiles[0], 255)] * (-len(tiles) % columns)]
    tiles = [np.pad(t, [(GAP_PX, 0), (GAP_PX, 0), (0, 0)], constant_values=255) for t in tiles]
    rows = [np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)]
    return np.pad(np.vstack(rows), [(0, GAP_PX), (0, GAP_PX), (0, 0)], constant_values=255)


def outline(picture: np.ndarray, mask: np.ndarray, colour: RGB, width_px: int = 1) -> None:
    """Colour the pixels of the mask that lie at its edge, up to a width, on its inside."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * width_px + 1,) * 2)
    around = {"borderType": cv2.BORDER_CONSTANT, "borderValue": 0}
    inside = cv2.erode(mask.astype(np.uint8), disc, **around)
    picture[mask & (inside == 0)] = colour


def fill(picture: np.ndarray, mask: np.ndarray, colour: RGB, opacity: float) -> None:
    """Mix a colour into the pixels of the mask, of which `opacity` 1 leaves nothing."""
    mixed = (1 - opacity) * picture[mask] + opacity * np.array(colour)
    picture[mask] = mixed.round()


def shortened(name: str, most: int) -> str:
    """Cut a name to its last letters, by which names are told apart: `most`, four or more."""
    return name if len(name) <= most else f"...{name[3 - most :]}"


def captioned(picture: np.ndarray, words: Sequence[Word]) -> np.ndarray:
    """Put a black strip of CAPTION_PX above an RGB picture, with words in their colours."""
    return np.vstack([strip(words, picture.shape[1]), picture])


def strip(
    words: Sequence[Word], width_px: int, height_px: int = CAPTION_PX, scale: float = FONT_SCALE
) -> np.ndarray:
    """Return words in their colours on black; what is too long for the width is cut."""
    picture = np.zeros((height_px, width_px, 3), np.uint8)
    x, bottom = LEFT_PX, round(0.72 * height_px)
    for text, colour in words:
        cv2.putText(picture, text, (x, bottom), FONT, scale, colour, 1, cv2.LINE_AA)
        x += length_px(text, scale) + WORD_GAP_PX
    return picture


def length_px(text: str, scale: float) -> int:
    """Return how wide a text is in a `strip`."""
    return cv2.getTextSize(text, FONT, scale, 1)[0][0]
