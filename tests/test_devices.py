"""Where a model lives, and what is refused."""

import keras
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
