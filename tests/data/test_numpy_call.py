"""Facts about `seg.data.numpy_call`: what becomes of calls when Python ends."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from seg.data.numpy_call import numpy_call

LEFT_OPEN = """
import atexit, os, signal, sys, threading, time
import numpy as np
import tensorflow as tf
from seg.data.numpy_call import numpy_call

def slow(k):
    until = time.perf_counter() + (0.3 if sys.argv[1] == "is slow" else 0.005)
    while time.perf_counter() < until:
        if sys.argv[1] == "fails" and k > 20:
            raise ValueError("bad")
    return np.full((2, 2, 1), k, np.float32), np.zeros((2, 2, 1), np.float32)

numbers = tf.data.Dataset.counter()
stream = iter(
    numbers.map(lambda k: numpy_call(slow, [k], (2, 2, 1)), tf.data.AUTOTUNE).batch(2).prefetch(8)
)
next(stream)
if sys.argv[1] == "is interrupted":
    atexit.register(threading.Timer(0.01, lambda: os.kill(os.getpid(), signal.SIGINT)).start)
if sys.argv[1] == "fails":
    for _ in range(30):
        next(stream)
print("end")
"""


def test_a_function_of_arrays_gives_tensors_of_known_shape():
    def halves(image, k):
        return image / 2, np.full((2, 3, 1), k, np.float32)

    images = tf.ones((4, 2, 3, 3))
    dataset = tf.data.Dataset.from_tensor_slices((images, [1, 2, 3, 4])).map(
        lambda image, k: numpy_call(halves, [image, k], (2, 3, 3))
    )
    assert [spec.shape for spec in dataset.element_spec] == [(2, 3, 3), (2, 3, 1)]
    pairs = list(dataset.as_numpy_iterator())
    assert all((image == 0.5).all() for image, _ in pairs)
    assert [mask[0, 0, 0] for _, mask in pairs] == [1, 2, 3, 4]


@pytest.mark.parametrize("how", ["ends", "is interrupted", "is slow", "fails"])
def test_a_process_ends_though_its_stream_was_not_read_to_the_end(how):
    """Without a word to TensorFlow's threads, five of six such processes hang for ever."""
    done = subprocess.run(
        [sys.executable, "-c", LEFT_OPEN, how], capture_output=True, text=True, timeout=100
    )
    assert (done.returncode, done.stdout) == ((1, "") if how == "fails" else (0, "end\n"))
    assert ("ValueError: bad" in done.stderr) == (how == "fails")
