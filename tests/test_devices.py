"""Where a model lives, and what is refused."""

import time

import keras
import numpy as np
import pytest
import tensorflow as tf

from seg import devices
from seg.contracts import SegError


def test_one_device_needs_no_distribution():
    strategy = devices.strategy("cpu", batch_size=3)
    assert strategy.num_replicas_in_sync == 1
    assert devices.describe(strategy) == "CPU:0"


@pytest.mark.skipif(bool(tf.config.list_physical_devices("GPU")), reason="has a GPU")
@pytest.mark.parametrize("asked", ["gpu", "gpu:2"])
def test_a_gpu_that_is_not_there_is_refused(asked):
    with pytest.raises(SegError, match=f"trainer.devices={asked}: 0 GPUs found"):
        devices.strategy(asked, batch_size=2)


def test_virtual_devices_come_too_late_once_the_process_has_computed():
    tf.zeros(1)
    with pytest.raises(SegError, match="run the jobs as processes of their own"):
        devices.strategy("cpu:3", batch_size=3)


def test_the_variable_of_tensorflow_for_several_machines_is_refused_in_words(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", '{"cluster": {"worker": ["a:1", "b:1"]}}')
    with pytest.raises(SegError, match=r"TF_CONFIG: .*trainer.workers="):
        devices.strategy("cpu", batch_size=2)


def test_precision_is_that_of_the_layers_to_come():
    try:
        devices.set_numerics("mixed_bfloat16", deterministic=False)
        assert keras.layers.Dense(1).compute_dtype == "bfloat16"
    finally:
        devices.set_numerics("float32", deterministic=False)
    assert keras.layers.Dense(1).compute_dtype == "float32"


def held(tensor):
    """Read a tensor slowly, so that its buffer is not free for another's result."""

    def slowly(values):
        time.sleep(0.1)
        return values

    return tf.numpy_function(slowly, [tensor], tf.float32)


@tf.function
def added(minus, slow):
    """Add three terms, of which the slow ones are read meanwhile."""
    terms = [-minus[i] for i in range(3)]
    return terms[0] + terms[1] + terms[2], [held(terms[i]) for i in slow]


@tf.function
def accumulated(minus, slow):
    """Differentiate by a tensor that is used three times, with these terms as gradients."""
    read = []

    def used(x, i):
        def gradient(_):
            term = -minus[i]
            read.extend([held(term)] if i in slow else [])
            return term

        return tf.custom_gradient(lambda x: (tf.identity(x), gradient))(x)

    x = tf.zeros(1)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = used(x, 0) + used(x, 1) + used(x, 2)
    return tape.gradient(y, x), read


@pytest.mark.parametrize("total", [added, accumulated])
def test_three_terms_are_added_in_one_order_whatever_else_is_computed(total):
    """In float32, each two of these added first give another sum."""
    devices.set_numerics("float32", deterministic=True)
    minus = -tf.constant([[3.8], [4.6], [-9.9]])
    sums = {total(minus, slow)[0].numpy().item() for slow in [(), (0, 1), (0, 2), (1, 2)]}
    assert len(sums) == 1


def test_a_loop_learns_what_its_steps_written_one_by_one_learn():
    """A loop keeps lists of tensors, which are added too where gradients meet."""
    devices.set_numerics("float32", deterministic=True)
    rng = np.random.default_rng(0)
    x, y = rng.random((4, 5, 2), dtype="float32"), rng.random((4, 3), dtype="float32")
    learned = []
    for unroll in (False, True):
        layer = keras.layers.SimpleRNN(3, unroll=unroll)
        model = keras.Sequential([keras.Input((5, 2)), keras.layers.Dense(2), layer])
        model.set_weights([np.full(w.shape, 0.1, "float32") for w in model.get_weights()])
        model.compile(keras.optimizers.SGD(1.0), "mse")
        model.train_on_batch(x, y)
        learned.append(np.concatenate([w.ravel() for w in model.get_weights()]))
    np.testing.assert_allclose(*learned, rtol=1e-5)
