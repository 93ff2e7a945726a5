"""Plots of a sweep: a bar per job, and a line per job through its parameters.

Both take the sweep's table, sorted best first: columns job (int), state, one per parameter (text as
typed; missing: not set), the objective (NaN: none), OBJECTIVE_ci_low and OBJECTIVE_ci_high (NaN:
unknown). Where no job has an objective, they write no file.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

BAR, BEST, INK, GREY = "#4c78a8", "#f58518", "#222222", "#888888"
MOST_JOBS, JOB_LETTERS, TITLE_LETTERS, WORD_LETTERS, NUMBER_LETTERS = 40, 56, 90, 22, 8
# Up to so many different numbers are all written at their axis.
FEW = 8
# Shares of an axis: the least distance of two labels; where jobs without a value cross it; and of
# lines through one place the distance of two, and at most that of the first and the last.
APART, NONE, STEP, SPREAD = 0.045, -0.12, 0.012, 0.06


def bars(table: pd.DataFrame, params: Sequence[str], objective: str, path: Path) -> None:
    """Plot a bar per job, the best on top, with its 95% interval; of many jobs the first.

    Jobs without objective have none and come last.
    """
    table = _sorted(table, objective)
    if table[objective].isna().all():
        return
    shown = table.head(MOST_JOBS)
    figure = Figure(figsize=(11, 1.6 + 0.32 * len(shown)))
    axes = figure.subplots()
    axes.axvline(0, color=INK, linewidth=0.8)
    names = []
    for place, row in shown.iterrows():
        _bar(axes, place, row, objective)
        name = f"job {row['job']}: {', '.join(map(_short, row[[*params]]))}"
        names.append(textwrap.fill(name, JOB_LETTERS, max_lines=2, placeholder="..."))
    axes.set_yticks(shown.index, names, fontsize=8, parse_math=False)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_xlabel(f"{objective}, with its 95% interval where known", parse_math=False)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    cut = f"the first {MOST_JOBS} of them, " if len(table) > MOST_JOBS else ""
    _save(figure, axes, _counts(table, objective), f"{cut}by {', '.join(params)}", path)


def parallel(table: pd.DataFrame, params: Sequence[str], objective: str, path: Path) -> None:
    """Plot a line per job, through an axis per parameter that varies (if none does, through all).

    The last axis is the objective's, which colours the lines. Words are spaced evenly, that of the
    best job on top; lines through one place lie beside each other, that of the best job on top.
    """
    table = _sorted(table, objective)
    if table[objective].isna().all():
        return
    names = [p for p in params if table[p].nunique(dropna=False) > 1] or [*params]
    scales = [_scale(table[name]) for name in names]
    places, ticks = zip(*scales, _measured(table[objective], log=False), strict=True)
    figure = Figure(figsize=(max(8, 2.3 * len(places)), 6))
    axes = figure.subplots()
    _lines(axes, table, [*map(_beside, places[:-1]), places[-1].fillna(NONE)])
    for number, found in enumerate(places):
        none = [(NONE, "none")] if found.isna().any() else []
        _axis(axes, number, ticks[number] + none, last=found is places[-1])
    heads = [textwrap.fill(n.replace(".", ". "), WORD_LETTERS) for n in (*names, objective)]
    heads = [head.replace(". ", ".") for head in heads]
    axes.set_xticks(range(len(heads)), heads, fontsize=10, parse_math=False)
    axes.tick_params(length=0, top=True, labeltop=True, labelbottom=False)
    low = min(0, *(found.fillna(NONE).min() for found in places))
    axes.set(xlim=(-0.05, len(names) + 0.06), ylim=(low - 0.05, 1.05), yticks=[])
    axes.spines[:].set_visible(False)
    _save(figure, axes, _counts(table, objective), "thick: the best; dotted: without a value", path)


def _sorted(table: pd.DataFrame, objective: str) -> pd.DataFrame:
    """Return it numbered from 0, jobs without objective last."""
    values = pd.to_numeric(table[objective], errors="coerce")
    table = table.assign(**{objective: values.where(np.isfinite(values))})
    return table.sort_values(objective, key=pd.isna, kind="stable", ignore_index=True)


def _counts(table: pd.DataFrame, objective: str) -> str:
    counts = [f"{n} {state}" for state, n in table["state"].value_counts().items()]
    return f"{objective} of a sweep's jobs: {', '.join(counts)}"


def _bar(axes: Axes, place: int, row: pd.Series, objective: str) -> None:
    """Draw a job's bar and interval, and write its value right of the axes."""
    value, low, high = (row[f"{objective}{end}"] for end in ("", "_ci_low", "_ci_high"))
    if np.isnan(value):
        axes.text(0, place, f" {row['state']}", fontsize=8, va="center", color=GREY)
        return
    axes.barh(place, value, color=BAR if place else BEST)
    axes.plot([low, high], [place] * 2, "|-", color=INK, linewidth=1.2)
    spread = "" if pd.isna([low, high]).any() else f"  ({low:.3f} to {high:.3f})"
    said = f"{value:.4f}{spread}"
    text = axes.text(1.01, place, said, va="center", transform=axes.get_yaxis_transform())
    text.set(fontsize=8, fontweight="normal" if place else "bold")


