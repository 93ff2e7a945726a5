"""Facts about `seg.losses.overlap`, against the formulas in float64 NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from scipy.special import expit, logit, softmax

from seg.losses.overlap import Dice, IoU


def dice_loss(t, p, s=1.0):
    return 1 - (2 * np.sum(t * p) + s) / (np.sum(t) + np.sum(p) + s)


def iou_loss(t, p, s=1.0):
    return 1 - (np.sum(t * p) + s) / (np.sum(t + p - t * p) + s)


BOTH = pytest.mark.parametrize(("kind", "formula"), [(Dice, dice_loss), (IoU, iou_loss)])
KIND = pytest.mark.parametrize("kind", [Dice, IoU])


@pytest.fixture
def pair():
    """Masks BHW1 of 0 and 1 of very different sizes, and probabilities."""
    rng = np.random.default_rng(0)
    t = rng.uniform(size=(4, 5, 6, 1)) < np.array([0.0, 0.1, 0.5, 0.9]).reshape(4, 1, 1, 1)
    return t.astype(float), rng.uniform(0.02, 0.98, t.shape)


@BOTH
def test_per_sample_is_the_mean_of_the_samples_losses(pair, kind, formula):
    t, p = pair
    wanted = [formula(t[i], p[i]) for i in range(4)]
    assert float(kind("loss", reduction="sample")(t, logit(p))) == pytest.approx(
        np.mean(wanted), rel=1e-5
    )


@BOTH
@pytest.mark.parametrize("smooth", [0.0, 1.0, 7.0])
def test_per_batch_is_the_formula_over_the_flattened_batch(pair, kind, formula, smooth):
    t, p = pair
    value = kind("loss", reduction="batch", smooth=smooth)(t, logit(p))
    assert float(value) == pytest.approx(formula(t, p, smooth), rel=1e-5)


@KIND
def test_sample_is_the_default(pair, kind):
    t, p = pair
    assert float(kind("loss")(t, logit(p))) == float(kind("loss", reduction="sample")(t, logit(p)))


@KIND
def test_per_sample_does_not_depend_on_how_the_batch_is_cut(pair, kind):
    t, p = pair
    loss = kind("loss", reduction="sample")
    one, three = float(loss(t[:1], logit(p[:1]))), float(loss(t[1:], logit(p[1:])))
    assert float(loss(t, logit(p))) == pytest.approx((one + 3 * three) / 4, rel=1e-5)


@KIND
def test_per_batch_depends_on_how_the_batch_is_cut(pair, kind):
    t, p = pair
    loss = kind("loss", reduction="batch")
    one, three = float(loss(t[:1], logit(p[:1]))), float(loss(t[1:], logit(p[1:])))
    assert abs(float(loss(t, logit(p))) - (one + 3 * three) / 4) > 1e-3


@BOTH
@pytest.mark.parametrize("per", ["sample", "batch"])
def test_an_empty_mask_pushes_every_logit_down(kind, formula, per):
    t, logits = tf.zeros((2, 4, 4, 1)), tf.Variable(tf.zeros((2, 4, 4, 1)))
    with tf.GradientTape() as tape:
        value = kind("loss", reduction=per)(t, logits)
    n = 16 if per == "sample" else 32
    assert float(value) == pytest.approx(formula(np.zeros(n), np.full(n, 0.5)), rel=1e-5)
    assert (tape.gradient(value, logits).numpy() > 1e-4).all()


@KIND
def test_an_empty_prediction_of_an_empty_mask_costs_nothing(kind):
    value = kind("loss")(np.zeros((2, 4, 4, 1)), np.full((2, 4, 4, 1), -30.0))
    assert float(value) == pytest.approx(0, abs=1e-6)


@KIND
@pytest.mark.parametrize("per", ["sample", "batch"])
def test_a_perfect_prediction_costs_nothing(pair, kind, per):
    t, _ = pair
    assert float(kind("loss", reduction=per)(t, 60 * t - 30)) == pytest.approx(0, abs=1e-6)


@BOTH
@pytest.mark.parametrize("sign", [-1, 1])
def test_extreme_logits_give_the_loss_of_a_hard_mask(pair, kind, formula, sign):
    t, _ = pair
    value = kind("loss", reduction="batch")(t, sign * 1e4 * (2 * t - 1))
    assert float(value) == pytest.approx(formula(t, t if sign > 0 else 1 - t), rel=1e-5, abs=1e-6)


@BOTH
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("per", ["sample", "batch"])
def test_half_precision_logits_of_large_images_give_the_value_in_float32(kind, formula, dtype, per):
    """A sum of 65 536 pixels overflows float16 and stops growing at 256 in bfloat16."""
    t = np.ones((2, 256, 256, 1))
    logits = ops.cast(np.random.default_rng(1).normal(1, 2, t.shape), dtype)
    value = kind("loss", reduction=per)(ops.cast(t, dtype), logits)
    p = expit(np.array(ops.cast(logits, "float32"), float))
    wanted = formula(t, p) if per == "batch" else (formula(t[0], p[0]) + formula(t[1], p[1])) / 2
    assert keras.backend.standardize_dtype(value.dtype) == "float32"
    assert float(value) == pytest.approx(wanted, rel=1e-4)


@KIND
def test_other_ways_of_averaging_are_refused(kind):
    with pytest.raises(ValueError, match="loss.reduction must be sample or batch. Received: image"):
        kind("loss", reduction="image")


@KIND
def test_serialised_and_back_it_is_the_same(pair, kind):
    t, p = pair
    loss = kind("mine", reduction="batch", smooth=3.0)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert type(again) is kind
    assert (again.name, again.per, again.smooth) == ("mine", "batch", 3.0)
    assert float(again(t, logit(p))) == float(loss(t, logit(p)))


# Several classes


def one_hot(truth_BHW1, n):
    return np.eye(n)[truth_BHW1[..., 0].astype(int)]


@pytest.fixture
def four():
    """Indices BHW1 of four classes, the last in one sample only, and logits BHWN."""
    rng = np.random.default_rng(0)
    t = rng.integers(0, 3, (3, 5, 6, 1))
    t[1, :2] = 3
    return t.astype(float), rng.normal(0, 2, (3, 5, 6, 4))


@BOTH
@pytest.mark.parametrize("per", ["sample", "batch"])
def test_of_several_classes_it_is_the_mean_over_those_that_are_not_background(
    four, kind, formula, per
):
    t, logits = four
    truth, p = one_hot(t, 4), softmax(logits, axis=-1)
    parts = [np.s_[i] for i in range(3)] if per == "sample" else [np.s_[:]]
    wanted = [formula(truth[part][..., c], p[part][..., c]) for part in parts for c in (1, 2, 3)]
    value = kind("loss", reduction=per)(t, logits)
    assert float(value) == pytest.approx(np.mean(wanted), rel=1e-5)


@KIND
@pytest.mark.parametrize("per", ["sample", "batch"])
def test_two_logits_of_which_the_background_s_is_0_are_one_logit(pair, kind, per):
    t, p = pair
    z = logit(p)
    two = np.concatenate([np.zeros_like(z), z], axis=-1)
    loss = kind("loss", reduction=per)
    assert float(loss(t, two)) == pytest.approx(float(loss(t, z)), rel=1e-6)


def test_dice_of_two_pixels_and_three_classes_by_hand():
    """Both are class 2, one is given it for sure, the other class 1.

    Class 1: 1 - 1 / (0 + 1 + 1) = 1/2; class 2: 1 - (2 + 1) / (2 + 1 + 1) = 1/4.
    """
    t = np.array([2.0, 2.0]).reshape(1, 1, 2, 1)
    logits = np.array([[-50.0, -50, 50], [-50, 50, -50]]).reshape(1, 1, 2, 3)
    assert float(Dice("dice")(t, logits)) == pytest.approx(3 / 8)


@KIND
def test_a_perfect_prediction_of_several_classes_costs_nothing(four, kind):
    t, _ = four
    assert float(kind("loss")(t, 60 * one_hot(t, 4))) == pytest.approx(0, abs=1e-6)


@KIND
def test_one_logit_gives_bit_for_bit_the_formula_on_its_sigmoid(pair, kind):
    t, z = (ops.cast(x, "float32") for x in (pair[0], logit(pair[1])))
    p = ops.sigmoid(z)
    shared, true, predicted = (ops.sum(x, axis=(1, 2, 3)) for x in (t * p, t, p))
    wanted = 1 - kind("loss").ratio(shared, true, predicted)
    np.testing.assert_array_equal(np.array(kind("loss").call(t, z)), np.array(wanted))
