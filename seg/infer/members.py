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
from seg.data.recipe import Recipe
from seg.infer.manual import Cleanup, Manual
from seg.infer.probabilities import Views, probabilities


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
        # What has learned from volumes takes pictures for slices that are prepared already.
        if not self.manual.prepare or (self.manual.of_volumes and not is_volume):
            for image_HWC in scan.image_SHWC:
                yield as_image(image_HWC, self.manual.channels)
            return
        recipe = _recipe(self.manual.prepare)
        (low, high), size = recipe.bounds(scan), recipe.size(scan)
        for image_HWC in scan.image_SHWC:
            yield as_image(recipe.image(image_HWC, low, high, size), self.manual.channels)

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
        SegError: they have learned other classes.
    """
    manuals = [member.manual for member in members]
    for manual in manuals:
        if manual.labels != manuals[0].labels:
            raise SegError(
                "model: all must have learned the same classes. Received: "
                f"{dict(manuals[0].labels) or 'one'} and {dict(manual.labels) or 'one'}"
            )
    wants = [member.manual.cleanup if is_volume else member.alone for member in members]
    return float(np.mean([manual.threshold for manual in manuals])), Cleanup(
        all(want.fill_holes for want in wants),
        min(want.min_size for want in wants),
        all(want.largest_component for want in wants),
    )


def _recipe(prepare: Mapping[str, Any]) -> Recipe:
    """Build the recipe of a manual, which is anyone's file, and may name no code but that here."""
    for target in re.findall(r'"_target_": "(.*?)"', json.dumps(prepare)):
        if not re.fullmatch(r"seg\.data\.(recipe|intensity)\.\w+", target):
            raise SegError(f"model: its images were prepared by {target}, which is no part of seg")
    return build("prepare", prepare)
