"""What a model is: its layers, its size, what an image costs, and a drawing."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import keras
import tensorflow as tf

from seg.figures import architecture
from seg.models import cost, graph

log = logging.getLogger(__name__)

MIB = 2**20
LEAST_LETTERS, LETTERS_PER_NAME = 120, 4

Size = tuple[int, int, int]


def summarize(
    model: keras.Model, folder: Path, image_shape: Size | None = None
) -> dict[str, float]:
    """Write summary.txt and, of a functional model, architecture.png; log the totals.

    Args:
        model: built, with or without values of its weights.
        folder: is made.
        image_shape: (H, W, C) of the image that is counted; None for the model's own.

    Returns:
        What `measure` gives.

    Raises:
        ValueError: neither the model nor the caller says how large an image is.
    """
    shape = image_shape or _own_shape(model)
    totals = measure(model, shape)
    sentence = _sentence(totals, shape)
    folder.mkdir(parents=True, exist_ok=True)
    text = f"{_layers(model)}\n{_table(totals, shape)}\n"
    (folder / "summary.txt").write_text(text, encoding="utf-8")
    nodes, edges = graph.architecture(model, shape)
    if nodes:
        path = folder / "architecture.png"
        architecture.draw(nodes, edges, shape[:2], f"{model.name}: {sentence}", path)
    else:
        log.info("model %s: no drawing, since only functional models show their layers", model.name)
    log.info("model %s: %s", model.name, sentence)
    return totals


def measure(model: keras.Model, image_shape: Size) -> dict[str, float]:
    """Count a model's weights, and what one image of a shape (H, W, C) costs.

    Of several outputs the first is the answer.

    Returns:
        model/parameters and model/trainable (numbers), model/weights_mib, model/gflops (10^9, see
        `seg.models.cost.flops`), model/inference_mib and model/training_mib (activations in 2^20
        bytes, see `inference_bytes` and `training_bytes` there).
    """
    image, (answer, *_), _ = _traced(model, image_shape, training=False)
    activations = (
        cost.inference_bytes(image, answer),
        cost.training_bytes(*_traced(model, image_shape, training=True)),
    )
    weights_bytes = sum(math.prod(w.shape) * tf.as_dtype(w.dtype).size for w in model.weights)
    return {
        "model/parameters": model.count_params(),
        "model/trainable": sum(math.prod(w.shape) for w in model.trainable_weights),
        "model/weights_mib": weights_bytes / MIB,
        "model/gflops": cost.flops(answer) / 1e9,
        "model/inference_mib": activations[0] / MIB,
        "model/training_mib": activations[1] / MIB,
    }


def _traced(
    model: keras.Model, image_shape: Size, training: bool
) -> tuple[tf.Tensor, list[tf.Tensor], list[tf.Tensor]]:
    """Trace a model for one image, in training back to the gradients of its weights.

    The weights are inputs of the graph, so that they need no values.

    Returns:
        The image, the outputs and, in training, the gradients: tensors of a graph.
    """
    variables = model.variables
    with tf.__internal__.FuncGraph("cost").as_default(), _inlined_functions():
        image_BHWC = tf.compat.v1.placeholder(tf.float32, (1, *image_shape))
        values = [tf.compat.v1.placeholder(v.dtype, v.shape) for v in variables]
        with keras.StatelessScope(zip(variables, values, strict=True)):
            outputs = tf.nest.flatten(model(image_BHWC, training=training))
        learned = [value for v, value in zip(variables, values, strict=True) if v.trainable]
        gradients = tf.gradients(outputs, learned) if training else []
    return image_BHWC, outputs, [gradient for gradient in gradients if gradient is not None]


@contextmanager
def _inlined_functions() -> Iterator[None]:
    """Have a function inside a graph traced into it: Keras makes one of a grouped convolution."""
    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(before)


def _own_shape(model: keras.Model) -> Size:
    shape = tuple(model.inputs[0].shape[1:]) if model.inputs else None
    if shape is None or None in shape:
        raise ValueError(
            f"model {model.name} takes images of any size, and a cost is that of one. "
            f"Received: image_shape=None; give (height, width, channels)"
        )
    return shape


def _sentence(totals: dict[str, float], shape: Size) -> str:
    return (
        f"{totals['model/parameters']:,.0f} parameters, {totals['model/gflops']:,.2f} GFLOPs and "
        f"{totals['model/inference_mib']:,.1f} MiB for an image of "
        f"{' x '.join(map(str, shape))}, {totals['model/training_mib']:,.1f} MiB in training"
    )


def _table(totals: dict[str, float], shape: Size) -> str:
    """Lay out the totals, each with what it counts."""
    rows = [
        ("model/parameters", ",.0f", "weights"),
        ("model/trainable", ",.0f", "weights that training changes"),
        ("model/weights_mib", ",.1f", "MiB (2^20 bytes) of weights"),
        ("model/gflops", ",.3f", "10^9 operations, a multiply-add being two, of convolutions and"),
        ("", "", "matrix products, to predict one image"),
        ("model/inference_mib", ",.1f", "MiB of tensors alive at once, to predict one image"),
        ("", "", "(estimate; without weights and workspace)"),
        ("model/training_mib", ",.1f", "MiB of tensors held for the backward pass, per image"),
        ("", "", "(estimate; without weights, gradients, optimizer)"),
    ]
    lines = [f"One image of {' x '.join(map(str, shape))}:", ""]
    for name, form, what in rows:
        value = format(totals[name], form) if name else ""
        lines.append(f"{name:<20}  {value:>15}  {what}")
    return "\n".join(lines)


def _layers(model: keras.Model) -> str:
    """Return Keras' own table of the layers, with nothing cut off."""
    longest = max(map(len, _names(model)), default=0)
    letters = max(LEAST_LETTERS, LETTERS_PER_NAME * longest)
    pages: list[str] = []
    # Rich, which sets the table, cuts it at the width of a terminal that it believes in.
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = str(letters)
    try:
        model.summary(line_length=letters, print_fn=pages.append, expand_nested=True)
    finally:
        os.environ.pop("COLUMNS")
        if before is not None:
            os.environ["COLUMNS"] = before
    return "".join(pages)


def _names(model: keras.Model, indent: str = "") -> Iterator[str]:
    """Give each layer's name and class as the table has them, nested ones indented."""
    for layer in model.layers:
        yield f"{indent}{layer.name} ({type(layer).__name__})"
        if isinstance(layer, keras.Model):
            yield from _names(layer, indent + "   ")
