"""Compose docs/phantom.png, the picture of README.md, from the folder of a bare run.

Usage: python scripts/readme_picture.py outputs/phantom/unet/TIME-ID
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

WIDTH_PX = 768


def main(run: Path, picture: Path) -> None:
    """Set three test patients above the curve of the loss and the Dice per case."""
    cases = pd.read_csv(run / "cases.csv").query("truth_px > 0").sort_values("dice")
    shown = cases.case.iloc[[len(cases) // 4, len(cases) // 2, -1]]
    overlays = [cv2.imread(str(run / "overlays" / f"{case}_03.png")) for case in shown]
    plots = [cv2.imread(str(run / "figures" / name)) for name in ("loss.png", "test_dice.png")]
    height = min(plot.shape[0] for plot in plots)
    plots = [
        cv2.resize(plot, (round(plot.shape[1] * height / plot.shape[0]), height)) for plot in plots
    ]
    rows = [_wide(np.hstack(overlays)), _wide(np.hstack(plots))]
    cv2.imwrite(str(picture), np.vstack(rows))


def _wide(row: np.ndarray) -> np.ndarray:
    size = (WIDTH_PX, round(row.shape[0] * WIDTH_PX / row.shape[1]))
    return cv2.resize(row, size, interpolation=cv2.INTER_AREA)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(__file__).parents[1] / "docs" / "phantom.png")
