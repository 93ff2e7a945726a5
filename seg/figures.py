"""Pictures and plots: arrays in, uint8 RGB arrays or PNG files out.

Axes: H height, W width, C channels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

TRUTH_RGB = (0, 200, 83)
PREDICTION_RGB = (255, 64, 160)
CAPTION_PX = 18
SMALLEST_PX = 256
MOST_CASES = 60
PANEL_PX, GAP_PX, MOST_LETTERS = 256, 8, 46
SIDE_COLOURS = {"train": "#4c78a8", "valid": "#f58518", "test": "#54a24b"}
MOST_NAMES, BINS = 40, 64


def write_png(path: Path, picture: np.ndarray) -> None:
    """Write a grey HW or RGB HWC uint8 picture, making its folder.

    Raises:
        OSError: the file could not be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    encoded = cv2.imencode(".png", picture if picture.ndim == 2 else picture[..., ::-1])[1]
    encoded.tofile(path)


def triptych(image_HWC: np.ndarray, truth_HW: np.ndarray, probability_HW: np.ndarray) -> np.ndarray:
    """Set input, truth and predicted probability side by side under captions, as `overlay`.

    Args:
        image_HWC: float over 0..1, 1 or 3 channels.
        truth_HW: of 0 and 1.
        probability_HW: float over 0..1.
    """
    panels = [image_HWC, truth_HW[..., None], probability_HW[..., None]]
    return np.hstack(
        [
            _captioned(_enlarged(_rgb(panel)), [(text, (255, 255, 255))])
            for panel, text in zip(panels, ("input", "truth", "prediction"), strict=True)
        ]
    )


def overlay(image_HWC: np.ndarray, truth_HW: np.ndarray, mask_HW: np.ndarray) -> np.ndarray:
    """Draw the outlines of truth and prediction over the image, under a legend.

    The result has a whole number of pixels for each of the image's: one, unless that is small.

    Args:
        image_HWC: float over 0..1, 1 or 3 channels.
        truth_HW: bool.
        mask_HW: bool.
    """
    picture = _enlarged(_rgb(image_HWC))
    for mask, colour in ((truth_HW, TRUTH_RGB), (mask_HW, PREDICTION_RGB)):
        _outline(picture, _enlarged(mask), colour)
    return _captioned(picture, [("truth", TRUTH_RGB), ("prediction", PREDICTION_RGB)])


def curves(history_csv: Path, best_epoch: int, folder: Path) -> None:
    """Plot each curve of history.csv for training and any validation, one file a curve."""
    history = pd.read_csv(history_csv)
    names = [c.removeprefix("train/") for c in history if c.startswith("train/")]
    for name in names:
        figure = Figure(figsize=(6, 4))
        axes = figure.subplots()
        for side, style in (("train", "--"), ("val", "-")):
            if f"{side}/{name}" in history:
                axes.plot(history["epoch"], history[f"{side}/{name}"], style, label=side)
        axes.axvline(best_epoch, color="grey", linewidth=0.8, label=f"best epoch {best_epoch}")
        axes.set(xlabel="epoch", ylabel=name)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend()
        _save(figure, folder / f"{name}.png")


def case_scores(rows: list[dict], score: str, mean: float, interval: tuple, path: Path) -> None:
    """Plot one score of the cases (of many, the lowest), with the mean and its 95% interval."""
    table = pd.DataFrame(rows).sort_values(score, na_position="first")[:MOST_CASES]
    figure = Figure(figsize=(6, max(2.0, 0.22 * len(table) + 1)))
    axes = figure.subplots()
    places = range(len(table))
    axes.barh(places, table[score].fillna(0), color="#4c78a8")
    axes.set_yticks(places, table["case"], parse_math=False)
    for i, value in enumerate(table[score]):
        if np.isnan(value):
            axes.text(0.01, i, "undefined: no target, none predicted", va="center", fontsize=7)
    axes.axvline(mean, color="black", linewidth=1)
    if not np.isnan(interval).any():
        axes.axvspan(*interval, color="black", alpha=0.12, linewidth=0)
    title = (
        f"{score} per case: mean {mean:.3f}, 95% interval {interval[0]:.3f} to {interval[1]:.3f}"
    )
    axes.set(xlim=(0, 1), xlabel=score, ylabel="case", title=title)
    axes.title.set_fontsize(9)
    axes.tick_params(axis="y", labelsize=7)
    axes.margins(y=0.01)
    _save(figure, path)


