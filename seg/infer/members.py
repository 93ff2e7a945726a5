"""Models that predict together: each prepares an image as it has learned to, the mean is taken.

Axes: S slices, H height, W width, C channels, N classes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import cv2
import keras
import numpy as np

from seg.build import build
from seg.contracts import Scan, SegError
from seg.data.images import as_image
from seg.data.intensity import Percentiles
from seg.data.recipe import Recipe
from seg.infer.probabilities import Views, probabilities
from seg.models.manual import Cleanup, Manual


@dataclass(frozen=True)
class Member:
    """A model and how it is used.

    Attributes:
        model: float images BHWC over 0..1 to logits BHWN.
        manual: of it, with what the config says put in.
        views: what of an image it is shown.
        alone: cleanup of a picture that is no slice of a stack.
    """

    model: keras.Model
    manual: Manual
    views: Views
    alone: Cleanup

    def images(self, scan: Scan, is_volume: bool) -> Iterator[np.ndarray]:
        """Yield the slices of a scan, prepared, as `seg.data.images.read_image` returns them.

        Raises:
            SegError: the scan has no contrast, or the preparation is no part of this package.
        """
        manual = self.manual
        # What has learned from volumes takes pictures for slices that are prepared already.
        if not manual.prepare or (manual.of_volumes and not is_volume):
            for image_HWC in scan.image_SHWC:
                yield as_image(image_HWC, manual.channels)
            return
        recipe = _recipe(manual.prepare)
        if not is_volume:
            if manual.stacked and isinstance(recipe.intensity, Percentiles):
                raise SegError(
                    "its intensities would be scaled between its own percentiles, and the model "
                    "has learned from slices scaled between those of all slices of a case"
                )
            scan = Scan(as_image(scan.image_SHWC[0], manual.raw["channels"])[None], None)
        (low, high), size = recipe.bounds(scan), recipe.size(scan)
        for image_HWC in scan.image_SHWC:
            yield as_image(recipe.image(image_HWC, low, high, size), manual.channels)

    def probabilities(self, scans: Sequence[tuple[Scan, bool]]) -> Iterator[np.ndarray]:
        """Yield the probabilities HWN of each slice of some scans, at its own size.

        N is 1, the foreground's, or the number of several classes and the background, which is
        first.
        """
        images = (
            (image_HWC, scan.image_SHWC.shape[1:3])
            for scan, is_volume in scans
            for image_HWC in self.images(scan, is_volume)
        )
        while batch := list(islice(images, self.views.batch_size)):
            prepared = [image_HWC for image_HWC, _ in batch]
            found = probabilities(self.model.predict_on_batch, prepared, self.views)
            for p_HWN, (_, size) in zip(found, batch, strict=True):
                p_HWN = p_HWN if p_HWN.shape[-1] > 2 else p_HWN[..., -1:]
                if p_HWN.shape[:2] != size:
                    p_HWN = cv2.resize(p_HWN, size[::-1], interpolation=cv2.INTER_LINEAR)
                yield p_HWN.reshape(*size, -1)


def together(members: Sequence[Member], scans: Sequence[tuple[Scan, bool]]) -> Iterator[np.ndarray]:
    """Yield for each slice the mean of what the members' `probabilities` say."""
    for found in zip(*(member.probabilities(scans) for member in members), strict=True):
        yield np.mean(found, axis=0)


def agreed(members: Sequence[Member], is_volume: bool = True) -> tuple[float, Cleanup]:
    """Return the mean of the members' thresholds, and the cleanup that all of them want.

    Raises:
        SegError: they have learned other classes, look at a volume in other planes, or have
            chosen a smallest size in other units.
    """
    manuals = [member.manual for member in members]
    wants = [member.manual.cleanup if is_volume else member.alone for member in members]
    planes = [
        (manual.raw["plane"], manual.raw["time_point"]) if manual.of_volumes else "pictures"
        for manual in manuals
    ]
    for what, each in (
        ("have learned the same classes", [dict(manual.labels) or "one" for manual in manuals]),
        ("have learned from the same plane of volumes, or from pictures", planes),
        ("have infer.min_size in one unit", [want.unit for want in wants if want.min_size]),
    ):
        if any(value != each[0] for value in each):
            raise SegError(f"model: all must {what}. Received: {', '.join(map(str, each))}")
    return float(np.mean([manual.threshold for manual in manuals])), Cleanup(
        all(want.fill_holes for want in wants),
        min(want.min_size for want in wants),
        all(want.largest_component for want in wants),
        wants[0].unit,
    )


def _recipe(prepare: Mapping[str, Any]) -> Recipe:
    """Build the recipe of a manual, which is anyone's file, and may name no code but that here."""
    for target in re.findall(r'"_target_": "(.*?)"', json.dumps(prepare)):
        if not re.fullmatch(r"seg\.data\.(recipe|intensity)\.\w+", target):
            raise SegError(f"model: its images were prepared by {target}, which is no part of seg")
    return build("prepare", prepare)
