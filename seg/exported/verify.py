"""Whether an exported model answers as it does in Keras, and which of the two is faster.

Axes: B batch, H height, W width, C channels, N classes.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from scipy.special import expit, softmax

from seg.contracts import SegError
from seg.data.images import FULL_SCALE, fit_image, read_image
from seg.data.intensity import Window
from seg.data.recipe import Recipe
from seg.exported.formats import Run
from seg.models.deployed import Scale
from seg.models.manual import Manual

LARGEST = 1e-4
PICTURES = Scale(black=0, white=255)
WINDOW = f"{Window.__module__}.{Window.__qualname__}"


def scale(manual: Manual | None) -> Scale:
    """Return in which unit a model takes its input: HU where one window made all its images.

    Other intensities, as percentiles, are each case's own, and not to be had from one slice.
    """
    prepare = manual.prepare if manual else None
    if not prepare or prepare["intensity"]["_target_"] != WINDOW:
        return PICTURES
    window = Window(*(prepare["intensity"][key] for key in ("centre_hu", "width_hu")))
    (black,), (white,) = window.bounds(np.empty((1, 1, 1, 1)))
    return Scale(float(black), float(white), 2 ** prepare["bits"] - 1)


def in_keras(model: keras.Model, scale: Scale) -> Run:
    """Return what makes probabilities as this package does, its preparation of slices included."""

    def run(images_BHWC: np.ndarray) -> np.ndarray:
        prepared = np.stack([_prepared(image_HWC, scale) for image_HWC in images_BHWC])
        logits = model.predict_on_batch(prepared.astype(np.float32))
        return expit(logits) if logits.shape[-1] == 1 else softmax(logits, axis=-1)

    return run


def _prepared(image_HWC: np.ndarray, scale: Scale) -> np.ndarray:
    if scale.steps is None:
        return np.clip(image_HWC / np.float32(scale.white), 0, 1)
    window = Window((scale.black + scale.white) / 2, scale.white - scale.black)
    recipe = Recipe(window, None, None, square_pixels=False, bits=scale.steps.bit_length())
    ends = np.array([scale.black]), np.array([scale.white])
    return recipe.image(image_HWC, *ends, image_HWC.shape[:2]) / scale.steps


def read(picture: Path, channels: int, size: tuple[int, int], scale: Scale) -> np.ndarray:
    """Read a picture as float32 intensities HWC of the input: a window's grey values as their HU.

    Raises:
        SegError: as `seg.data.images.read_image`.
    """
    image_HWC = fit_image(read_image(picture, channels), size) / FULL_SCALE
    return (scale.black + image_HWC * (scale.white - scale.black)).astype(np.float32)


def made_up(channels: int, size: tuple[int, int], scale: Scale) -> list[np.ndarray]:
    """Return noise, and a ramp of whole numbers, which reach beyond a window."""
    beyond = 0 if scale.steps is None else (scale.white - scale.black) / 2
    ends, shape = (scale.black - beyond, scale.white + beyond), (*size, channels)
    noise = [np.random.default_rng(seed).uniform(*ends, shape) for seed in range(3)]
    ramp = np.linspace(*ends, np.prod(shape)).round().reshape(shape)
    return [image_HWC.astype(np.float32) for image_HWC in (*noise, ramp)]


def compared(
    expected: Run, received: Run, real: Sequence[np.ndarray], made: Sequence[np.ndarray]
) -> dict[str, Any]:
    """Compare probabilities, and the median time of one image.

    Args:
        expected: Keras.
        received: the file's own runtime.
        real: images HWC of the input's unit, shown one by one.
        made: likewise; shown all at once, too.

    Raises:
        SegError: the largest difference is more than LARGEST, or not a number.
    """
    batch_BHWC = np.stack(made)
    of_batch = expected(batch_BHWC), received(batch_BHWC)
    (one_by_one, keras_s), (others, own_s) = (
        _timed(run, [*real, *made]) for run in (expected, received)
    )
    pairs = [of_batch, (one_by_one, others)]
    largest = max(float(np.abs(np.subtract(*pair)).max()) for pair in pairs)
    if not largest <= LARGEST:
        raise SegError(
            f"its own runtime gives other probabilities than Keras, by up to {largest:.2g} in "
            f"{len(real) + len(made)} images, {LARGEST:g} is allowed; nothing is exported, take "
            "another --format"
        )
    return {
        "largest_difference": largest,
        "allowed": LARGEST,
        "real_images": len(real),
        "made_up_images": len(made),
        "keras_images_per_s": 1 / keras_s,
        "images_per_s": 1 / own_s,
    }


def _timed(run: Run, images: Sequence[np.ndarray]) -> tuple[np.ndarray, float]:
    """Return the answers, and the median time in seconds."""
    run(images[0][None])  # which compiles, or allocates
    answers, times_s = [], []
    for image_HWC in images:
        begun = time.perf_counter()
        answers.append(run(image_HWC[None]))
        times_s.append(time.perf_counter() - begun)
    return np.concatenate(answers), float(np.median(times_s))
