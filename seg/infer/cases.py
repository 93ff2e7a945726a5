"""Masks of whole cases at the images' original size.

Axes: B batch, H height, W width, C channels, N classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import numpy as np
from scipy.special import expit, softmax

from seg.contracts import Case, Classes, Prediction
from seg.data.images import FULL_SCALE, fit_image, read_image, read_mask, unfit
from seg.figures.pictures import overlay, write_png


def predict_cases(
    model: keras.Model,
    cases: Sequence[Case],
    size: tuple[int, int],
    classes: Classes,
    batch_size: int,
    threshold: float = 0.5,
) -> Iterator[Prediction]:
    """Predict slice by slice, in order, holding one batch in memory.

    Args:
        model: float images BHWC over 0..1 to logits, on one device: BHW1 of the foreground, or
            BHWN of the classes, the background first.
        cases: with truth.
        size: (height, width) of the model's input.
        classes: of the truth, as in training.
        batch_size: slices predicted at once.
        threshold: a pixel whose probability, brought to the original size, is at least this is
            foreground. Where there are several classes of it a pixel is of the most probable one.
    """
    channels = model.input_shape[-1]
    members = [(case, slice_) for case in cases for slice_ in case.slices]
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(members), batch_size):
            batch = members[start : start + batch_size]
            truths = list(pool.map(lambda m: read_mask(m[1].mask, classes), batch))
            images = list(
                pool.map(lambda m: fit_image(read_image(m[1].image, channels), size), batch)
            )
            logits = model.predict_on_batch(np.stack(images).astype(np.float32) / FULL_SCALE)
            p_BHWN = expit(logits) if logits.shape[-1] == 1 else softmax(logits, axis=-1)
            for (case, slice_), truth, p_HWN in zip(batch, truths, p_BHWN, strict=True):
                yield Prediction(case, slice_, truth, _mask(p_HWN, truth.shape, threshold))


def _mask(p_HWN: np.ndarray, original: tuple[int, int], threshold: float) -> np.ndarray:
    """Choose each pixel's class at the original size: bool where there is one, else its index."""
    maps = [unfit(p_HW, original) for p_HW in np.moveaxis(p_HWN, -1, 0)]
    return maps[-1] >= threshold if len(maps) <= 2 else np.argmax(maps, axis=0).astype(np.uint8)


def saved(
    predictions: Iterable[Prediction], folder: Path, classes: Classes
) -> Iterator[Prediction]:
    """Write predictions/ID.png and overlays/ID.png under `folder`, passing each prediction on.

    A predicted mask is written as the truth is stored: with the values of the labels, else 0 and
    255.
    """
    values = np.array(classes.values, np.min_scalar_type(max(classes.values)))
    for prediction in predictions:
        name = f"{prediction.slice.id}.png"
        write_png(folder / "predictions" / name, values[prediction.mask_HW.astype(np.uint8)])
        image_HWC = read_image(prediction.slice.image, 3) / FULL_SCALE
        picture = overlay(image_HWC, prediction.truth_HW, prediction.mask_HW, classes.names)
        write_png(folder / "overlays" / name, picture)
        yield prediction
