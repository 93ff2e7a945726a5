"""Facts about `seg.figures.comparison`: what shows where, for few and many runs."""

import cv2
import numpy as np
import pandas as pd
import pytest

from seg.figures.comparison import GAP_PX, GREY, LEAST_PX, STRIP_PX, WIDEST_PX, scores, side_by_side

NAN = np.nan


def compared(values, p=0.5, ends=0.05):
    """Return what `scores` takes, of an array with a row per patient and a column per run.

    The names would be an error if they were read as formulas.
    """
    values = pd.DataFrame(values, columns=[f"run $^{i}^$" for i in range(np.shape(values)[1])])
    means = pd.DataFrame({"mean": values.mean().to_numpy()})
    moved = (means["mean"] - means["mean"][0])[1:]
    tables = [
        table.assign(ci_low=table.iloc[:, 0] - ends, ci_high=table.iloc[:, 0] + ends)
        for table in (means, pd.DataFrame({"mean_difference": moved}))
    ]
    return values, tables[0], tables[1].assign(p_holm=p, patients=len(values)), "dice"


def drawn(path):
    """Return the picture of a plot as RGB, which must not be blank."""
    picture = cv2.imread(str(path))[..., ::-1]
    assert picture.std() > 1
    return picture


def near(picture, colour):
    """Tell the pixels of a colour given as #rrggbb."""
    rgb = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return (abs(picture.astype(int) - rgb) < 3).all(axis=-1)


VALUES = np.array([[0.2, 0.4, 0.3], [0.7, 0.8, 0.6], [0.5, 0.9, 0.5]])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("patients", "runs", "ends", "p"),
    [(1, 2, NAN, NAN), (8, 2, 0.1, 0.04), (40, 5, 0.05, 1e-9), (300, 12, 0.01, 1)],
)
def test_few_and_many_runs_and_patients_are_drawn(patients, runs, ends, p, tmp_path):
    values = np.random.default_rng(0).random((patients, runs))
    scores(*compared(values, p, ends), tmp_path / "deep" / "a.png")
    height, width, _ = drawn(tmp_path / "deep" / "a.png").shape
    assert (height, width) == (pytest.approx(120 * (1.9 + 0.5 * runs), abs=1), 1440)


def test_the_order_of_the_patients_does_not_show_and_a_moved_one_does(tmp_path):
    moved = VALUES.copy()
    moved[[0, 1], 1] = 0.5, 0.7  # another pairing, the same means
    for name, values in (("one", VALUES), ("reversed", VALUES[::-1]), ("moved", moved)):
        scores(*compared(values), tmp_path / f"{name}.png")
    one, other, moved = (drawn(tmp_path / f"{n}.png") for n in ("one", "reversed", "moved"))
    # Lines that are half transparent are blended in another order.
    assert abs(one.astype(int) - other).max() < 40
    assert abs(one.astype(int) - moved).max() > 60


def test_only_a_sure_difference_is_red_and_on_the_right(tmp_path):
    for p in (0.049, 0.05, NAN):
        scores(*compared(VALUES, p), tmp_path / f"{p}.png")
    red = near(drawn(tmp_path / "0.049.png"), "#d1495b")
    assert red[:, 720:].sum() > 100
    assert not red[:, :720].any()
    for p in (0.05, NAN):
        assert not near(drawn(tmp_path / f"{p}.png"), "#d1495b").any()


def test_a_run_without_interval_shows_its_mean_alone(tmp_path):
    for ends in (0.05, NAN):
        scores(*compared(VALUES, ends=ends), tmp_path / f"{ends}.png")
    counts = [near(drawn(tmp_path / f"{e}.png"), "#222222").sum() for e in (0.05, NAN)]
    assert counts[0] > 2 * counts[1] > 0


