"""What the config's `infer` says, and where it is "auto" the validation patients or the manual."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import keras

from seg.config import Infer
from seg.contracts import Case, Classes, Prediction, SegError
from seg.infer.cases import probable
from seg.infer.choice import HALF, MIN_SIZES, Choice, Kept, Options, choose
from seg.infer.probabilities import Views
from seg.models.manual import Manual

AUTO = "auto"


def settled(
    model: keras.Model,
    cases: Sequence[Case],
    classes: Classes,
    manual: Manual,
    infer: Infer,
    batch_size: int,
) -> tuple[Manual, Choice, Iterator[Prediction]]:
    """Choose on validation cases how masks are made.

    Args:
        model: trained.
        cases: of the validation side, at least one.
        classes: of their masks.
        manual: of the model, in which nothing is chosen yet.
        infer: what is chosen, and what is given.
        batch_size: views shown at once.

    Returns:
        The manual with what was chosen, what that is worth, and the masks of the cases made so.
    """
    found: list[tuple[bool, Kept, Choice]] = []
    for flipped in flipping(infer, manual):
        shown = views(replace(manual, flipped=flipped), infer, batch_size)
        chosen_from = options(infer, manual)
        kept = Kept(probable(model, cases, classes, shown), chosen_from.thresholds)
        found.append((flipped, kept, choose(kept, chosen_from)))
    flipped, kept, choice = max(found, key=lambda each: each[2].value)
    masks = kept.predictions(choice.threshold, choice.cleanup)
    changed = {"threshold": choice.threshold, "cleanup": choice.cleanup, "flipped": flipped}
    return replace(manual, **changed), choice, masks


def options(infer: Infer, manual: Manual) -> Options:
    """Return from what is chosen on validation; what is given has one option."""
    every = Options()
    return Options(
        thresholds=(HALF,) if len(manual.labels) > 1 else _given(infer.threshold, every.thresholds),
        fill_holes=_given(infer.fill_holes, every.fill_holes),
        min_sizes=_given(infer.min_size, MIN_SIZES),
        largest_component=_given(infer.largest_component, every.largest_component),
    )


def flipping(infer: Infer, manual: Manual) -> tuple[bool, ...]:
    """Return whether to take the mean over flips, or both where that is to be chosen.

    Raises:
        SegError: it is wanted of a model that has never seen a flip.
    """
    if infer.tta is True and not manual.flips:
        raise SegError(
            "infer.tta=true: the model was trained without flips, and what is flipped would be "
            "strange to it; take infer.tta=auto"
        )
    return _given(infer.tta, (False, True) if manual.flips else (False,))


def told(manual: Manual, infer: Infer) -> Manual:
    """Return the manual with what is not "auto" put in its place."""
    given = {key: value for key, value in vars(infer).items() if value != AUTO}
    cleanup = {key: given[key] for key in ("fill_holes", "largest_component") if key in given}
    if "min_size" in given:
        cleanup |= {"min_size": given["min_size"], "unit": ""}
    flipped = manual.flipped if infer.tta == AUTO else flipping(infer, manual)[0]
    threshold = manual.threshold if infer.threshold == AUTO else infer.threshold
    cleaned = replace(manual.cleanup, **cleanup)
    return replace(manual, threshold=threshold, cleanup=cleaned, flipped=flipped)


def views(manual: Manual, infer: Infer, batch_size: int) -> Views:
    """Return what of an image the model is shown."""
    return Views(
        manual.size,
        manual.seen if infer.tile.name == AUTO else None,
        infer.overlap,
        manual.flips if manual.flipped else (),
        batch_size,
    )


def _given(value: object, every: tuple) -> tuple:
    return every if value == AUTO else (value,)
