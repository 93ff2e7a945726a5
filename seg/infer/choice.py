"""How masks are made of probabilities, chosen on the validation patients and on no others.

Axes: S slices, H height, W width.
"""

from __future__ import annotations

import math
import zlib
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TypeVar

import numpy as np
import pandas as pd

from seg.contracts import Case, Prediction, Slice
from seg.infer.cases import Probable, chosen_class
from seg.infer.cleanup import cleaned
from seg.metrics.cases import Confusion, confusion, of_counts
from seg.metrics.paired import per_patient
from seg.models.manual import Cleanup

HALF = 0.5
THRESHOLDS = tuple(n / 20 for n in range(1, 20))
MIN_SIZES = (0.0, 10.0, 30.0, 100.0, 300.0, 1000.0)

T = TypeVar("T", bound=Hashable)
Packed = tuple[Slice, tuple[int, ...], bytes]
Masks = Sequence[np.ndarray]


@dataclass(frozen=True)
class Options:
    """From what is chosen; what is given has one option, and the first is taken where all are even.

    Attributes:
        thresholds: of the foreground's probability; of several classes none counts.
        fill_holes: see `Cleanup`.
        min_sizes: see `Cleanup`.
        largest_component: see `Cleanup`.
    """

    thresholds: tuple[float, ...] = tuple(sorted(THRESHOLDS, key=lambda t: abs(t - HALF)))
    fill_holes: tuple[bool, ...] = (False, True)
    min_sizes: tuple[float, ...] = MIN_SIZES
    largest_component: tuple[bool, ...] = (False, True)


@dataclass(frozen=True)
class Choice:
    """What was chosen, and what it is worth.

    Attributes:
        threshold: of the foreground's probability.
        cleanup: of the masks.
        value: mean over the validation patients of their Dice, which is 1 where neither is
            anything true nor predicted: each option is judged by all of them.
        plain: their Dice, where it is defined, with a threshold of 0.5 and without cleanup.
    """

    threshold: float
    cleanup: Cleanup
    value: float
    plain: float


def choose(kept: Kept, options: Options) -> Choice:
    """Choose what is worth most, see `Choice.value`.

    First the threshold; then whether holes are filled; then which components stay: to try all
    combinations would fit a handful of patients better than any other.
    """
    by_threshold = kept.by_threshold()
    threshold = _best(options.thresholds, by_threshold)
    holes = [Cleanup(fill_holes=fill, unit=kept.unit) for fill in options.fill_holes]
    filled = _best(holes, kept.by_cleanup(threshold, holes))
    parts = [
        replace(filled, min_size=size, largest_component=largest)
        for largest in options.largest_component
        for size in options.min_sizes
        if not (largest and size and len(options.min_sizes) > 1)
    ]
    by_parts = kept.by_cleanup(threshold, parts)
    cleanup = _best(parts, by_parts)
    named = cleanup if cleanup.min_size else replace(cleanup, unit="")
    return Choice(threshold, named, by_parts[cleanup], kept.plain())


def _best(options: Sequence[T], dice: Mapping[T, float]) -> T:
    """Return the first option with the highest value."""
    return max(options, key=dice.__getitem__)


