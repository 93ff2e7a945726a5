"""Compose the pictures of README.md from the folders of two runs.

Usage: python scripts/readme_picture.py RUN DESCRIBED; RUN is the folder of a bare run, DESCRIBED
that of `stages=[describe] augment=strong`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from seg.figures.contact import LINE_PX
from seg.figures.panels import GAP_PX, PANEL_PX

WIDTH_PX = 768


def main(run: Path, described: Path, docs: Path) -> None:
    """Write docs/phantom.png, docs/contact_sheet.jpg and docs/augmented.png."""
    cv2.imwrite(str(docs / "phantom.png"), results(run))
    cv2.imwrite(str(docs / "contact_sheet.jpg"), _wide(extremes(run), 900))
    samples = cv2.imread(str(described / "describe" / "samples_augmented.png"))
    cv2.imwrite(str(docs / "augmented.png"), _wide(samples[: samples.shape[0] // 3], 1200))


def results(run: Path) -> np.ndarray:
    """Set three test patients above the curve of the loss and the Dice per case."""
    cases = pd.read_csv(run / "cases.csv").query("truth_px > 0").sort_values("dice")
    shown = cases.case.iloc[[len(cases) // 4, len(cases) // 2, -1]]
    overlays = [cv2.imread(str(run / "overlays" / f"{case}_03.png")) for case in shown]
    plots = [cv2.imread(str(run / "figures" / name)) for name in ("loss.png", "test_dice.png")]
    height = min(plot.shape[0] for plot in plots)
    plots = [
        cv2.resize(plot, (round(plot.shape[1] * height / plot.shape[0]), height)) for plot in plots
    ]
    return np.vstack([_wide(np.hstack(overlays)), _wide(np.hstack(plots))])


def extremes(run: Path) -> np.ndarray:
    """Cut the legend, the best case, a median and the worst one out of a whole sheet."""
    sheet = cv2.imread(str(run / "figures" / "contact_sheet.png"))
    title_px, row_px = 2 * LINE_PX, PANEL_PX + GAP_PX
    parts, y = [sheet[:LINE_PX]], LINE_PX
    for cases, shown in ((3, 0), (2, 0), (3, 2)):
        rows_y = y + title_px
        parts += [sheet[y:rows_y], sheet[rows_y + shown * row_px :][:row_px]]
        y = rows_y + cases * row_px
    return np.vstack([*parts, sheet[-GAP_PX:]])


def _wide(row: np.ndarray, width_px: int = WIDTH_PX) -> np.ndarray:
    size = (width_px, round(row.shape[0] * width_px / row.shape[1]))
    return cv2.resize(row, size, interpolation=cv2.INTER_AREA)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(__file__).parents[1] / "docs")
