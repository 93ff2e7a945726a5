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
from seg.figures.confusion import Panel, confusion_sheet, outcomes
from seg.figures.pictures import write_png

Chosen = tuple[str, str, float]


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