class Kept:
    """Validation cases with what a model thinks of them, two bytes per pixel, compressed.

    Args:
        stream: case by case.
        thresholds: at which masks can be had, besides 0.5; of several classes none counts.
    """

    def __init__(self, stream: Iterable[Probable], thresholds: Iterable[float]) -> None:
        """Take all of the stream."""
        self.thresholds = sorted({*thresholds, HALF})
        self.cases = [
            (case, [self._packed(member) for member in members])
            for case, members in groupby(stream, key=lambda member: member.case)
        ]
        self.unit = "mm3" if all(case.spacing_mm for case, _ in self.cases) else "px"

    def _packed(self, member: Probable) -> Packed:
        """Keep of each pixel how many thresholds its probability reaches, or its class."""
        found_HW = chosen_class(member.p_HWN, HALF)
        self.several, self.n_classes = found_HW.dtype != bool, max(1, member.p_HWN.shape[-1] - 1)
        if not self.several:
            # As float32, which is what a probability is compared with.
            steps = np.array(self.thresholds, np.float32)
            found_HW = np.digitize(member.p_HWN[..., -1], steps)
        both_2HW = np.stack([member.truth_HW, found_HW]).astype(np.uint8)
        return member.slice, both_2HW.shape, zlib.compress(both_2HW.tobytes(), level=1)

    def predictions(self, threshold: float, cleanup: Cleanup) -> Iterator[Prediction]:
        """Return the masks of a threshold, cleaned."""
        for case, members in self.cases:
            truths, found = _unpacked(members)
            masks = cleaned(self._masks(found, threshold), cleanup, case.spacing_mm)
            for (slice_, *_), truth_HW, mask_HW in zip(members, truths, masks, strict=True):
                yield Prediction(case, slice_, truth_HW if self.several else truth_HW > 0, mask_HW)

    def plain(self) -> float:
        """Return the mean Dice where it is defined, by a threshold of 0.5 without cleanup."""
        return self._values(lambda _, found: [(HALF, self._masks(found, HALF))], math.nan)[HALF]

    def by_threshold(self) -> dict[float, float]:
        """Return the value of each threshold, without cleanup."""
        return self._values(lambda _, found: ((t, self._masks(found, t)) for t in self.thresholds))

    def by_cleanup(self, threshold: float, cleanups: Sequence[Cleanup]) -> dict[Cleanup, float]:
        """Return the value of each way to clean the masks of a threshold."""

        def options(case: Case, found: Masks) -> Iterator[tuple[Cleanup, Masks]]:
            masks = self._masks(found, threshold)
            yield from ((each, cleaned(masks, each, case.spacing_mm)) for each in cleanups)

        return self._values(options)

    def _values(
        self, options: Callable[[Case, Masks], Iterable[tuple[T, Masks]]], empty: float = 1.0
    ) -> dict[T, float]:
        """Return the mean over patients of their Dice by each option; `empty` is that of 0 / 0."""
        rows = defaultdict(list)
        for case, members in self.cases:
            truths, found = _unpacked(members)
            for option, masks in options(case, found):
                dices = self._dice(zip(truths, masks, strict=True), empty)
                rows[option] += [(case.patient, dice) for dice in dices]
        return {option: _mean(of_option) for option, of_option in rows.items()}

    def _masks(self, found: Masks, threshold: float) -> Masks:
        if self.several:
            return found
        return [found_HW > self.thresholds.index(threshold) for found_HW in found]

    def _dice(self, pairs: Iterable[tuple[np.ndarray, np.ndarray]], empty: float) -> list[float]:
        """Return the Dice of a case, of its truths and masks, for each class; `empty` of 0 / 0."""
        counts = [Confusion()] * self.n_classes
        for truth_HW, mask_HW in pairs:
            for i in range(self.n_classes):
                counts[i] += confusion(truth_HW == i + 1, mask_HW == i + 1)
        found = [of_counts(counted).dice for counted in counts]
        return [empty if math.isnan(dice) else dice for dice in found]


def _unpacked(members: Iterable[Packed]) -> tuple[Masks, Masks]:
    """Return the truths of slices, and their levels or classes."""
    pairs = [
        np.frombuffer(zlib.decompress(packed), np.uint8).reshape(shape)
        for _, shape, packed in members
    ]
    return [truth_HW for truth_HW, _ in pairs], [found_HW for _, found_HW in pairs]


def _mean(rows: Sequence[tuple[str, float]]) -> float:
    """Average over patients the mean of their defined values."""
    patients, values = zip(*rows, strict=True)
    table = pd.DataFrame({"dice": values}, index=pd.Index(patients, name="patient"))
    return float(per_patient(table)["dice"].mean())
