"""Where a model lives and in which precision it computes."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence

import keras
import tensorflow as tf
from tensorflow.python.ops import gen_math_ops
from tensorflow.python.ops.gen_math_ops import add_n

from seg import workers
from seg.contracts import SegError


def strategy(
    devices: str, batch_size: int, addresses: Sequence[str] = (), worker: int = 0
) -> workers.Strategy:
    """Choose where variables live and steps run.

    Args:
        devices: "auto" (every GPU, else the CPU), "cpu", "gpu", "cpu:N" (N virtual devices of
            one CPU) or "gpu:N" (the first N).
        batch_size: of all replicas together.
        addresses: HOST:PORT of every machine that trains, which have met; none: this one alone.
        worker: which of them this is.

    Raises:
        SegError: there are fewer GPUs, the choice comes too late in this process, the batch cannot
            be shared out, or TF_CONFIG asks for several machines.
    """
    if os.environ.get("TF_CONFIG"):
        raise SegError(
            "TF_CONFIG: several machines are asked for by trainer.workers=[HOST:PORT,...]; unset it"
        )
    kind, _, number = devices.partition(":")
    gpus = [] if kind == "cpu" else tf.config.list_physical_devices("GPU")
    if kind == "gpu" and len(gpus) < int(number or 1):
        raise SegError(
            f"trainer.devices={devices}: {len(gpus)} GPUs found; take trainer.devices=auto"
        )
    if kind == "gpu" and number:
        gpus = gpus[: int(number)]
    n_cpus = int(number or 1) if kind == "cpu" else 1
    try:
        tf.config.set_visible_devices(gpus, "GPU")
        if n_cpus > 1:
            tf.config.set_logical_device_configuration(
                tf.config.list_physical_devices("CPU")[0],
                [tf.config.LogicalDeviceConfiguration()] * n_cpus,
            )
        for gpu in gpus:
            tf.config.experimental.set_memory_growth(gpu, True)
        several = workers.strategy(addresses, worker) if addresses else None
    except RuntimeError as error:
        raise SegError(
            f"trainer.devices={devices}: this process already uses other devices; "
            "run the jobs as processes of their own"
        ) from error
    names = [f"GPU:{i}" for i in range(len(gpus))] or [f"CPU:{i}" for i in range(n_cpus)]
    n_replicas = len(names) * max(1, len(addresses))
    if batch_size % n_replicas:
        raise SegError(
            f"trainer.batch_size is shared out over {n_replicas} devices and must be a multiple "
            f"of that. Received: {batch_size}"
        )
    if several:
        return several
    if len(names) == 1:
        return tf.distribute.get_strategy()
    return tf.distribute.MirroredStrategy(names)


def set_numerics(precision: str, deterministic: bool) -> None:
    """Set the dtype policy of the layers to come, and whether sums keep their order."""
    keras.mixed_precision.set_dtype_policy(precision)
    if deterministic:
        tf.config.experimental.enable_op_determinism()
        _add_in_order()


def _add_in_order() -> None:
    """Have three tensors and more added in their order, which op determinism overlooks.

    TensorFlow's AddN begins with an operand whose buffer is free by then (aggregate_ops.cc): its
    sum depends on what else the machine does. Gradient tapes make one wherever a tensor is used
    three times, as in batch normalization; the arithmetic optimizer turns a + b + c into one.
    """
    gen_math_ops.add_n = _sum
    tf.config.optimizer.set_experimental_options({"arithmetic_optimization": False})


def _sum(tensors: Sequence[tf.Tensor], name: str | None = None) -> tf.Tensor:
    """Add tensors in their order; the lists of tensors that a loop keeps as TensorFlow does."""
    is_number = tensors[0].dtype != tf.variant
    return functools.reduce(tf.add, tensors) if is_number else add_n(tensors, name)


def describe(strategy: workers.Strategy) -> str:
    """Return the names of the devices that a strategy uses, as "GPU:0 (NVIDIA H100)"."""
    gpus, (_, n) = tf.config.get_visible_devices("GPU"), workers.share(strategy)
    details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
    names = [f"GPU:{i} ({d.get('device_name')})" for i, d in enumerate(details)]
    names = names or [f"CPU:{i}" for i in range(strategy.num_replicas_in_sync // n)]
    return ", ".join(names) + (f" of each of {n} workers" if n > 1 else "")
