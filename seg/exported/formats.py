"""The formats that a model is exported to: each is written, and run again by its own runtime.

Axes: B batch, H height, W width, C channels, N classes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from seg.contracts import SegError, first_line

if TYPE_CHECKING:
    import keras

Run = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Format:
    """A format.

    Attributes:
        file: name of the file or folder that is written.
        packages: that write and run it, besides tensorflow and keras.
        write: puts a model of one input and one output, of fixed size, at a path.
        load: returns what makes float32 BHWN of float32 BHWC, B being any.
        used: how it is run in Python, PATH being the file.
    """

    file: str
    packages: tuple[str, ...]
    write: Callable[[keras.Model, Path], None]
    load: Callable[[Path], Run]
    used: str


def require_packages(name: str) -> None:
    """Refuse a format whose packages are not installed.

    Raises:
        SegError: as it says.
    """
    if lacks := [package for package in FORMATS[name].packages if find_spec(package) is None]:
        raise SegError(
            f"--format {name}: {' and '.join(lacks)} is not installed; pip install -e '.[{name}]'"
        )


def write(name: str, model: keras.Model, path: Path) -> None:
    """Put a model at a path.

    Raises:
        SegError: the format has no counterpart of something in the model.
    """
    try:
        FORMATS[name].write(model, path)
    except Exception as error:  # the converters raise all kinds
        raise SegError(
            f"--format {name}: model {model.name} cannot be converted ({_why(error)}); "
            "take another format"
        ) from error


def load(name: str, path: Path) -> Run:
    """Load what `write` wrote, with the format's own runtime.

    Raises:
        SegError: the runtime does not take it; or later, when it runs, fails.
    """
    with _own_runtime(name):
        loaded = FORMATS[name].load(path)

    def run(images_BHWC: np.ndarray) -> np.ndarray:
        with _own_runtime(name):
            return loaded(images_BHWC)

    return run


@contextmanager
def _own_runtime(name: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # each has its own kind
        raise SegError(
            f"--format {name}: its own runtime does not run what was written ({_why(error)}); "
            "take another format"
        ) from error


def _why(error: Exception) -> str:
    """Find in a converter's pages of text the operations that it lacks."""
    lacks = re.findall(r"(?:Select|Custom) ops: (.+)", str(error))
    return f"it lacks {', '.join(lacks)}" if lacks else first_line(error)[:300]


def _write_savedmodel(model: keras.Model, path: Path) -> None:
    model.export(str(path), format="tf_saved_model", verbose=False)


def _load_savedmodel(path: Path) -> Run:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    return lambda images_BHWC: loaded.serve(images_BHWC).numpy()


def _write_onnx(model: keras.Model, path: Path) -> None:
    from tf2onnx.handler import tf_op

    tf_op("Erfc")(_Erfc)
    # With a signature, or Keras asks that the model has been called.
    model.export(str(path), format="onnx", verbose=False, input_signature=model.inputs)


class _Erfc:
    """Erfc, of which Keras makes GELU, and which tf2onnx 1.17 does not know."""

    @classmethod
    def version_9(cls, graph: Any, node: Any, **_: object) -> None:  # noqa: ANN401
        """Put 1 - Erf in its place."""
        inputs, outputs, name = node.input, node.output, node.name
        about = {"shapes": node.output_shapes, "dtypes": node.output_dtypes}
        graph.remove_node(name)
        one = graph.make_const(f"{name}_one", np.float32(1)).output[0]
        erf = graph.make_node("Erf", inputs, name=f"{name}_erf", **about).output[0]
        graph.make_node("Sub", [one, erf], outputs=outputs, name=name, **about)


def _load_onnx(path: Path) -> Run:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda images_BHWC: session.run(None, {name: images_BHWC})[0]


def _write_tflite(model: keras.Model, path: Path) -> None:
    import tensorflow as tf

    # Without TensorFlow's own operations, which an interpreter outside of it does not have.
    only = {"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]}
    model.export(str(path), format="litert", verbose=False, target_spec=only)


def _load_tflite(path: Path) -> Run:
    import tensorflow as tf

    interpreter = tf.lite.Interpreter(str(path))
    (image,), (answer,) = interpreter.get_input_details(), interpreter.get_output_details()
    allocated = None

    def run(images_BHWC: np.ndarray) -> np.ndarray:
        nonlocal allocated
        if allocated != images_BHWC.shape:
            interpreter.resize_tensor_input(image["index"], images_BHWC.shape)
            interpreter.allocate_tensors()
            allocated = images_BHWC.shape
        interpreter.set_tensor(image["index"], images_BHWC)
        interpreter.invoke()
        return interpreter.get_tensor(answer["index"])

    return run


FORMATS = {
    "savedmodel": Format(
        "saved_model",
        (),
        _write_savedmodel,
        _load_savedmodel,
        "tensorflow.saved_model.load(PATH).serve(images)",
    ),
    "onnx": Format(
        "model.onnx",
        ("onnx", "tf2onnx", "onnxruntime"),
        _write_onnx,
        _load_onnx,
        "onnxruntime.InferenceSession(PATH).run(None, {'image': images})[0]",
    ),
    "tflite": Format(
        "model.tflite",
        (),
        _write_tflite,
        _load_tflite,
        "tensorflow.lite.Interpreter(PATH).get_signature_runner()(image=images)",
    ),
}
