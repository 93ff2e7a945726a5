"""`fit`: from a compiled model to its best epoch on disk.

Axes: B batch, N slices, H height, W width, C channels, K classes but the background.
"""

from __future__ import annotations

import logging
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import keras
import numpy as np
import pandas as pd
from rich.progress import TaskProgressColumn

from seg import workers
from seg.config import Trainer
from seg.contracts import SegError, Tracker
from seg.data.cache import Slices
from seg.data.pipeline import once
from seg.data.progress import progress
from seg.figures.pictures import triptych, write_png

if TYPE_CHECKING:
    import tensorflow as tf

log = logging.getLogger(__name__)


def fit(
    model: keras.Model,
    batches: tf.data.Dataset,
    steps: int,
    valid: Slices,
    plan: Trainer,
    folder: Path,
    tracker: Tracker,
    more: Sequence[keras.callbacks.Callback] = (),
) -> dict[str, float]:
    """Train a compiled model and leave model.keras (its best epoch) and history.csv in a folder.

    Args:
        model: compiled under the strategy.
        batches: endless stream of (image BHWC, mask BHW1); of several workers, the share of this.
        steps: per epoch.
        valid: validation slices; none where the monitored curve is one of training.
        plan: epochs, monitored curve, patience.
        folder: of the run.
        tracker: is told of every epoch.
        more: callbacks, called after those of here.

    Returns:
        What `History.summary` returns.

    Raises:
        SegError: the loss is not finite.
    """
    history = History(folder / "history.csv", steps * plan.batch_size, plan, tracker)
    watch = {"monitor": keras_name(plan.monitor), "mode": _best(plan.monitor)}
    callbacks = [
        StopNonFinite(),
        history,
        EpochImages(valid, plan.epoch_images, folder / "epoch_change", tracker),
        keras.callbacks.ModelCheckpoint(folder / "model.keras", save_best_only=True, **watch),
    ]
    if plan.lr_factor is not None:
        callbacks.append(
            keras.callbacks.ReduceLROnPlateau(
                factor=plan.lr_factor, patience=plan.lr_patience, **watch
            )
        )
    if plan.early_stop_patience is not None:
        callbacks.append(keras.callbacks.EarlyStopping(patience=plan.early_stop_patience, **watch))
    if sys.stderr.isatty():
        callbacks.append(ProgressBar())
    callbacks += more
    strategy = model.distribute_strategy
    how = (plan.batch_size, strategy.num_replicas_in_sync, workers.share(strategy))
    watched = once(valid, *how) if valid.ids else None
    model.fit(
        workers.shared_out(strategy, batches),
        validation_data=watched and workers.shared_out(strategy, watched),
        # Or several workers would go on to a batch of nothing, which counts for some metrics.
        validation_steps=watched and int(watched.cardinality()),
        epochs=plan.epochs,
        steps_per_epoch=steps,
        callbacks=callbacks,
        shuffle=False,
        verbose=0,
    )
    return history.summary()


