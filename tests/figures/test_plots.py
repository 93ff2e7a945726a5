"""Facts about `seg.figures.plots`: what a plot shows of its table."""

import cv2
import numpy as np
import pandas as pd
import pytest

from seg.figures.plots import MOST_NAMES, SIDE_COLOURS, case_scores, curves, statistics


def history(path, **changes):
    columns = {
        "epoch": [1, 2, 3],
        "epoch/s": [1.0, 1.0, 1.0],
        "lr": [0.1, 0.1, 0.1],
        "train/loss": [0.9, 0.5, 0.2],
        "val/loss": [0.8, 0.7, 0.75],
        "train/dice_coef": [0.1, 0.2, 0.3],
        "val/dice_coef": [0.1, 0.15, 0.2],
    }
    pd.DataFrame(columns | changes).to_csv(path, index=False)
    return path


def drawn(path):
    """Return the picture of a plot, which must not be blank."""
    picture = cv2.imread(str(path))
    assert picture.std() > 1
    return picture


def differ(one, other):
    return one.shape != other.shape or (one != other).any()


def test_each_curve_with_a_validation_has_a_plot(tmp_path):
    curves(history(tmp_path / "history.csv"), 2, tmp_path / "figures")
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == [
        "dice_coef.png",
        "loss.png",
    ]
    for path in (tmp_path / "figures").iterdir():
        drawn(path)


@pytest.mark.parametrize("column", ["train/loss", "val/loss"])
def test_a_plot_shows_training_and_validation(column, tmp_path):
    curves(history(tmp_path / "a.csv"), 2, tmp_path / "a")
    curves(history(tmp_path / "b.csv", **{column: [0.85, 0.3, 0.6]}), 2, tmp_path / "b")
    assert differ(drawn(tmp_path / "a" / "loss.png"), drawn(tmp_path / "b" / "loss.png"))


def test_a_plot_marks_the_best_epoch(tmp_path):
    for best in (1, 2):
        curves(history(tmp_path / "h.csv"), best, tmp_path / str(best))
    assert differ(drawn(tmp_path / "1" / "loss.png"), drawn(tmp_path / "2" / "loss.png"))


@pytest.mark.parametrize(
    "changes",
    [{"val/loss": [0.8, np.nan, 0.7]}, {"train/loss": [np.nan] * 3, "val/loss": [np.nan] * 3}],
)
def test_a_curve_with_gaps_is_still_drawn(changes, tmp_path):
    curves(history(tmp_path / "history.csv", **changes), 1, tmp_path)
    drawn(tmp_path / "loss.png")


def test_a_history_of_one_epoch_is_drawn(tmp_path):
    """The axes are those of both values, whichever side has which."""
    for train, val in ((0.9, 0.8), (0.8, 0.9)):
        path = history(tmp_path / "h.csv", **{"train/loss": [train] * 3, "val/loss": [val] * 3})
        pd.read_csv(path).head(1).to_csv(path, index=False)
        curves(path, 1, tmp_path / str(train))
    assert differ(drawn(tmp_path / "0.9" / "loss.png"), drawn(tmp_path / "0.8" / "loss.png"))


def rows(*values):
    return [{"case": f"p{i}", "dice": value} for i, value in enumerate(values)]


@pytest.mark.parametrize(
    ("values", "mean", "ends"),
    [
        ((0.2, 0.9, 0.5), 0.53, (0.2, 0.9)),
        ((0.2, np.nan, 0.5), 0.35, (0.2, 0.5)),
        ((0.7,), 0.7, (np.nan, np.nan)),
        ((np.nan, np.nan), np.nan, (np.nan, np.nan)),
    ],
)
def test_case_scores_are_drawn_also_where_some_or_all_are_undefined(values, mean, ends, tmp_path):
    case_scores(rows(*values), "dice", mean, ends, tmp_path / "figures" / "dice.png")
    drawn(tmp_path / "figures" / "dice.png")


def test_an_undefined_case_does_not_look_like_one_of_zero(tmp_path):
    for name, value in (("undefined", np.nan), ("zero", 0.0)):
        case_scores(rows(0.5, value), "dice", 0.5, (0.4, 0.6), tmp_path / f"{name}.png")
    assert differ(drawn(tmp_path / "undefined.png"), drawn(tmp_path / "zero.png"))


def test_the_order_of_the_cases_does_not_change_the_plot(tmp_path):
    given = rows(0.2, 0.9, 0.5)
    case_scores(given, "dice", 0.5, (0.4, 0.6), tmp_path / "a.png")
    case_scores(given[::-1], "dice", 0.5, (0.4, 0.6), tmp_path / "b.png")
    assert not differ(drawn(tmp_path / "a.png"), drawn(tmp_path / "b.png"))