def test_a_name_of_sixty_letters_takes_two_lines_and_leaves_room_for_the_plot(tmp_path):
    values, *rest = compared(VALUES)
    long = values.set_axis([f"attention bce_dice {'x' * 33} abc{i:03}" for i in range(3)], axis=1)
    scores(values, *rest, tmp_path / "short.png")
    scores(long, *rest, tmp_path / "long.png")
    starts = [near(drawn(tmp_path / f"{n}.png"), "#000000")[-120:-60] for n in ("short", "long")]
    lengths = [rows.sum(axis=1).max() for rows in starts]
    assert lengths[1] > 0.6 * lengths[0]


# Pictures


def tile(colour, height=300, width=400):
    return np.full((height, width, 3), colour, np.uint8)


def cell(picture, row, column, height, width):
    """Cut a tile out of the grid."""
    top = GAP_PX + STRIP_PX + row * (height + 2 * STRIP_PX) + STRIP_PX
    left = GAP_PX + column * (width + GAP_PX)
    return picture[top : top + height, left : left + width]


def test_runs_are_columns_and_slices_rows():
    colours = [[(250, 0, 0), (0, 250, 0), (0, 0, 250)], [(9, 9, 9), (99, 9, 9), (9, 9, 99)]]
    rows = [("title", [tile(c) for c in row], ["said"] * 3) for row in colours]
    picture = side_by_side(["a", "b", "c"], rows)
    assert picture.dtype == np.uint8
    for i, row in enumerate(colours):
        for j, colour in enumerate(row):
            assert (cell(picture, i, j, 300, 400) == colour).all()
    height = 2 * GAP_PX + STRIP_PX + 2 * (300 + 2 * STRIP_PX)
    assert picture.shape == (height, 3 * 400 + 4 * GAP_PX, 3)


def test_names_titles_and_captions_are_written_where_they_belong():
    """A name, two titles and four captions: each changes its own strip only."""
    plain = [("", [tile(7), tile(7)], ["", ""]) for _ in range(2)]
    empty = side_by_side(["", ""], plain)
    top = GAP_PX + STRIP_PX
    row = 300 + 2 * STRIP_PX
    for names, rows, place, left in (
        (["", "name"], plain, GAP_PX, 400),
        (["", ""], [plain[0], ("title", *plain[1][1:])], top + row, 0),
        (["", ""], [plain[0], (*plain[1][:2], ["", "said"])], top + row + STRIP_PX + 300, 400),
    ):
        where = np.argwhere((side_by_side(names, rows) != empty).any(axis=-1))
        assert place <= where[:, 0].min() <= where[:, 0].max() < place + STRIP_PX
        assert left <= where[:, 1].min()
    assert (empty[top : top + STRIP_PX, GAP_PX:-GAP_PX] == GREY).all()


def test_a_smaller_picture_is_padded_with_white_below_and_on_the_right():
    rows = [("", [tile(0, 40, 50), tile(0, 60, 90)], ["", ""])]
    small = cell(side_by_side(["a", "b"], rows), 0, 0, 60, 90)
    assert (small[:40, :50] == 0).all()
    assert (small[40:] == 255).all()
    assert (small[:, 50:] == 255).all()


@pytest.mark.parametrize("n", [1, 2, 5, 12, 20])
def test_of_many_runs_the_pictures_are_shrunk_but_not_below_the_least(n):
    rows = [("title", [tile(5, 1000, 1000)] * n, ["said"] * n)]
    picture = side_by_side(["a run"] * n, rows)
    side = min(1000, max(LEAST_PX, WIDEST_PX // n))
    assert picture.shape[1] == n * (side + GAP_PX) + GAP_PX
    assert (cell(picture, 0, n - 1, side, side) == 5).all()


def test_a_long_name_loses_its_middle_and_keeps_its_end():
    """The names differ in the last letter, or in one that is cut out."""
    rows = [("", [tile(5)] * 2, ["", ""])]

    def strip(name):
        return side_by_side([name, ""], rows)[: GAP_PX + STRIP_PX]

    name = "attention bce_dice_" + "x" * 34 + " abc123"
    for other, shows in ((name[:-1] + "4", True), (name[:40] + "y" + name[41:], False)):
        assert (strip(name) != strip(other)).any() == shows