def _lines(axes: Axes, table: pd.DataFrame, places: list) -> None:
    """Draw the jobs' lines, given where each crosses each axis, and the colours beside the last."""
    last, values = len(places) - 1, places[-1][places[-1] != NONE]
    # From dark, for the best, to a yellow that still shows on white.
    colours = matplotlib.colormaps["viridis"](np.linspace(0, 0.92, 256))
    colours = colours[:: -1 if values.iloc[0] >= values.iloc[-1] else 1]
    x = np.linspace(0, last, 32 * last + 1)
    left = np.minimum(x.astype(int), last - 1)
    turned = (x - left) ** 2 * (3 - 2 * (x - left))
    for number, line in enumerate(np.transpose(places)):
        known = number in values
        look = {"linestyle": "-", "linewidth": 1.6 if number else 4}
        look |= {} if known else {"linestyle": ":", "linewidth": 1}
        look |= {"color": colours[round(255 * line[-1])] if known else GREY}
        look |= {"zorder": 2 if number else 3, "label": f"job {table['job'][number]}"}
        axes.plot(x, line[left] + turned * (line[left + 1] - line[left]), **look)
    extent = (last + 0.02, last + 0.05, 0, 1)
    axes.imshow(colours[:, None], extent=extent, origin="lower", aspect="auto")


def _axis(axes: Axes, number: int, ticks: list[tuple[float, str]], last: bool) -> None:
    """Draw an axis; its labels stand left of it, of the last one right of the colours."""
    axes.plot([number] * 2, [0, 1], color=INK, linewidth=1, zorder=4)
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 0.8}
    side, shift = ("left", 0.08) if last else ("right", -0.03)
    for place, label in ticks:
        axes.plot(number, place, "_", color=INK, markersize=9, zorder=4)
        text = axes.text(number + shift, place, label, ha=side, va="center", parse_math=False)
        text.set(fontsize=9, zorder=5, bbox=box)


def _scale(column: pd.Series) -> tuple[pd.Series, list[tuple[float, str]]]:
    """Return where each value of a parameter lies on its axis (NaN: missing), and the labels.

    Positive numbers over two orders of magnitude or more are on a logarithmic axis; a few numbers
    too near to each other for labels are spaced evenly.
    """
    words = column.map(str, na_action="ignore")
    numbers = pd.to_numeric(words, errors="coerce")
    values = words.dropna().unique()[::-1]
    if len(values) and np.isfinite(numbers[words.notna()]).all():
        log = numbers.min() > 0 and numbers.max() >= 100 * numbers.min()
        places, ticks = _measured(numbers, log)
        if len(ticks) == numbers.nunique() or numbers.nunique() > FEW:
            return places, ticks
        words, values = numbers, np.sort(numbers.dropna().unique())
    spaced = np.linspace(0, 1, len(values)) if len(values) > 1 else [0.5] * len(values)
    places = words.map(dict(zip(values, spaced, strict=True))).astype(float)
    return places, _apart(spaced, map(_short, values))


def _measured(numbers: pd.Series, log: bool) -> tuple[pd.Series, list[tuple[float, str]]]:
    """Return where numbers lie, and as labels themselves if few, else round ones and the ends."""
    low, high = numbers.min(), numbers.max()
    if numbers.nunique() <= FEW:
        marks = numbers.dropna()
    elif log:
        marks = 10.0 ** np.arange(np.ceil(np.log10(low)), np.log10(high))
    else:
        marks = MaxNLocator(6).tick_values(low, high)
    marks = np.unique([low, *marks[(marks > low) & (marks < high)], high])
    if low == high:
        return numbers * 0 + 0.5, [(0.5, _short(low))]
    start, end, found, heights = (np.log10(v) if log else v for v in (low, high, numbers, marks))
    ticks = _apart((heights - start) / (end - start), map(_short, marks))
    return (found - start) / (end - start), ticks


def _apart(heights: Iterable[float], labels: Iterable[str]) -> list[tuple[float, str]]:
    """Return the ticks that do not collide, the first and the last among them."""
    ticks = list(zip(heights, labels, strict=True))
    kept = ticks[:1]
    for tick in ticks[1:]:
        if tick is ticks[-1] or min(tick[0] - kept[-1][0], ticks[-1][0] - tick[0]) >= APART:
            kept.append(tick)
    return kept


def _beside(places: pd.Series) -> pd.Series:
    """Move lines that cross an axis at one place beside each other, the first on top."""
    places = places.fillna(NONE)
    room = min([SPREAD, *np.diff(np.unique(places)) / 2])
    peers = places.groupby(places)
    steps = (peers.transform("size") - 1) / 2 - peers.cumcount()
    return places + steps * np.minimum(STEP, room / peers.transform("size"))


def _short(value: object) -> str:
    """Write a parameter's value: a long number rounded, a long word without its middle."""
    text = "-" if pd.isna(value) else str(value)
    if isinstance(value, str) and len(text) <= NUMBER_LETTERS:
        return text
    try:
        number = float(text)
    except ValueError:
        half = WORD_LETTERS // 2 - 1
        return text if len(text) <= WORD_LETTERS else f"{text[:half]}..{text[-half:]}"
    return f"{number:.7g}" if number.is_integer() else f"{number:.4g}".replace("e-0", "e-")


def _save(figure: Figure, axes: Axes, title: str, more: str, path: Path) -> None:
    more = textwrap.fill(more, TITLE_LETTERS, max_lines=2, placeholder="...")
    axes.set_title(f"{title}\n{more}", fontsize=10, parse_math=False, pad=12)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
