"""Masks of whole cases at the images' original size, and pictures of them.

Axes: B batch, H height, W width, C channels, N classes.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import numpy as np
from scipy.special import expit, softmax

from seg.contracts import Case, Classes, Prediction, Slice
from seg.data.images import FULL_SCALE, fit_image, read_image, read_mask, unfit
from seg.figures.confusion import Panel, confusion_sheet, outcomes
from seg.figures.pictures import overlay, write_png

Chosen = tuple[str, str, float]


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


class Hardest:
    """The slice of each case with the most wrong pixels, kept while predictions stream by.

    Of several the one with the largest target, and so of a case without any; then the first.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], tuple[tuple[int, int], Slice, bytes]] = {}

    def watch(self, predictions: Iterable[Prediction]) -> Iterator[Prediction]:
        """Pass each prediction on, keeping the outcomes of one slice of each case, compressed.

        Where thousands of photographs are each a case, a byte per pixel would be gigabytes.
        """
        for prediction in predictions:
            truth_HW, mask_HW = prediction.truth_HW, prediction.mask_HW
            case = prediction.case.name, prediction.case.patient
            hardness = np.count_nonzero(truth_HW != mask_HW), np.count_nonzero(truth_HW)
            if case not in self._kept or hardness > self._kept[case][0]:
                packed = zlib.compress(outcomes(truth_HW, mask_HW), level=1)
                self._kept[case] = hardness, prediction.slice, packed
            yield prediction

    def draw(self, groups: Mapping[str, Sequence[Chosen]], path: Path, classes: Classes) -> None:
        """Write a PNG of the slices of cases chosen by `seg.evaluate.extremes`; of none, nothing.

        Args:
            groups: of cases that have been watched, by title.
            path: of the file, whose folder is made.
            classes: of the predictions.
        """
        if groups:
            panels = {title: map(self._panel, cases) for title, cases in groups.items()}
            write_png(path, confusion_sheet(panels, several=len(classes.names) > 1))

    def _panel(self, chosen: Chosen) -> Panel:
        case, patient, dice = chosen
        _, slice_, packed = self._kept[case, patient]
        image_HWC = read_image(slice_.image, 3) / FULL_SCALE
        outcome_HW = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(image_HWC.shape[:2])
        return image_HWC, outcome_HW, case, slice_.id, dice
