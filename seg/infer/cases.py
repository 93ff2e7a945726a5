"""Masks of whole cases at the images' original size.

Axes: S slices, H height, W width, N classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import keras
import numpy as np

from seg.contracts import Case, Classes, Prediction, Slice
from seg.data.images import FULL_SCALE, read_image, read_mask
from seg.figures.pictures import Style, overlay, write_png
from seg.infer.cleanup import cleaned
from seg.infer.probabilities import Views, probabilities
from seg.models.manual import Cleanup


@dataclass(frozen=True)
class Probable:
    """A slice with what a model thinks of it.

    Attributes:
        case: that it belongs to.
        slice: where image and truth lie.
        truth_HW: bool, or index of each pixel's class.
        p_HWN: see `seg.infer.probabilities.probabilities`.
    """

    case: Case
    slice: Slice
    truth_HW: np.ndarray
    p_HWN: np.ndarray


def probable(
    model: keras.Model, cases: Sequence[Case], classes: Classes, views: Views
) -> Iterator[Probable]:
    """Show a model slice by slice, in order, holding one batch in memory.

    Args:
        model: float images BHWC over 0..1 to logits, on one device: BHW1 of the foreground, or
            BHWN of the classes, the background first.
        cases: with truth.
        classes: of the truth, as in training.
        views: what the model is shown.
    """
    channels = model.input_shape[-1]
    members = [(case, slice_) for case in cases for slice_ in case.slices]
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(members), views.batch_size):
            batch = members[start : start + views.batch_size]
            truths = pool.map(lambda m: read_mask(m[1].mask, classes), batch)
            images = list(pool.map(lambda m: read_image(m[1].image, channels), batch))
            found = probabilities(model.predict_on_batch, images, views)
            for member, truth_HW, p_HWN in zip(batch, truths, found, strict=True):
                yield Probable(*member, truth_HW, p_HWN)


def masked(stream: Iterable[Probable], threshold: float, cleanup: Cleanup) -> Iterator[Prediction]:
    """Make masks of probabilities, in their order, holding one case in memory.

    Args:
        stream: case by case.
        threshold: see `chosen_class`.
        cleanup: of each case, see `seg.infer.cleanup.cleaned`.
    """
    for case, members in groupby(stream, key=lambda member: member.case):
        kept = [(m.slice, m.truth_HW, chosen_class(m.p_HWN, threshold)) for m in members]
        masks = cleaned([mask_HW for *_, mask_HW in kept], cleanup, case.spacing_mm)
        for (slice_, truth_HW, _), mask_HW in zip(kept, masks, strict=True):
            yield Prediction(case, slice_, truth_HW, mask_HW)


def chosen_class(p_HWN: np.ndarray, threshold: float) -> np.ndarray:
    """Return bool, True from the threshold on; of more than two classes the most probable's index.

    Args:
        p_HWN: see `seg.infer.probabilities.probabilities`.
        threshold: of the foreground's probability, 0..1.
    """
    if p_HWN.shape[-1] <= 2:
        return p_HWN[..., -1] >= threshold
    return np.argmax(p_HWN, axis=-1).astype(np.uint8)


def saved(
    predictions: Iterable[Prediction],
    folder: Path,
    classes: Classes,
    style: Style = Style(),  # noqa: B008
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
        picture = overlay(image_HWC, prediction.truth_HW, prediction.mask_HW, classes.names, style)
        write_png(folder / "overlays" / name, picture)
        yield prediction
