"""Facts about `seg.figures.sweep`: which job is drawn where, read back from the figures."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from seg.figures import sweep
from seg.figures.sweep import APART, BAR, BEST, GREY, NONE, SPREAD, bars, parallel

NAN = np.nan


def table(values, states=None, interval=0.05, **params):
    """Return the table of a sweep, jobs numbered from 0 in the order given, sorted as promised."""
    values = pd.Series(values, dtype=float)
    columns = {"state": states or "finished", **params, "val/dice": values}
    columns |= {"val/dice_ci_low": values - interval, "val/dice_ci_high": values + interval}
    rows = pd.DataFrame({"job": range(len(values)), **columns})
    return rows.sort_values("val/dice", ascending=False)


@pytest.fixture
def draw(monkeypatch, tmp_path):
    """Return a function that draws a table and returns the only axes of the figure it saved."""
    made = []

    class Kept(Figure):
        def __init__(self, **options):
            super().__init__(**options)
            made.append(self)

    monkeypatch.setattr(sweep, "Figure", Kept)

    def drawn(plot, rows):
        params = [c for c in rows if c not in ("job", "state") and "val/dice" not in c]
        plot(rows, params, "val/dice", tmp_path / "deep" / "a.png")
        assert (tmp_path / "deep" / "a.png").stat().st_size > 1000
        (axes,) = made[-1].axes
        return axes

    return drawn


def rows_of(axes):
    """Return by label of a row the bar's width and the words beside it."""
    widths = {round(bar.get_y() + bar.get_height() / 2): bar.get_width() for bar in axes.patches}
    words = {text.get_position()[1]: text.get_text().strip() for text in axes.texts}
    labels = [label.get_text() for label in axes.get_yticklabels()]
    return {label: (widths.get(i), words.get(i)) for i, label in enumerate(labels)}


def test_each_job_has_a_bar_from_zero_under_its_name_and_its_value_beside_it(draw):
    states = ["finished", "failed", "pruned", "finished"]
    rows = table([0.5, NAN, NAN, 0.6], states, model=["unet", "a$^b^$", "c", NAN], lr="1e-3")
    axes = draw(bars, rows)
    assert rows_of(axes) == {
        "job 3: -, 1e-3": (0.6, "0.6000  (0.550 to 0.650)"),
        "job 0: unet, 1e-3": (0.5, "0.5000  (0.450 to 0.550)"),
        "job 1: a$^b^$, 1e-3": (None, "failed"),
        "job 2: c, 1e-3": (None, "pruned"),
    }
    assert all(bar.get_x() == 0 for bar in axes.patches)
    assert axes.get_ylim()[0] > 3 > 0 > axes.get_ylim()[1]
    assert "2 finished, 1 failed, 1 pruned\nby model, lr" in axes.get_title()


def test_the_best_job_has_a_colour_of_its_own(draw):
    axes = draw(bars, table([0.5, 0.7, 0.6], lr=["1", "2", "3"]))
    assert [to_hex(bar.get_facecolor()) for bar in axes.patches] == [BEST, BAR, BAR]


def test_an_interval_is_drawn_where_it_is_known(draw):
    rows = table([0.5, 0.4], lr=["1", "2"])
    rows.iloc[1, rows.columns.get_indexer(["val/dice_ci_low", "val/dice_ci_high"])] = NAN
    axes = draw(bars, rows)
    ends = [line.get_xdata() for line in axes.lines if line.get_marker() == "|"]
    np.testing.assert_allclose(ends, [[0.45, 0.55], [NAN, NAN]])
    assert [words for _, words in rows_of(axes).values()] == ["0.5000  (0.450 to 0.550)", "0.4000"]


def test_of_too_many_jobs_the_first_are_drawn_and_the_title_says_so(draw, monkeypatch):
    monkeypatch.setattr(sweep, "MOST_JOBS", 3)
    axes = draw(bars, table([0.1, 0.2, 0.3, 0.4, NAN], seed=["5", "6", "7", "8", "9"]))
    assert list(rows_of(axes)) == ["job 3: 8", "job 2: 7", "job 1: 6"]
    assert "5 finished\nthe first 3 of them, by seed" in axes.get_title()


def test_long_names_and_numbers_are_cut_and_told_apart_at_both_ends(draw):
    words = {f"param{i}": "begins" + 40 * "x" + "ends" for i in range(9)}
    lr = "0.00012345678901"
    (label,) = rows_of(draw(bars, table([0.5], lr=lr, **words)))
    assert label.startswith("job 0: 0.0001235, begins")
    assert "ends, begins" in label
    assert label.endswith("...")
    assert label.count("\n") == 1


def lines_of(axes):
    return {line.get_label(): line for line in axes.lines if line.get_label().startswith("job")}


def heights(axes, job):
    """Return where a job's line crosses the axes, from 0 to 1."""
    x, y = lines_of(axes)[f"job {job}"].get_data()
    return [float(y[x == place].item()) for place in range(round(x[-1]) + 1)]


def ticks(axes, number):
    """Return the labels of an axis by where they are."""
    found = {}
    for text in axes.texts:
        x, y = text.get_position()
        if abs(x - number) < 0.2:
            found[text.get_text()] = y
    return found


