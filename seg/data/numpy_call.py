"""NumPy functions called by TensorFlow's threads.

OpenCV and NumPy release Python's lock while they work, so that calls run side by side.
"""

from __future__ import annotations

import atexit
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
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
    mask_shape, calls = (*image_shape[:-1], 1), _calls()

    def call(*arrays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with calls.counted():
            if calls.wanted:
                return function(*arrays)
            return np.zeros(image_shape, np.float32), np.zeros(mask_shape, np.float32)

    # stateless, or TensorFlow would call it one by one where determinism is asked for
    image, mask = tf.numpy_function(call, inputs, [tf.float32, tf.float32], stateful=False)
    return tf.ensure_shape(image, image_shape), tf.ensure_shape(mask, mask_shape)


class _Calls:
    """Counts calls, and keeps Python alive until no thread of TensorFlow is about to make one.

    A stream that is not read to its end fills its buffers. If Python ended meanwhile, the calls
    under way would wait for its lock for ever, and the process for them.
    """

    def __init__(self) -> None:
        self.begun, self.under_way, self.wanted = 0, 0, True
        self.lock = threading.Lock()
        atexit.register(self.end)

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count what is done within as a call."""
        with self.lock:
            self.begun, self.under_way = self.begun + 1, self.under_way + 1
        try:
            yield
        finally:
            with self.lock:
                self.under_way -= 1

    def end(self) -> None:
        """Have calls answered with zeros, until none is under way and none comes."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # they would end the waiting, and not the calls
        self.wanted, seen = False, -1
        while self.under_way or seen != self.begun:
            seen = self.begun
            time.sleep(QUIET_S)


_calls = cache(_Calls)
