"""Facts about `seg.infer.settings`: what is given wins, "auto" is chosen or kept."""

from dataclasses import replace

import pytest

from seg.config import Infer, Tile
from seg.contracts import SegError
from seg.infer.choice import Options
from seg.infer.settings import flipping, options, told, views
from seg.models.manual import Cleanup, Manual

AUTO = Infer("auto", "auto", "auto", "auto", "auto", Tile.auto, 0.5)
CHOSEN = Manual(
    (32, 32),
    1,
    {},
    (64, 64),
    stacked=True,
    flips=("horizontal", "vertical"),
    threshold=0.3,
    cleanup=Cleanup(True, 30.0, False, "mm3"),
    flipped=True,
)


def test_auto_keeps_what_was_chosen():
    assert told(CHOSEN, AUTO) == CHOSEN


@pytest.mark.parametrize(
    ("given", "changed"),
    [
        ({"threshold": 0}, {"threshold": 0}),
        ({"fill_holes": False}, {"cleanup": Cleanup(False, 30.0, False, "mm3")}),
        ({"min_size": 0}, {"cleanup": Cleanup(True, 0, False)}),
        ({"largest_component": True}, {"cleanup": Cleanup(True, 30.0, True, "mm3")}),
        ({"tta": False}, {"flipped": False}),
    ],
)
def test_what_is_given_takes_its_place_and_no_other(given, changed):
    assert told(CHOSEN, replace(AUTO, **given)) == replace(CHOSEN, **changed)


def test_all_is_chosen_where_nothing_is_given():
    assert options(AUTO, CHOSEN) == Options()
    assert flipping(AUTO, CHOSEN) == (False, True)


def test_of_what_is_given_nothing_is_chosen():
    given = Infer(0.4, True, 0, False, False, Tile.never, 0.5)
    assert options(given, CHOSEN) == Options((0.4,), (True,), (0,), (False,))
    assert flipping(given, CHOSEN) == (False,)


def test_several_classes_have_no_threshold_to_choose():
    assert options(AUTO, replace(CHOSEN, labels={"a": 1, "b": 2})).thresholds == (0.5,)
    assert options(AUTO, replace(CHOSEN, labels={"a": 1})) == Options()


def test_a_model_that_has_seen_no_flip_is_shown_none():
    bare = replace(CHOSEN, flips=(), flipped=False)
    assert flipping(AUTO, bare) == (False,)
    with pytest.raises(SegError, match="infer.tta=true"):
        flipping(replace(AUTO, tta=True), bare)


def test_views_are_windows_and_flips_where_these_are_wanted():
    shown = views(CHOSEN, AUTO, 4)
    assert (shown.size, shown.seen, shown.flips) == ((32, 32), (64, 64), ("horizontal", "vertical"))
    assert (shown.overlap, shown.batch_size) == (0.5, 4)
    plain = views(replace(CHOSEN, flipped=False), replace(AUTO, tile=Tile.never), 4)
    assert (plain.seen, plain.flips) == (None, ())
