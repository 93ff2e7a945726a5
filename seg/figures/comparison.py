"""Pictures of several runs beside each other: of their scores, and of their predictions."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from seg.figures.panels import GAP_PX

INK, PATIENT, SURE = "#222222", "#4c78a8", "#d1495b"
LINE_LETTERS, LINES = 34, 2
# How far above its row of patients a mean is drawn, in rows.
ABOVE = 0.2
# All runs together are shrunk to the first, but none to less than the second.
WIDEST_PX, LEAST_PX = 4096, 320
STRIP_PX, LETTER_PX, TAIL_LETTERS = 22, 9, 8
WHITE, GREY = 255, 224


def scores(
    values: pd.DataFrame, means: pd.DataFrame, differences: pd.DataFrame, score: str, path: Path
) -> None:
    """Plot a run per row: its patients and their mean, and its difference to the first run.

    Args:
        values: of the score, a row per patient, a column per run; two runs at least.
        means: a row per run in that order, with mean, ci_low and ci_high (NaN: no interval).
        differences: a row per run but the first, with mean_difference, ci_low, ci_high, p_holm and
            patients.
        score: its name.
        path: of the PNG file.
    """
    n = len(values.columns)
    figure = Figure(figsize=(12, 1.9 + 0.5 * n))
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=[3, 2])
    _patients(left, values)
    for place, row in enumerate(means.itertuples()):
        _interval(left, place - ABOVE, row.mean, (row.ci_low, row.ci_high), INK)
    left.set_yticks(range(n), [_wrapped(name) for name in values], parse_math=False, fontsize=9)
    left.set(
        ylim=(n - 0.5, -0.5 - ABOVE),
        xlabel=score,
        title=f"{score} per patient (n {len(values)}), and the mean with its 95% interval",
    )
    right.axvline(0, color="grey", linewidth=1, linestyle="--")
    _words(right, 0, "the first run")
    for place, row in enumerate(differences.itertuples(), start=1):
        colour = SURE if row.p_holm < 0.05 else INK
        _interval(right, place, row.mean_difference, (row.ci_low, row.ci_high), colour)
        _words(right, place, f"{row.mean_difference:+.3f}\n{_p(row.p_holm)}, n {row.patients}")
    right.set(xlabel=f"{score} minus that of the first run", title="paired differences")
    figure.supxlabel(
        "n: patients. p: Wilcoxon's signed-rank test, corrected by Holm for all pairs of these "
        "runs; red below 0.05",
        fontsize=9,
    )
    for axes in (left, right):
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.grid(axis="x", color="#e6e6e6")
        axes.set_axisbelow(True)
        axes.tick_params(axis="y", length=0)
        axes.title.set_fontsize(11)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def side_by_side(
    names: Sequence[str], rows: Iterable[tuple[str, Sequence[np.ndarray], Sequence[str]]]
) -> np.ndarray:
    """Set pictures in a grid: a column per run under its name, a row per slice under its title.

    Those smaller than the largest are padded; where all are too wide together, each is shrunk.

    Args:
        names: of the runs, in ASCII; too long ones lose letters of their middle.
        rows: of each slice its title, and for each run a picture (uint8 RGB HWC) and a caption.

    Returns:
        uint8 RGB HWC.
    """
    most_px = max(LEAST_PX, WIDEST_PX // len(names))
    rows = [(title, [_shrunk(p, most_px) for p in tiles], said) for title, tiles, said in rows]
    sizes = [tile.shape for _, tiles, _ in rows for tile in tiles]
    height, width = max(size[0] for size in sizes), max(size[1] for size in sizes)
    grid = [_beside([_strip(name, width) for name in names])]
    for title, tiles, captions in rows:
        grid.append(_strip(title, len(names) * (width + GAP_PX) - GAP_PX, GREY))
        grid.append(_beside([_padded(tile, height, width) for tile in tiles]))
        grid.append(_beside([_strip(caption, width) for caption in captions]))
    return np.pad(np.vstack(grid), [(GAP_PX,) * 2, (GAP_PX,) * 2, (0, 0)], constant_values=WHITE)


def _patients(axes: Axes, values: pd.DataFrame) -> None:
    """Draw a point for each patient and run, joined from run to run; paler where they are many."""
    alpha = float(np.clip(12 / len(values), 0.08, 0.5))
    places = range(len(values.columns))
    axes.plot(values.T.to_numpy(), places, color=PATIENT, linewidth=0.8, alpha=alpha)
    axes.plot(values.T.to_numpy(), places, ".", color=PATIENT, markersize=5, alpha=alpha)


def _interval(
    axes: Axes, place: float, mean: float, ends: tuple[float, float], colour: str
) -> None:
    axes.plot(ends, [place] * 2, color=colour, linewidth=2.5, zorder=3)
    axes.plot(mean, place, "D", color=colour, markersize=6, zorder=3)


def _p(p: float) -> str:
    return "p undefined" if np.isnan(p) else "p < 0.0001" if p < 0.0001 else f"p {p:.2g}"


def _words(axes: Axes, place: float, text: str) -> None:
    """Write at the right end of a row."""
    where = axes.get_yaxis_transform()
    axes.text(1.02, place, text, fontsize=9, va="center", transform=where, parse_math=False)


def _wrapped(name: str) -> str:
    return "\n".join(textwrap.wrap(name, LINE_LETTERS, max_lines=LINES, placeholder="..."))


def _strip(text: str, width: int, grey: int = WHITE) -> np.ndarray:
    strip = np.full((STRIP_PX, width, 3), grey, np.uint8)
    most = width // LETTER_PX
    if len(text) > most:
        # A run's name begins with its model and ends with what tells it from the others.
        text = f"{text[: max(most - TAIL_LETTERS - 3, 0)]}...{text[-TAIL_LETTERS:]}"
    return cv2.putText(
        strip, text, (3, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA
    )


def _shrunk(picture: np.ndarray, most_px: int) -> np.ndarray:
    scale = min(1, most_px / picture.shape[1])
    size = max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def _padded(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    below, beside = height - picture.shape[0], width - picture.shape[1]
    return np.pad(picture, [(0, below), (0, beside), (0, 0)], constant_values=WHITE)


def _beside(tiles: Sequence[np.ndarray]) -> np.ndarray:
    """Set tiles of one height in a row, a gap between two."""
    gap = np.full((len(tiles[0]), GAP_PX, 3), WHITE, np.uint8)
    return np.hstack([part for tile in tiles for part in (gap, tile)][1:])
