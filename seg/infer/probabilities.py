"""The probabilities that a model gives whole images, of whatever size.

Axes: B batch, H height, W width, C channels, N classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, islice

import numpy as np
from scipy.special import expit, softmax

from seg.data.images import FULL_SCALE, fit_image, unfit
from seg.infer.windows import Size, canvas, corners, weights

AXES = {"vertical": 0, "horizontal": 1}

Predict = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Views:
    """What of an image a model is shown.

    Attributes:
        size: (height, width) of its input.
        seen: as of `seg.infer.windows.canvas`.
        overlap: as of `seg.infer.windows.corners`.
        flips: axes to flip along; each image is shown in all combinations.
        batch_size: views shown at once.
    """

    size: Size
    seen: Size | None = None
    overlap: float = 0.5
    flips: tuple[str, ...] = ()
    batch_size: int = 8


def probabilities(predict: Predict, images: Sequence[np.ndarray], views: Views) -> list[np.ndarray]:
    """Return for each image the float32 probabilities HWN at its own size.

    N is 1, the foreground's, or the number of classes, the background first. Where windows overlap
    it is their mean, weighed by `seg.infer.windows.weights`, and of flips their plain mean.

    Args:
        predict: float32 images BHWC over 0..1 to logits BHWN.
        images: uint16 HWC over 0..65535.
        views: what of an image the model is shown.
    """
    sizes = [canvas(image.shape[:2], views.size, views.seen) for image in images]
    fitted = [fit_image(image, size) for image, size in zip(images, sizes, strict=True)]
    places = [corners(size, views.size, views.overlap) for size in sizes]
    looks = _looks(predict, fitted, places, views)
    return [
        np.stack([unfit(p_HW, image.shape[:2]) for p_HW in np.moveaxis(p_HWN, -1, 0)], axis=-1)
        for image, of_image, size in zip(images, places, sizes, strict=True)
        for p_HWN in [_joined(looks, of_image, size, views)]
    ]


def _looks(
    predict: Predict,
    images: Sequence[np.ndarray],
    places: Sequence[Sequence[tuple[int, int]]],
    views: Views,
) -> Iterator[np.ndarray]:
    """Yield the probabilities of each view, image by image, window by window, flip by flip."""
    shown = [
        (image, place, axes)
        for image, of_image in zip(images, places, strict=True)
        for place in of_image
        for axes in _flips(views)
    ]
    for start in range(0, len(shown), views.batch_size):
        batch = shown[start : start + views.batch_size]
        seen = [np.flip(image[_window(place, views)], axes) for image, place, axes in batch]
        logits = np.asarray(predict(np.stack(seen).astype(np.float32) / FULL_SCALE), np.float32)
        p_BHWN = expit(logits) if logits.shape[-1] == 1 else softmax(logits, axis=-1)
        for p_HWN, (_, _, axes) in zip(p_BHWN, batch, strict=True):
            yield np.flip(p_HWN, axes)


def _joined(
    looks: Iterator[np.ndarray], places: Sequence[tuple[int, int]], size: Size, views: Views
) -> np.ndarray:
    """Take the views of an image from the stream, and put them together."""
    n = len(_flips(views))
    windows = (sum(islice(looks, n)) / np.float32(n) for _ in places)
    if len(places) == 1:
        return next(windows)
    weight_HW1 = weights(views.size)[..., None]
    total_HW1, sum_HWN = np.zeros((*size, 1), np.float32), None
    for place, p_HWN in zip(places, windows, strict=True):
        if sum_HWN is None:
            sum_HWN = np.zeros((*size, p_HWN.shape[-1]), np.float32)
        sum_HWN[_window(place, views)] += weight_HW1 * p_HWN
        total_HW1[_window(place, views)] += weight_HW1
    return sum_HWN / total_HW1


def _flips(views: Views) -> list[tuple[int, ...]]:
    """Return the axes of each combination of flips, none first."""
    axes = [AXES[name] for name in views.flips]
    return [chosen for n in range(len(axes) + 1) for chosen in combinations(axes, n)]


def _window(place: tuple[int, int], views: Views) -> tuple[slice, slice]:
    (top, left), (height, width) = place, views.size
    return slice(top, top + height), slice(left, left + width)
