"""Facts about `seg.losses.pixel`, against the definition in float64 NumPy."""

import keras
import numpy as np
import pytest
from keras import ops
from scipy.special import expit, logit, softmax

from seg.losses.pixel import BinaryCrossentropy


@pytest.fixture
def pair():
    """Masks BHW1 of 0 and 1, and probabilities."""
    rng = np.random.default_rng(0)
    return rng.integers(0, 2, (4, 5, 6, 1)).astype(float), rng.uniform(0.05, 0.95, (4, 5, 6, 1))


def by_definition(t, p):
    return -np.mean(t * np.log(p) + (1 - t) * np.log(1 - p))


@pytest.mark.parametrize("per", ["sample", "batch"])
def test_bce_is_the_mean_over_all_pixels(pair, per):
    t, p = pair
    value = BinaryCrossentropy("bce", reduction=per)(t, logit(p))
    assert float(value) == pytest.approx(by_definition(t, p), rel=1e-5)


@pytest.mark.parametrize(("per", "shape"), [("sample", (4,)), ("batch", (1,))])
def test_call_gives_a_value_per_sample_or_one_per_batch(pair, per, shape):
    t, p = pair
    values = BinaryCrossentropy("bce", reduction=per).call(
        ops.cast(t, "float32"), ops.cast(logit(p), "float32")
    )
    assert tuple(values.shape) == shape
    if per == "sample":
        wanted = [by_definition(t[i], p[i]) for i in range(4)]
        np.testing.assert_allclose(np.array(values), wanted, rtol=1e-5)


def test_a_coin_toss_costs_log_two():
    value = BinaryCrossentropy("bce")(np.ones((1, 2, 2, 1)), np.zeros((1, 2, 2, 1)))
    assert float(value) == pytest.approx(np.log(2))


@pytest.mark.parametrize(
    ("truth", "sign", "wanted"), [(1, 1, 0), (0, -1, 0), (0, 1, 1e4), (1, -1, 1e4)]
)
def test_extreme_logits_cost_nothing_where_right_and_themselves_where_wrong(truth, sign, wanted):
    t = np.full((1, 3, 3, 1), truth, float)
    value = BinaryCrossentropy("bce")(t, np.full((1, 3, 3, 1), sign * 1e4))
    assert float(value) == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("per", ["sample", "batch"])
def test_half_precision_logits_of_large_images_give_the_value_in_float32(dtype, per):
    rng = np.random.default_rng(1)
    t = rng.integers(0, 2, (2, 256, 256, 1)).astype(float)
    logits = ops.cast(rng.normal(0, 5, t.shape), dtype)
    value = BinaryCrossentropy("bce", reduction=per)(ops.cast(t, dtype), logits)
    seen = np.array(ops.cast(logits, "float32"), float)
    assert keras.backend.standardize_dtype(value.dtype) == "float32"
    assert float(value) == pytest.approx(by_definition(t, expit(seen)), rel=1e-4)


def test_other_ways_of_averaging_are_refused():
    with pytest.raises(ValueError, match="loss.reduction must be sample or batch. Received: pixel"):
        BinaryCrossentropy("bce", reduction="pixel")


def test_serialised_and_back_it_is_the_same():
    loss = BinaryCrossentropy("mine", reduction="batch")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert type(again) is BinaryCrossentropy
    assert (again.name, again.per) == ("mine", "batch")


@pytest.mark.parametrize("per", ["sample", "batch"])
def test_of_several_classes_it_is_the_categorical_cross_entropy(per):
    rng = np.random.default_rng(0)
    t, logits = rng.integers(0, 4, (3, 5, 6, 1)), rng.normal(0, 3, (3, 5, 6, 4))
    p = np.take_along_axis(softmax(logits, axis=-1), t, axis=-1)
    value = BinaryCrossentropy("bce", reduction=per)(t.astype(float), logits)
    assert float(value) == pytest.approx(-np.log(p).mean(), rel=1e-5)


@pytest.mark.parametrize("per", ["sample", "batch"])
def test_two_logits_of_which_the_background_s_is_0_are_one_logit(pair, per):
    t, p = pair
    z = logit(p)
    two = np.concatenate([np.zeros_like(z), z], axis=-1)
    loss = BinaryCrossentropy("bce", reduction=per)
    assert float(loss(t, two)) == pytest.approx(float(loss(t, z)), rel=1e-6)


def test_three_classes_that_are_all_the_same_cost_log_three():
    value = BinaryCrossentropy("bce")(np.full((1, 2, 2, 1), 2.0), np.full((1, 2, 2, 3), 7.0))
    assert float(value) == pytest.approx(np.log(3))


@pytest.mark.parametrize(("truth", "wanted"), [(0, 2e4), (1, 0)])
def test_extreme_logits_of_several_classes_cost_their_difference(truth, wanted):
    logits = np.tile([-1e4, 1e4, 0], (1, 3, 3, 1))
    value = BinaryCrossentropy("bce")(np.full((1, 3, 3, 1), truth, float), logits)
    assert float(value) == pytest.approx(wanted, abs=1e-6)
