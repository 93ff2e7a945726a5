"""Table of the models of conf/model at their defaults: size, arithmetic, memory for one image.

Usage: python scripts/models.py [unet swin ...] [--size 256] [--channels 1] [--markdown]

What the columns count is said in `seg.summary.measure`. Weights are declared and never drawn. A
model that cannot be built (another package, another image size) is left out, with the reason on
standard error.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import keras
from hydra import compose, initialize_config_dir

from seg import summary
from seg.build import build
from seg.config import conf_dir
from seg.contracts import SegError

COLUMNS = {
    "parameters": ("model/parameters", ",.0f"),
    "GFLOPs": ("model/gflops", ",.2f"),
    "inference MiB": ("model/inference_mib", ",.1f"),
    "training MiB": ("model/training_mib", ",.1f"),
}

log = logging.getLogger(__name__)


def rows(names: Sequence[str], shape: tuple[int, int, int]) -> list[list[str]]:
    """Measure each model that can be built for an image of a shape (H, W, C)."""
    found = []
    for name in names:
        with initialize_config_dir(conf_dir(), version_base="1.3"):
            cfg = compose("config", [f"model={name}"])
        try:
            with keras.StatelessScope(initialize_variables=False):
                model = build("model", cfg.model, input_shape=shape)
        except SegError as error:
            log.warning("%s left out: %s", name, error)
            continue
        totals = summary.measure(model, shape)
        found.append([name, *(format(totals[key], form) for key, form in COLUMNS.values())])
        keras.backend.clear_session()
    return found


def table(header: Sequence[str], lines: Sequence[Sequence[str]], markdown: bool) -> str:
    """Set a table, the first column to the left and numbers to the right."""
    widths = [max(map(len, column)) for column in zip(header, *lines, strict=True)]
    around, between = ("| ", " | ") if markdown else ("", "  ")
    rule = [":" + "-" * (widths[0] - 1), *("-" * (width - 1) + ":" for width in widths[1:])]
    text = []
    for cells in [header, *([rule] if markdown else []), *lines]:
        first = cells[0].ljust(widths[0])
        others = [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)]
        text.append(around + between.join([first, *others]) + around[::-1])
    return "\n".join(text)


def main() -> None:
    """Read the arguments and write the table to standard output."""
    every = sorted(path.stem for path in Path(conf_dir(), "model").glob("*.yaml"))
    every.remove("custom")
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help=f"of {', '.join(every)} (all of them)")
    parser.add_argument("--size", type=int, default=256, help="side of the image in pixels (256)")
    parser.add_argument("--channels", type=int, default=1, choices=(1, 3))
    parser.add_argument("--markdown", action="store_true", help="for a README")
    given = parser.parse_args()
    if unknown := sorted(set(given.names) - set(every)):
        parser.error(f"no model {unknown[0]}; there are {', '.join(every)}")
    lines = rows(given.names or every, (given.size, given.size, given.channels))
    if lines:
        sys.stdout.write(table(["model", *COLUMNS], lines, given.markdown) + "\n")


if __name__ == "__main__":
    logging.basicConfig(format="%(message)s")
    main()
