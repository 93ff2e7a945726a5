"""What the tests of models share: a seed, weights not drawn, a precision put back, pictures."""

import keras
import numpy as np
import pytest


@pytest.fixture(autouse=True)
def seeded():
    keras.utils.set_random_seed(0)


@pytest.fixture
def undrawn():
    """Build models without drawing their weights."""
    with keras.StatelessScope(initialize_variables=False):
        yield


@pytest.fixture
def trainable():
    """Count the weights of a model that learn."""
    return lambda model: sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


@pytest.fixture
def restored_policy():
    """Put the global precision back after a test that changes it."""
    policy = keras.config.dtype_policy()
    yield
    keras.config.set_dtype_policy(policy)


@pytest.fixture
def images_BHWC():
    """Two grey images of 16 x 32, each bright in its left half."""
    images_BHWC = np.random.default_rng(0).uniform(0, 0.3, (2, 16, 32, 1)).astype("float32")
    images_BHWC[:, :, :16] += 0.7
    return images_BHWC
