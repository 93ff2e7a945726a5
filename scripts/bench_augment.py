"""Measure augmentation: engines, a chain against making every variant, threads, a training step.

Each part runs in a process of its own, the first two on one core.
`python scripts/bench_augment.py [engines|chain|threads|step ...]`
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
from scipy import ndimage

SIDE = 512
CENTRES = [(0.3, 0.3), (0.7, 0.3), (0.5, 0.5), (0.3, 0.7), (0.7, 0.7)]
FIVE = ("flip_horizontal", "rotate", "scale", "shear", "elastic")


def cpu_ms(call: Callable[[int], object], n: int, rounds: int = 5) -> float:
    """Return the CPU-milliseconds of one call: the median of some rounds of n calls."""
    call(0)
    figures = []
    for r in range(rounds):
        start = time.process_time()
        for k in range(n):
            call(r * n + k)
        figures.append((time.process_time() - start) / n * 1e3)
    return float(np.median(figures))


def say(name: str, figure: str) -> None:
    """Write a row of the table."""
    sys.stdout.write(f"{name:64}{figure:>16}\n")
    sys.stdout.flush()


def picture() -> tuple[np.ndarray, np.ndarray]:
    """Return an image, float32 (512, 512, 1), and a mask, uint8, with one round target."""
    y, x = np.mgrid[:SIDE, :SIDE]
    inside = (x - 200) ** 2 + (y - 300) ** 2 < 60**2
    noise = np.random.default_rng(0).random((SIDE, SIDE), np.float32)
    image = np.where(inside, 0.6, 0.3).astype(np.float32) + 0.2 * noise
    return image[..., None], inside.astype(np.uint8)[..., None]


def parts(choice: str, p: float | None = None, only: tuple[str, ...] = ()) -> dict:
    """Build the transforms of an `augment=` choice, all with probability p where that is given."""
    from hydra import compose, initialize_config_dir

    from seg.build import build
    from seg.config import conf_dir

    with initialize_config_dir(conf_dir(), version_base="1.3"):
        node = compose("config", [f"augment={choice}"]).augment
    for name in list(node):
        if only and name not in only:
            node[name] = None
        elif p is not None:
            node[name].p = p
    return build("augment", node)


def engines() -> None:
    """Flip, rotation, scale, shear and elastic deformation of image and mask, by three engines."""
    import tensorflow as tf

    from seg.augment.chain import chain
    from seg.augment.warp import grid, grid_step

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    image, mask = picture()
    ours = chain(parts("on", 1.0, FIVE))
    say("OpenCV (seg.augment)", f"{cpu_ms(lambda k: ours.sample(image, mask, 0, k), 40):.1f} ms")

    step, (rows, columns) = grid_step((SIDE, SIDE)), grid((SIDE, SIDE)).shape[:2]
    kernel = tf.constant(cv2.getGaussianKernel(25, 3).astype(np.float32))
    down, across = (enlarging(n, step) for n in (rows, columns))

    def native(image: tf.Tensor, mask: tf.Tensor, k: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        matrix = tf.eye(2) + tf.random.stateless_uniform([2, 2], [0, k], -0.2, 0.2)
        points = tf.constant(grid((SIDE, SIDE))) @ matrix
        noise = tf.random.stateless_uniform([2, rows, columns, 1], [1, k], -1, 1)
        for shape in ([25, 1, 1, 1], [1, 25, 1, 1]):
            noise = tf.nn.conv2d(noise, tf.reshape(kernel, shape), 1, "SAME")
        points += tf.transpose(noise[..., 0], [1, 2, 0]) * 37 + (SIDE - 1) / 2
        points = tf.einsum("hr,rcx,wc->hwx", down, points, across)
        return bilinear(image, points), nearest(mask, points)

    def bilinear(image: tf.Tensor, points: tf.Tensor) -> tf.Tensor:
        corner = tf.floor(points)
        right, lower = tf.unstack((points - corner)[..., None], axis=2)
        x, y = tf.unstack(tf.clip_by_value(tf.cast(corner, tf.int32) + 1, 0, SIDE), axis=-1)
        flat = tf.reshape(tf.pad(image, [[1, 1], [1, 1], [0, 0]]), [-1, 1])
        place = y * (SIDE + 2) + x
        a, b, c, d = (tf.gather(flat, place + o) for o in (0, 1, SIDE + 2, SIDE + 3))
        above, below = a + (b - a) * right, c + (d - c) * right
        return above + (below - above) * lower

    def nearest(mask: tf.Tensor, points: tf.Tensor) -> tf.Tensor:
        pixel = tf.cast(tf.round(points), tf.int32) + 1
        x, y = tf.unstack(tf.clip_by_value(pixel, 0, SIDE + 1), axis=-1)
        flat = tf.reshape(tf.pad(mask, [[1, 1], [1, 1], [0, 0]]), [-1, 1])
        return tf.gather(flat, y * (SIDE + 2) + x)

    pair = tf.constant(image), tf.constant(mask)
    for name, xla in (("TensorFlow ops in a graph", False), ("the same, compiled by XLA", True)):
        graph = tf.function(native, jit_compile=xla)
        say(name, f"{cpu_ms(lambda k, graph=graph: graph(*pair, tf.constant(k)), 20):.1f} ms")


def enlarging(n: int, step: int) -> np.ndarray:
    """Return the matrix that interpolates SIDE pixels from n points of a grid."""
    at = (np.arange(SIDE) + 0.5) / step + 0.5
    left = np.minimum(at.astype(int), n - 2)
    matrix = np.zeros((SIDE, n), np.float32)
    matrix[np.arange(SIDE), left], matrix[np.arange(SIDE), left + 1] = 1 - at + left, at - left
    return matrix


def variants(image: np.ndarray, mask: np.ndarray, seed: int) -> Iterator[tuple]:
    """Make every variant of a picture as antillia.com's experiments do, fields twice and all.

    22: two flips, three turns, a shrunk and a slanted one, elastic, two distortions, a barrel and a
    pincushion about each of five centres, one sharper, one brighter.
    """
    rng = np.random.default_rng(seed)
    pair = (image[..., 0], mask[..., 0].astype(np.float32))
    rows, columns = np.mgrid[:SIDE, :SIDE].astype(np.float32)

    def both(change: Callable[[np.ndarray], np.ndarray]) -> tuple:
        return tuple(change(x) for x in pair)

    def affine(x: np.ndarray, matrix: list) -> np.ndarray:
        return cv2.warpAffine(x, np.float32(matrix), (SIDE, SIDE))

    def displaced(x: np.ndarray, sigma: float, order: int, scaled: Callable) -> np.ndarray:
        noise = (rng.random((SIDE, SIDE)) * 2 - 1 for _ in range(2))
        down, right = (
            scaled(ndimage.gaussian_filter(n, sigma, order=(order * (1 - i), order * i)))
            for i, n in enumerate(noise)
        )
        return ndimage.map_coordinates(x, [rows + down, columns + right], order=1)

    def lens(x: np.ndarray, centre: tuple[float, float], amount: float) -> np.ndarray:
        away_x, away_y = columns - centre[0] * SIDE, rows - centre[1] * SIDE
        r2 = (away_x**2 + away_y**2) / (0.3 * SIDE) ** 2
        bent = 1 + amount * np.maximum(1 - r2, 0)
        at_x, at_y = centre[0] * SIDE + away_x * bent, centre[1] * SIDE + away_y * bent
        return cv2.remap(x, at_x, at_y, cv2.INTER_LINEAR)

    yield both(lambda x: x[:, ::-1])
    yield both(lambda x: x[::-1])
    for quarter in (1, 2, 3):
        yield both(lambda x, quarter=quarter: np.rot90(x, quarter))
    yield both(lambda x: affine(x, [[0.8, 0, 0.1 * SIDE], [0, 0.8, 0.1 * SIDE]]))
    yield both(lambda x: affine(x, [[1, 0.1, 0], [0, 1, 0]]))
    yield both(lambda x: displaced(x, 8, 0, lambda field: field * 112))
    for share in (0.02, 0.03):
        largest = share * SIDE
        yield both(
            lambda x, largest=largest: displaced(
                x, 40, 1, lambda field, most=largest: field * most / np.abs(field).max()
            )
        )
    for amount in (-0.3, 0.3):
        for centre in CENTRES:
            yield both(lambda x, centre=centre, amount=amount: lens(x, centre, amount))
    sharper = np.float32([[0, -1, 0], [-1, 5, -1], [0, -1, 0]])
    yield cv2.filter2D(pair[0], -1, sharper), pair[1]
    yield cv2.convertScaleAbs(pair[0] * 255, alpha=1.2, beta=10), pair[1]


def chain_against_variants() -> None:
    """The `reference` chain for one training sample, against making every variant of an image."""
    from seg.augment.chain import chain
    from seg.data import pipeline
    from seg.data.cache import in_memory

    image, mask = picture()
    slices = in_memory(["a"], (image * 65535).astype(np.uint16)[None], mask[None])
    made = len(list(variants(image, mask, 0)))
    yardstick = cpu_ms(lambda k: list(variants(image, mask, k)), 1)
    say(f"every variant made ({made}), as in the reference", f"{yardstick:.0f} ms")
    asked = [
        ("reference", None),
        ("reference", 1.0),
        ("light", None),
        ("on", None),
        ("strong", None),
    ]
    for choice, p in asked:
        augment = chain(parts(choice, p))
        alone = cpu_ms(lambda k, augment=augment: augment.sample(image, mask, 0, k), 100)
        name = f"augment={choice}" + ("" if p is None else ", every p=1")
        say(f"{name}: the chain", f"{alone:.2f} ms {yardstick / alone:6.0f} x")
        if choice != "reference":
            continue
        stream = iter(pipeline.endless(slices, 4, 0, augment))
        whole = cpu_ms(lambda k, stream=stream: next(stream), 40) / 4
        say(f"{name}: in the tf.data pipeline", f"{whole:.2f} ms {yardstick / whole:6.0f} x")
    tiny = image[:8, :8], mask[:8, :8]
    held = cpu_ms(lambda k: augment.sample(*tiny, 0, k), 400)
    say("augment=strong on 8x8 pixels: about what holds Python's lock", f"{held:.2f} ms")


def threads() -> None:
    """Samples per second by one thread and by one for each core."""
    from seg.augment.chain import chain

    image, mask = picture()
    augment = chain(parts("reference", 1.0))
    for workers in sorted({1, len(os.sched_getaffinity(0))}):
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(lambda k: augment.sample(image, mask, 0, k), range(40)))
            start = time.perf_counter()
            list(pool.map(lambda k: augment.sample(image, mask, 0, k), range(400)))
            speed = 400 / (time.perf_counter() - start)
        say(f"augment=reference, every p=1, {workers} threads", f"{speed:.0f} samples/s")


def step() -> None:
    """A training step of the spleen preset at 512x512, augment=off and augment=reference."""
    from hydra import compose, initialize_config_dir

    from seg.augment.chain import chain
    from seg.build import build
    from seg.config import conf_dir
    from seg.data import pipeline
    from seg.data.cache import in_memory

    with initialize_config_dir(conf_dir(), version_base="1.3"):
        cfg = compose("config", ["experiment=spleen_2024"])
    model = build("model", cfg.model, input_shape=(SIDE, SIDE, 3))
    model.compile(build("optimizer", cfg.optimizer), build("loss", cfg.loss))
    image, mask = picture()
    images = np.repeat((image * 65535).astype(np.uint16), 3, axis=2)[None]
    slices = in_memory(["a"], images, mask[None])
    figures: dict[str, list[float]] = {"off": [], "reference": []}
    streams = {
        "off": iter(pipeline.endless(slices, 4, 0)),
        "reference": iter(pipeline.endless(slices, 4, 0, chain(parts("reference")))),
    }
    for _ in range(11):
        for name, stream in streams.items():
            start = time.process_time()
            model.train_on_batch(*next(stream))
            figures[name].append(time.process_time() - start)
    seconds = {name: float(np.median(rows[1:])) for name, rows in figures.items()}
    for name, value in seconds.items():
        say(f"a training step of spleen_2024, batch of 4, augment={name}", f"{value:.1f} CPU-s")
    say("ratio", f"{seconds['reference'] / seconds['off']:.3f}")


PARTS = {
    "engines": engines,
    "chain": chain_against_variants,
    "threads": threads,
    "step": step,
}
SINGLE = {"engines", "chain"}


def main() -> None:
    """Run the parts asked for, each in a new process; with --here one of them in this one."""
    asked = sys.argv[1:] or list(PARTS)
    if asked[0] == "--here":
        PARTS[asked[1]]()
        return
    for name in asked:
        cores = sorted(os.sched_getaffinity(0))
        alone = cores[:1] if name in SINGLE else cores
        env = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        subprocess.run(
            [sys.executable, __file__, "--here", name],
            env=env,
            check=True,
            stderr=subprocess.DEVNULL,
            preexec_fn=lambda alone=alone: os.sched_setaffinity(0, alone),
        )


if __name__ == "__main__":
    main()
