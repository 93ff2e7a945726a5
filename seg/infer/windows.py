"""Where the windows of an image larger than a model's input lie, and what each weighs.

Axes: H height, W width.
"""

from __future__ import annotations

import math

import numpy as np

SIGMAS = 8

Size = tuple[int, int]


def canvas(original: Size, size: Size, seen: Size | None) -> Size:
    """Return the (height, width) that an image is brought to, at least that of the model's input.

    An image no larger than those that the model has learned from is fitted into the input, as they
    were. A larger one is scaled as the largest of them was, so that what it shows has the size that
    the model knows.

    Args:
        original: (height, width) of the image.
        size: of the model's input.
        seen: largest height and width that the model has learned from; None: always fit.
    """
    if seen is None or all(length <= most for length, most in zip(original, seen, strict=True)):
        return size
    scale = min(full / most for full, most in zip(size, seen, strict=True))
    height, width = (
        max(full, round(length * scale)) for full, length in zip(size, original, strict=True)
    )
    return height, width


def corners(canvas: Size, size: Size, overlap: float) -> list[tuple[int, int]]:
    """Return the upper left corners of windows that cover a canvas, evenly spread.

    Args:
        canvas: (height, width), at least `size`.
        size: of a window.
        overlap: share of a window that its neighbour covers too, at least; 0..1, without 1.
    """
    tops, lefts = (_starts(*lengths, overlap) for lengths in zip(canvas, size, strict=True))
    return [(top, left) for top in tops for left in lefts]


def weights(size: Size) -> np.ndarray:
    """Return how much each pixel of a window counts: a Gaussian, 1 in the middle, float32 HW.

    Its standard deviation is an eighth of the side (Isensee et al. 2021, nnU-Net, doi
    10.1038/s41592-020-01008-z): near its rim a window has seen little of what surrounds a pixel.
    """
    rows, columns = (np.exp(-(((np.arange(n) + 0.5 - n / 2) * SIGMAS / n) ** 2) / 2) for n in size)
    return np.outer(rows, columns).astype(np.float32)


def _starts(length: int, window: int, overlap: float) -> list[int]:
    steps = math.ceil((length - window) / (window * (1 - overlap)))
    return np.linspace(0, length - window, steps + 1).round().astype(int).tolist()
