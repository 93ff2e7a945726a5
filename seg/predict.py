"""Masks of whole cases at the images' original size.

Axes: B batch, H height, W width, C channels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import numpy as np
from scipy.special import expit

from seg.contracts import Case, Prediction
from seg.data.images import FULL_SCALE, fit_image, read_image, read_mask, unfit
from seg.figures.pictures import overlay, write_png


def predict_cases(
    model: keras.Model,
    cases: Sequence[Case],
    size: tuple[int, int],
    mask_threshold: float,
    batch_size: int,
    threshold: float = 0.5,
) -> Iterator[Prediction]:
    """Predict slice by slice, in order, holding one batch in memory.

    Args:
        model: float images BHWC over 0..1 to logits BHW1, on one device.
        cases: with truth.
        size: (height, width) of the model's input.
        mask_threshold: of the truth, as in training.
        batch_size: slices predicted at once.
        threshold: a pixel whose probability, brought to the original size, is at least this is
            foreground.
    """
    channels = model.input_shape[-1]
    members = [(case, slice_) for case in cases for slice_ in case.slices]
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(members), batch_size):
            batch = members[start : start + batch_size]
            truths = list(pool.map(lambda m: read_mask(m[1].mask, mask_threshold), batch))
            images = list(
                pool.map(lambda m: fit_image(read_image(m[1].image, channels), size), batch)
            )
            logits = model.predict_on_batch(np.stack(images).astype(np.float32) / FULL_SCALE)
            probabilities = expit(logits[..., 0])
            for (case, slice_), truth, probability in zip(
                batch, truths, probabilities, strict=True
            ):
                mask = unfit(probability, truth.shape) >= threshold
                yield Prediction(case, slice_, truth, mask)


def saved(predictions: Iterable[Prediction], folder: Path) -> Iterator[Prediction]:
    """Write predictions/ID.png (0 and 255) and overlays/ID.png under `folder`, passing each on."""
    for prediction in predictions:
        name = f"{prediction.slice.id}.png"
        write_png(folder / "predictions" / name, prediction.mask_HW.astype(np.uint8) * 255)
        image_HWC = read_image(prediction.slice.image, 3) / FULL_SCALE
        picture = overlay(image_HWC, prediction.truth_HW, prediction.mask_HW)
        write_png(folder / "overlays" / name, picture)
        yield prediction