class StopNonFinite(keras.callbacks.Callback):
    """Stop at the first loss that is NaN or infinite: the weights are lost from there on."""

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Remember the epoch for the message."""
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Raise where the running loss is not finite."""
        self._check("loss", logs["loss"], f"step {batch + 1}")

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Raise where the validation loss is not finite: no epoch could be called the best."""
        self._check("validation loss", logs.get("val_loss", 0.0), "validation")

    def _check(self, name: str, value: float, where: str) -> None:
        if not math.isfinite(float(value)):
            raise SegError(
                f"{name} is {float(value)} in epoch {self.epoch + 1}, {where}: lower "
                f"optimizer.learning_rate (now {_learning_rate(self.model):g}), "
                "set optimizer.clipvalue, or take trainer.precision=float32"
            )


class History(keras.callbacks.Callback):
    """Write a row per epoch to a CSV file, the log and the tracker.

    Args:
        file: history.csv; columns epoch, epoch/s, lr/learning_rate, train/..., val/....
        images_per_epoch: training images seen in one.
        plan: for the number of epochs and the monitored curve.
        tracker: receives the row.
    """

    def __init__(self, file: Path, images_per_epoch: int, plan: Trainer, tracker: Tracker) -> None:
        """Start with no row."""
        super().__init__()
        self.file, self.images_per_epoch = file, images_per_epoch
        self.plan, self.tracker = plan, tracker
        self.rows: list[dict[str, float]] = []

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Start the clock."""
        self.begun, self.trained = time.perf_counter(), None

    def on_test_begin(self, logs: dict | None = None) -> None:
        """Stop the clock of training: validation begins."""
        self.trained = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Write the row."""
        curves = {_our_name(name): float(value) for name, value in logs.items()}
        curves.pop("train/learning_rate", None)
        ended = time.perf_counter()
        row = {
            "epoch/s": ended - self.begun,
            "epoch/images_per_s": self.images_per_epoch / ((self.trained or ended) - self.begun),
            "lr/learning_rate": _learning_rate(self.model),
            **curves,
        }
        self.rows.append({"epoch": epoch + 1, **row})
        pd.DataFrame(self.rows).to_csv(self.file, index=False)
        self.tracker.metrics(row, step=epoch + 1)
        shown = "  ".join(f"{key} {curves[key]:.4f}" for key in curves if "loss" in key)
        dice = curves.get("val/dice_coef")
        log.info(
            "epoch %d/%d  %s%s  %.1f s",
            epoch + 1,
            self.plan.epochs,
            shown,
            "" if dice is None else f"  val/dice_coef {dice:.4f}",
            row["epoch/s"],
        )

    def summary(self) -> dict[str, float]:
        """Return the best epoch, its losses, and the speed after the first (tracing) epoch."""
        table = pd.DataFrame(self.rows)
        column = table[self.plan.monitor]
        lowest = _best(self.plan.monitor) == "min"
        best = table.loc[column.idxmin() if lowest else column.idxmax()]
        steady = table["epoch/images_per_s"].iloc[min(1, len(table) - 1) :]
        return {
            "best/epoch": int(best["epoch"]),
            "best/train_loss": float(best["train/loss"]),
            "best/val_loss": float(best.get("val/loss", math.nan)),
            "train/images_per_s": float(steady.median()),
        }


class EpochImages(keras.callbacks.Callback):
    """Draw the same slices before training (epoch 0) and after every epoch.

    Args:
        slices: to draw from.
        n: how many.
        folder: receives ID/epoch_NNN.png.
        tracker: receives the pictures, a slider per slice.
    """

    def __init__(self, slices: Slices, n: int, folder: Path, tracker: Tracker) -> None:
        """Choose the slices."""
        super().__init__()
        self.folder, self.tracker = folder, tracker
        places = _watched(slices, n)
        self.ids = [slices.ids[i] for i in places]
        self.images, self.masks = slices.samples(places)

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Draw what the untrained model says."""
        self._draw(0)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Draw what the model says now."""
        self._draw(epoch + 1)

    def _draw(self, epoch: int) -> None:
        if not self.ids:
            return
        p_NHWK = _foreground(self.model(self.images, training=False))
        truths_NHWK = (self.masks == np.arange(1, p_NHWK.shape[-1] + 1)).astype(np.float32)
        for name, image_HWC, truth_HWK, p_HWK in zip(
            self.ids, self.images, truths_NHWK, p_NHWK, strict=True
        ):
            file = self.folder / name / f"epoch_{epoch:03d}.png"
            write_png(file, triptych(image_HWC, truth_HWK, p_HWK))
            self.tracker.image(file, key=f"epoch_change/{name}", step=epoch)


class ProgressBar(keras.callbacks.Callback):
    """A bar per epoch on a terminal's standard error."""

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Show an empty bar."""
        self.bar = progress(TaskProgressColumn())
        self.task = self.bar.add_task(f"epoch {epoch + 1}", total=self.params["steps"])
        self.bar.start()

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Move on by one step."""
        self.bar.advance(self.task)

    def on_test_begin(self, logs: dict | None = None) -> None:
        """Take the bar away."""
        self.bar.stop()


def _watched(slices: Slices, n: int) -> list[int]:
    """Choose `n` slices to draw: those with target, evenly spaced in their order."""
    candidates = [i for i, has_target in enumerate(slices.has_target) if has_target]
    candidates = candidates or list(range(len(slices.ids)))
    n = min(n, len(candidates))
    return [candidates[int((i + 0.5) * len(candidates) / n)] for i in range(n)]


def _foreground(logits: keras.KerasTensor) -> np.ndarray:
    """Return the probabilities of the classes but the background."""
    ops = keras.ops
    if logits.shape[-1] == 1:
        return ops.convert_to_numpy(ops.sigmoid(logits))
    return ops.convert_to_numpy(ops.softmax(logits, axis=-1)[..., 1:])


def _learning_rate(model: keras.Model) -> float:
    return float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))


def _best(monitor: str) -> str:
    """Say where a curve is at its best: a loss at its least ("min"), any other at its most."""
    return "min" if "loss" in monitor else "max"


def _our_name(name: str) -> str:
    """Return "val/loss" for Keras' "val_loss", "train/loss" for its "loss"."""
    return f"val/{name[4:]}" if name.startswith("val_") else f"train/{name}"


def keras_name(name: str) -> str:
    """Return "val_loss" for our "val/loss", "loss" for "train/loss"."""
    side, _, curve = name.partition("/")
    return f"val_{curve}" if side == "val" else curve
