"""Measure how fast pictures of 512 x 512 become masks: in batches, and one by one.

`python scripts/bench_predict.py [BASE_FILTERS]`; the ways are taken in turn, in one process, with a
U-Net of the default size and reading, masks and overlays included. "the model alone" answers
pictures that lie in memory. CPU-seconds are steadier than seconds where others use the machine too.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import cv2
import numpy as np

from seg.figures.pictures import Style
from seg.infer import inputs
from seg.infer.members import Member
from seg.infer.outputs import Wanted, predict
from seg.infer.probabilities import Views
from seg.models.manual import Cleanup, Manual
from seg.models.unet import unet

PICTURES, SIDE, BATCH, ROUNDS = 24, 512, 8, 3


def main() -> None:
    """Print for each way images per second and CPU-seconds per image, medians of the rounds."""
    model = unet((SIDE, SIDE, 1), base_filters=int((sys.argv[1:] or [16])[0]))
    manual = Manual((SIDE, SIDE), 1, {}, (SIDE, SIDE), stacked=False)
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as home:
        (Path(home) / "in").mkdir()
        for i in range(PICTURES):
            pixels = cv2.resize(rng.integers(0, 256, (32, 32), np.uint8), (SIDE, SIDE))
            cv2.imwrite(f"{home}/in/{i:02d}.png", pixels)
        sources, _ = inputs.find(Path(home) / "in")
        wanted = Wanted(Path(home) / "out", {"masks", "overlays"}, Style())

        def files(batch_size: int) -> None:
            views = Views((SIDE, SIDE), batch_size=batch_size)
            for batch in inputs.batches(sources, batch_size):
                loaded, _ = inputs.load_all(batch, manual)
                predict(loaded, [Member(model, manual, views, Cleanup())], wanted)

        def alone(batch_size: int) -> None:
            images_BHWC = np.zeros((batch_size, SIDE, SIDE, 1), np.float32)
            for _ in range(0, PICTURES, batch_size):
                model.predict_on_batch(images_BHWC)

        ways = {
            f"files, batches of {BATCH}": lambda: files(BATCH),
            "files, one by one": lambda: files(1),
            f"the model alone, batches of {BATCH}": lambda: alone(BATCH),
            "the model alone, one by one": lambda: alone(1),
        }
        for name, (wall_s, cpu_s) in _measured(ways).items():
            rates = f"{PICTURES / wall_s:6.2f} images/s  {cpu_s / PICTURES:6.3f} CPU-s/image"
            sys.stdout.write(f"{name:40} {rates}\n")


def _measured(ways: dict[str, Callable[[], None]]) -> dict[str, tuple[float, float]]:
    """Return the medians of seconds and CPU-seconds; the first round, which traces, is left out."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(ROUNDS + 1):
        for name, way in ways.items():
            begun = time.perf_counter(), time.process_time()
            way()
            ended = time.perf_counter(), time.process_time()
            taken[name].append((ended[0] - begun[0], ended[1] - begun[1]))
    return {
        name: (median(wall for wall, _ in each[1:]), median(cpu for _, cpu in each[1:]))
        for name, each in taken.items()
    }


if __name__ == "__main__":
    main()
