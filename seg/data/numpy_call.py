"""NumPy functions called by TensorFlow's threads.

OpenCV and NumPy release Python's lock while they work, so that calls run side by side.
"""

from __future__ import annotations

import atexit
import signal
import time
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import tensorflow as tf

QUIET_S = 0.05


def numpy_call(
    function: Callable[..., tuple[np.ndarray, np.ndarray]],
    inputs: Sequence[tf.Tensor],
    image_shape: tuple[int, ...],
) -> tuple[tf.Tensor, tf.Tensor]:
    """Call a function of NumPy arrays from a graph; equal inputs must give equal results.

    The function, and what it holds, lives until `keras.utils.clear_session`.

    Returns:
        an image of `image_shape` and a mask of that shape with one channel, float32.
    """
    mask_shape, at_exit = (*image_shape[:-1], 1), _at_exit()

    def call(*arrays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if at_exit.begin():
            return function(*arrays)
        return np.zeros(image_shape, np.float32), np.zeros(mask_shape, np.float32)

    # stateless, or TensorFlow would call it one by one where determinism is asked for
    image, mask = tf.numpy_function(call, inputs, [tf.float32, tf.float32], stateful=False)
    return tf.ensure_shape(image, image_shape), tf.ensure_shape(mask, mask_shape)


class _Exit:
    """Keeps Python alive until no thread of TensorFlow is about to call it.

    A stream that is not read to its end fills its buffers. If Python ended meanwhile, the calls
    under way would wait for its lock for ever, and the process for them.
    """

    def __init__(self) -> None:
        self.calls, self.ending = 0, False
        atexit.register(self.end)

    def begin(self) -> bool:
        """Count a call; return whether there is still a use for its result."""
        self.calls += 1
        return not self.ending

    def end(self) -> None:
        """Answer calls with zeros, until none comes."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # they would end the waiting, and not the calls
        self.ending, seen = True, -1
        while seen != self.calls:
            seen = self.calls
            time.sleep(QUIET_S)


_at_exit = cache(_Exit)
