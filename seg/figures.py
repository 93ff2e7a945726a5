"""Pictures and plots: arrays in, uint8 RGB arrays or PNG files out.

Axes: H height, W width, C channels.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

TRUTH_RGB = (0, 200, 83)
PREDICTION_RGB = (255, 64, 160)
CAPTION_PX = 18
SMALLEST_PX = 256
MOST_CASES = 60


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
        outlines, _ = cv2.findContours(
            _enlarged(mask.astype(np.uint8)), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE
        )
        cv2.drawContours(picture, outlines, -1, colour, 1)
    return _captioned(picture, [("truth", TRUTH_RGB), ("prediction", PREDICTION_RGB)])


def curves(history_csv: Path, best_epoch: int, folder: Path) -> None:
    """Plot each curve of history.csv for training and validation, one file a curve."""
    history = pd.read_csv(history_csv)
    names = [c.removeprefix("val/") for c in history if c.startswith("val/")]
    for name in names:
        figure = Figure(figsize=(6, 4))
        axes = figure.subplots()
        for side, style in (("train", "--"), ("val", "-")):
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