def test_a_line_goes_through_the_values_of_its_job(draw):
    lr, words = ["1e-4", "1e-3", "1e-2"], ["[8,8]", "unet", "$^"]
    axes = draw(parallel, table([0.2, 0.6, 0.4], lr=lr, **{"a.b": words}, same="x"))
    assert [label.get_text() for label in axes.get_xticklabels()] == ["lr", "a.b", "val/dice"]
    assert ticks(axes, 0) == pytest.approx({"0.0001": 0, "0.001": 0.5, "0.01": 1})
    assert ticks(axes, 1) == {"[8,8]": 0, "$^": 0.5, "unet": 1}
    assert ticks(axes, 2) == pytest.approx({"0.2": 0, "0.4": 0.5, "0.6": 1})
    expected = {0: [0, 0, 0], 1: [0.5, 1, 1], 2: [1, 0.5, 0.5]}
    for job, places in expected.items():
        assert heights(axes, job) == pytest.approx(places)


@pytest.mark.parametrize(
    ("values", "places"),
    [
        (["1", "2", "5"], [0, 0.25, 1]),
        (["1", "10", "100"], [0, 0.5, 1]),
        (["0", "1e-4", "1"], [0, 0.5, 1]),  # too near to each other on a linear axis
        (["0", "50", "100"], [0, 0.5, 1]),
        (["-1", "0", "999"], [0, 0.5, 1]),
        (["1e-3", "0.001", "0.002"], [0, 0, 1]),
        (["2", "10", "a"], [1, 0.5, 0]),  # the best on top, since one is a word
    ],
)
def test_numbers_are_on_a_scale_that_fits_them(values, places, draw):
    axes = draw(parallel, table([0.9, 0.8, 0.7], x=values))
    assert [heights(axes, job)[0] for job in range(3)] == pytest.approx(places, abs=SPREAD / 2)


def test_of_many_values_labels_are_round_lie_apart_and_include_the_ends(draw):
    rng = np.random.default_rng(0)
    lr = [repr(float(v)) for v in (3.21e-5, 0.0432, *10 ** rng.uniform(-4, -2, 40))]
    words = [f"word{i}" for i in range(42)]
    axes = draw(parallel, table(rng.random(42), lr=lr, word=words))
    assert list(ticks(axes, 0)) == ["3.21e-5", "0.0001", "0.001", "0.01", "0.0432"]
    for number in range(3):
        places = list(ticks(axes, number).values())
        assert min(np.diff(places)) >= APART
        assert (places[0], places[-1]) == (0, 1)


def test_lines_through_one_place_lie_beside_each_other_the_best_on_top(draw):
    axes = draw(parallel, table([0.1, 0.2, 0.3, 0.4], model=["a", "a", "a", "b"]))
    places = [heights(axes, job)[0] for job in range(3)]
    assert 0 < places[1] - places[0] == pytest.approx(places[2] - places[1])
    assert np.mean(places) == pytest.approx(ticks(axes, 0)["a"])
    assert places[2] - places[0] <= SPREAD


def test_lines_show_which_job_is_best_or_without_value(draw):
    states = ["finished", "finished", "failed", "finished"]
    axes = draw(parallel, table([0.5, 0.4, NAN, 0.3], states, lr=["1", "2", "3", "4"]))
    best, second, failed, other = (lines_of(axes)[f"job {i}"] for i in range(4))
    assert [line.get_linestyle() for line in (best, second, failed, other)] == ["-", "-", ":", "-"]
    assert best.get_linewidth() > other.get_linewidth() > failed.get_linewidth()
    assert best.get_zorder() > other.get_zorder()
    assert failed.get_color() == GREY
    assert heights(axes, 2)[-1] == NONE == ticks(axes, 1)["none"]
    assert "none" not in ticks(axes, 0)
    assert axes.get_ylim()[0] < NONE
    # Darker is better, whether that is more or less.
    assert sum(best.get_color()) < sum(second.get_color()) < sum(other.get_color())
    axes = draw(parallel, table([0.5, 0.4, 0.3], lr=["1", "2", "3"])[::-1])
    assert sum(lines_of(axes)["job 2"].get_color()) < sum(lines_of(axes)["job 0"].get_color())


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "rows",
    [
        table([0.5], model="unet"),
        table([0.5], model=[NAN]),
        table([0.5, 0.5, 0.5], model=["a", "b", "c"], lr=["1", "2", NAN]),
        table([0.5, np.inf], lr=["1", "2"]),
        table([-3, 0], interval=NAN, lr=["1", "2"]),
    ],
    ids=["one job", "nothing set", "equal", "infinite", "no interval"],
)
@pytest.mark.parametrize("plot", [bars, parallel])
def test_sweeps_of_few_jobs_are_drawn(plot, rows, draw):
    assert min(draw(plot, rows).get_ylim()) < 0


@pytest.mark.parametrize("plot", [bars, parallel])
def test_without_any_objective_there_is_no_file(plot, tmp_path):
    plot(table([NAN, NAN], "failed", lr=["1", "2"]), ["lr"], "val/dice", tmp_path / "a.png")
    assert not any(tmp_path.iterdir())