def test_many_cases_make_the_plot_higher(tmp_path):
    for n in (3, 30):
        case_scores(rows(*np.linspace(0, 1, n)), "dice", 0.5, (0.4, 0.6), tmp_path / f"{n}.png")
    assert drawn(tmp_path / "30.png").shape[0] > 1.5 * drawn(tmp_path / "3.png").shape[0]


def test_a_row_for_each_class_is_drawn_by_case_and_class(tmp_path):
    per_case = rows(*np.linspace(0, 1, 8))
    per_class = [row | {"class": name} for row in per_case for name in ("liver", "tumour")]
    given = {"case": per_case, "one": per_class[::2], "both": per_class}
    for name, table in given.items():
        case_scores(table, "dice", 0.5, (0.4, 0.6), tmp_path / f"{name}.png")
    case, one, both = (drawn(tmp_path / f"{name}.png") for name in given)
    assert differ(case, one)
    assert both.shape[0] > one.shape[0] == case.shape[0]


def described(sides, patients=4, targets=(0, 100, 300)):
    """Return what `statistics` takes: for each patient of a side a slice with each target.

    The names would be an error if they were read as formulas.
    """
    rows = [
        {"split": side, "patient": f"{side} $^{i}^$", "target_px": target + (i if target else 0)}
        for side in sides
        for i in range(patients)
        for target in targets
    ]
    table = pd.DataFrame(rows).assign(height_px=32, width_px=32)
    table["target_share"] = table["target_px"] / 32**2
    return table, {side: np.bincount([0, 9, 9, 40000], minlength=65536) for side in sides}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("sides", "patients", "targets"),
    [
        (["test"], 1, (5,)),
        (["train"], 1, (0,)),
        (["train", "valid", "test"], 1, (0, 100, 300)),
        (["train", "valid", "test"], 100, (0, 100, 300)),
    ],
)
def test_statistics_are_drawn_of_few_and_many(sides, patients, targets, tmp_path):
    statistics(*described(sides, patients, targets), tmp_path / "deep" / "a.png")
    assert drawn(tmp_path / "deep" / "a.png").shape == (960, 1320, 3)


def quarters(picture):
    """Return the four panels of the statistics: slices, shares, intensities, patients."""
    return [part for half in np.vsplit(picture, 2) for part in np.hsplit(half, 2)]


def changed(one, other, tmp_path):
    """Draw both and tell which panels differ."""
    for name, facts in (("one", one), ("other", other)):
        statistics(*facts, tmp_path / f"{name}.png")
    pictures = [quarters(drawn(tmp_path / f"{name}.png")) for name in ("one", "other")]
    return [differ(*pair) for pair in zip(*pictures, strict=True)]


def test_a_shift_of_the_intensities_of_one_side_shows(tmp_path):
    table, pixels = described(["train", "test"])
    shifted = pixels | {"test": np.roll(pixels["test"], 5000)}
    assert changed((table, pixels), (table, shifted), tmp_path) == [False, False, True, False]


def test_larger_targets_of_one_side_show_per_slice_and_per_patient(tmp_path):
    table, pixels = described(["train", "test"])
    larger = table.copy()
    last = larger.index[-2]
    larger.loc[last, "target_px"] += 100
    larger.loc[last, "target_share"] = larger.loc[last, "target_px"] / 32**2
    assert changed((table, pixels), (larger, pixels), tmp_path) == [False, True, False, True]


def test_the_order_of_the_slices_does_not_show(tmp_path):
    table, pixels = described(["train"])
    reversed_rows = table[::-1].reset_index(drop=True)
    assert changed((table, pixels), (reversed_rows, pixels), tmp_path) == [False] * 4


def test_each_side_has_bars_of_its_own_paler_for_slices_without_target(tmp_path):
    """A third of the slices has no target; each side has three patients with the same target."""
    table, pixels = described(["train", "valid", "test"], 3)
    table["target_px"] = table["target_px"].clip(upper=100)
    statistics(table, pixels, tmp_path / "a.png")
    slices, _, _, patients = quarters(drawn(tmp_path / "a.png"))
    for colour in SIDE_COLOURS.values():
        bgr = np.array([int(colour[i : i + 2], 16) for i in (5, 3, 1)])
        pale = 255 - 0.3 * (255 - bgr)
        full, paler = ((abs(slices - c) < 2).all(axis=-1).sum() for c in (bgr, pale))
        assert full == pytest.approx(2 * paler, rel=0.05)
        bars = (abs(patients.astype(int) - bgr) < 2).all(axis=-1)
        assert bars.any(axis=0).sum() == pytest.approx(3 * 40, rel=0.1)


def test_patients_are_named_where_they_are_few(tmp_path):
    for n, shows in ((MOST_NAMES, True), (MOST_NAMES + 1, False)):
        table, pixels = described(["train"], n, targets=(100,))
        renamed = table.assign(patient=table["patient"].replace("train $^1^$", "other"))
        # Not only the fourth panel: long names take their room from the layout.
        assert any(changed((table, pixels), (renamed, pixels), tmp_path)) == shows
