"""Plots of tables: curves, scores and statistics in, PNG files out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from seg import tables

MOST_CASES = 60
SIDE_COLOURS = {"train": "#4c78a8", "valid": "#f58518", "test": "#54a24b"}
MOST_NAMES, BINS = 40, 64


def curves(history_csv: Path, best_epoch: int, folder: Path) -> None:
    """Plot each curve of history.csv for training and any validation, one file a curve."""
    history = pd.read_csv(history_csv)
    names = [c.removeprefix("train/") for c in history if c.startswith("train/")]
    marker = "o" if len(history) == 1 else ""  # a line needs two epochs
    for name in names:
        figure = Figure(figsize=(6, 4))
        axes = figure.subplots()
        for side, style in (("train", "--"), ("val", "-")):
            if f"{side}/{name}" in history:
                values = history[f"{side}/{name}"]
                axes.plot(history["epoch"], values, style, marker=marker, label=side)
        axes.axvline(best_epoch, color="grey", linewidth=0.8, label=f"best epoch {best_epoch}")
        axes.set(xlabel="epoch", ylabel=name)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend()
        _save(figure, folder / f"{name}.png")


def case_scores(rows: list[dict], score: str, mean: float, interval: tuple, path: Path) -> None:
    """Plot one score of the cases (of many, the lowest), with the mean and its 95% interval.

    Rows with a class are one for each case and class.
    """
    table = pd.DataFrame(rows).sort_values(score, na_position="first")[:MOST_CASES]
    figure = Figure(figsize=(6, max(2.0, 0.22 * len(table) + 1)))
    axes = figure.subplots()
    places = range(len(table))
    axes.barh(places, table[score].fillna(0), color="#4c78a8")
    unit = "case and class" if "class" in table else "case"
    names = table["case"] + " " + table["class"] if "class" in table else table["case"]
    axes.set_yticks(places, names, parse_math=False)
    for i, value in enumerate(table[score]):
        if np.isnan(value):
            axes.text(0.01, i, "undefined: no target, none predicted", va="center", fontsize=7)
    axes.axvline(mean, color="black", linewidth=1)
    if not np.isnan(interval).any():
        axes.axvspan(*interval, color="black", alpha=0.12, linewidth=0)
    title = f"{score} per {unit}: mean {mean:.3f}, {tables.spread(*interval)}"
    axes.set(xlim=(0, 1), xlabel=score, ylabel=unit, title=title)
    axes.title.set_fontsize(9)
    axes.tick_params(axis="y", labelsize=7)
    axes.margins(y=0.01)
    _save(figure, path)


def statistics(table: pd.DataFrame, pixels: dict[str, np.ndarray], path: Path) -> None:
    """Plot what the sides of a split hold, so that a shift between them shows.

    Args:
        table: a row per slice with split, patient, height_px, width_px, target_px, target_share.
        pixels: by side, how many pixels have each grey value; 65536 of these.
        path: of the PNG file.
    """
    figure = Figure(figsize=(11, 8))
    panels = figure.subplots(2, 2)
    _counts(panels[0, 0], table)
    _shares(panels[0, 1], table)
    _intensities(panels[1, 0], pixels)
    _patients(panels[1, 1], table)
    for axes in panels.flat:
        axes.spines[["top", "right"]].set_visible(False)
        axes.title.set_fontsize(11)
    _save(figure, path)


def _counts(axes: Axes, table: pd.DataFrame) -> None:
    """Draw a bar per side: its slices with target, then paler those without."""
    labels = []
    for place, (side, part) in enumerate(table.groupby("split", sort=False)):
        n, n_with = len(part), int((part["target_px"] > 0).sum())
        axes.barh(place, n_with, color=SIDE_COLOURS[side])
        axes.barh(place, n - n_with, left=n_with, color=SIDE_COLOURS[side], alpha=0.3)
        axes.text(n, place, f" {n_with} + {n - n_with}", va="center", fontsize=9)
        labels.append(f"{side}\npatients: {part['patient'].nunique()}")
    axes.set_yticks(range(len(labels)), labels)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set(
        xlim=(0, 1.3 * table["split"].value_counts().max()),
        ylim=(len(SIDE_COLOURS) - 0.5, -0.5),
        xlabel="slices",
        title="slices with target + without (pale)",
    )


def _shares(axes: Axes, table: pd.DataFrame) -> None:
    """Draw how large the target is in slices that have one, as a histogram per side."""
    shares = 100 * table["target_share"].where(table["target_px"] > 0)
    bins = int(np.clip(np.sqrt(shares.count()), 6, 20))
    edges = np.linspace(0, shares.max() if shares.count() else 1, bins + 1)
    for side, part in shares.groupby(table["split"], sort=False):
        counts = np.histogram(part.dropna(), edges)[0]
        heights = 100 * counts / max(counts.sum(), 1)
        axes.stairs(heights, edges, fill=True, color=SIDE_COLOURS[side], alpha=0.15)
        axes.stairs(heights, edges, color=SIDE_COLOURS[side], label=side, linewidth=1.5)
    axes.legend(frameon=False)
    axes.set(
        xlim=(0, 1.02 * edges[-1]),
        ylim=(0, None),
        xlabel="target, % of the slice's pixels",
        ylabel="% of the slices with target",
        title="size of the target per slice",
    )


def _intensities(axes: Axes, pixels: dict[str, np.ndarray]) -> None:
    """Draw how frequent the grey values are, one line per side; logarithmic, for the rare ones."""
    for side, counts in pixels.items():
        heights = 100 * counts.reshape(BINS, -1).sum(axis=1) / counts.sum()
        edges = np.linspace(0, 1, BINS + 1)
        axes.stairs(heights, edges, baseline=None, color=SIDE_COLOURS[side], label=side)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.legend(frameon=False)
    axes.set(
        xlim=(0, 1),
        ylim=(None, 150),
        xlabel="intensity, of full scale",
        ylabel=f"% of pixels, in each of {BINS} bins",
        title="intensities",
    )


def _patients(axes: Axes, table: pd.DataFrame) -> None:
    """Draw a bar per patient, the largest of each side first; named where they are few."""
    areas = table.assign(area_px=table["height_px"] * table["width_px"])
    sums = areas.groupby(["split", "patient"])[["target_px", "area_px"]].sum()
    shares = (100 * sums["target_px"] / sums["area_px"]).sort_values(ascending=False)
    width_pt = np.clip(240 / len(shares), 0.4, 24)
    places, names = [], []
    for side in table["split"].unique():
        start = places[-1] + 2 if places else 0
        here = range(start, start + len(shares[side]))
        axes.vlines(here, 0, shares[side], SIDE_COLOURS[side], linewidth=width_pt)
        places += here
        names += list(shares[side].index)
    named = len(names) <= MOST_NAMES
    ticks = (places, names) if named else ([], [])
    axes.set_xticks(*ticks, rotation=90, fontsize=7, parse_math=False)
    axes.set(
        xlim=(-1, places[-1] + 1),
        ylim=(0, None),
        xlabel="patient" if named else f"{len(names)} patients",
        ylabel="target, % of the patient's pixels",
        title="target per patient",
    )


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
