"""The slices that say most about a case, kept while predictions stream by.

Axes: H height, W width, C channels.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from seg.contracts import Classes, Prediction, Slice
from seg.data.images import FULL_SCALE, read_image
from seg.figures.contact import Example, contact_sheet
from seg.figures.pictures import Style, write_png

Chosen = tuple[str, str, float]


class Hardest:
    """The slice of each case with the most wrong pixels, kept while predictions stream by.

    Of several the one with the largest target, and so of a case without any; then the first.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[str, str], tuple[tuple[int, int], Slice, bytes]] = {}

    def watch(self, predictions: Iterable[Prediction]) -> Iterator[Prediction]:
        """Pass each prediction on, keeping the masks of one slice of each case, compressed.

        Where thousands of photographs are each a case, a byte per pixel would be gigabytes.
        """
        for prediction in predictions:
            truth_HW, mask_HW = prediction.truth_HW, prediction.mask_HW
            case = prediction.case.name, prediction.case.patient
            hardness = np.count_nonzero(truth_HW != mask_HW), np.count_nonzero(truth_HW)
            if case not in self._kept or hardness > self._kept[case][0]:
                both_2HW = np.stack([truth_HW, mask_HW]).astype(np.uint8)
                packed = zlib.compress(both_2HW, level=1)
                self._kept[case] = hardness, prediction.slice, packed
            yield prediction

    def draw(
        self,
        groups: Mapping[str, Sequence[Chosen]],
        path: Path,
        classes: Classes,
        style: Style = Style(),  # noqa: B008
    ) -> None:
        """Write a PNG of the slices of cases chosen by `seg.evaluate.examples`; of none, nothing.

        Args:
            groups: of cases that have been watched, by title.
            path: of the file, whose folder is made.
            classes: of the predictions.
            style: of the masks.
        """
        if groups:
            examples = {title: map(self._example, cases) for title, cases in groups.items()}
            write_png(path, contact_sheet(examples, classes.names, style))

    def _example(self, chosen: Chosen) -> Example:
        case, patient, dice = chosen
        _, slice_, packed = self._kept[case, patient]
        image_HWC = read_image(slice_.image, 3) / FULL_SCALE
        flat = np.frombuffer(zlib.decompress(packed), np.uint8)
        truth_HW, mask_HW = flat.reshape(2, *image_HWC.shape[:2])
        return Example(case, slice_.id, dice, image_HWC, truth_HW, mask_HW)