def sheet(samples: Iterable[tuple[np.ndarray, np.ndarray, str]]) -> np.ndarray:
    """Set samples in rows: the image with its mask's outline, beside it the mask, above its name.

    Each lies in a square of PANEL_PX: enlarged by the largest whole number that fits, or shrunk.

    Args:
        samples: image (HWC, float over 0..1, 1 or 3 channels), mask (bool HW) and name; at least
            one.
    """
    tiles = [_tile(*sample) for sample in samples]
    columns = math.ceil(math.sqrt(len(tiles)))
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % columns)
    tiles = [np.pad(t, [(GAP_PX, 0), (GAP_PX, 0), (0, 0)], constant_values=255) for t in tiles]
    rows = [np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)]
    return np.pad(np.vstack(rows), [(0, GAP_PX), (0, GAP_PX), (0, 0)], constant_values=255)


def _tile(image_HWC: np.ndarray, mask_HW: np.ndarray, name: str) -> np.ndarray:
    picture = _scaled(_rgb(image_HWC))
    # By any share of a pixel, so that no part of the mask is lost where it is shrunk.
    mask = _scaled(mask_HW.astype(np.float32)) > 0
    _outline(picture, mask, TRUTH_RGB)
    short = name if len(name) <= MOST_LETTERS else f"...{name[3 - MOST_LETTERS :]}"
    share = f"target {100 * mask_HW.mean():.2g}%" if mask_HW.any() else "no target"
    rule = np.full((PANEL_PX, 2, 3), 255, np.uint8)
    return _captioned(
        np.hstack([_centred(picture), rule, _centred(_rgb(mask[..., None]))]),
        [(short, (255, 255, 255)), (share, TRUTH_RGB)],
    )


def _scaled(picture: np.ndarray) -> np.ndarray:
    """Bring the longer side to PANEL_PX: by area averaging, or as near as whole pixels come."""
    height, width = picture.shape[:2]
    scale = PANEL_PX / max(height, width)
    if scale >= 1:
        return picture.repeat(int(scale), axis=0).repeat(int(scale), axis=1)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def _centred(picture: np.ndarray) -> np.ndarray:
    """Put a picture in the middle of a square of PANEL_PX."""
    panel = np.full((PANEL_PX, PANEL_PX, 3), 64, np.uint8)
    top, left = ((PANEL_PX - length) // 2 for length in picture.shape[:2])
    panel[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return panel


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


def _outline(picture: np.ndarray, mask: np.ndarray, colour: tuple[int, int, int]) -> None:
    """Colour the pixels of the mask that lie at its edge, one pixel thin."""
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, outlines, -1, colour, 1)


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def _rgb(image_HWC: np.ndarray) -> np.ndarray:
    grey = np.clip(image_HWC * 255, 0, 255).round().astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(grey, (*grey.shape[:2], 3)))


def _enlarged(picture: np.ndarray) -> np.ndarray:
    """Repeat the pixels of a small picture until both sides have SMALLEST_PX or more."""
    times = -(-SMALLEST_PX // min(picture.shape[:2]))
    return picture.repeat(times, axis=0).repeat(times, axis=1)


def _captioned(picture: np.ndarray, words: list[tuple[str, tuple[int, int, int]]]) -> np.ndarray:
    strip = np.zeros((CAPTION_PX, picture.shape[1], 3), np.uint8)
    x = 3
    for text, colour in words:
        cv2.putText(strip, text, (x, 13), cv2.FONT_HERSHEY_SIMPLEX, 0.4, colour, 1, cv2.LINE_AA)
        x += 8 * len(text) + 8
    return np.vstack([strip, picture])
