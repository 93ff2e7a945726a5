"""Facts about `seg.losses.structural`, against the definition with SciPy's own Gaussian."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from scipy.ndimage import gaussian_filter
from scipy.special import expit, logit, softmax

from seg.losses.structural import SSIM

C1, C2 = 0.01**2, 0.03**2


def ssim_loss(t_HW, p_HW, window=11, sigma=1.5):
    """1 - mean SSIM (Wang et al. 2004, eq. 13) where the window lies inside the picture."""
    r = window // 2

    def blur(x_HW):
        return gaussian_filter(x_HW, sigma, radius=r)[r : x_HW.shape[0] - r, r : x_HW.shape[1] - r]

    mt, mp = blur(t_HW), blur(p_HW)
    vt, vp, cov = blur(t_HW**2) - mt**2, blur(p_HW**2) - mp**2, blur(t_HW * p_HW) - mt * mp
    ssim = (2 * mt * mp + C1) * (2 * cov + C2) / ((mt**2 + mp**2 + C1) * (vt + vp + C2))
    return 1 - ssim.mean()


@pytest.fixture
def pair():
    """Two different masks of a box BHW1, not square, and noisy probabilities of them."""
    t = np.zeros((2, 18, 25, 1))
    t[0, 4:11, 6:20], t[1, 9:16, 2:9] = 1, 1
    return t, np.clip(0.7 * t + np.random.default_rng(0).uniform(0.02, 0.28, t.shape), 0, 1)


def wanted(t, p, **window):
    return np.mean([ssim_loss(t[i, ..., 0], p[i, ..., 0], **window) for i in range(len(t))])


@pytest.mark.parametrize("per", ["sample", "batch"])
def test_ssim_is_that_of_the_definition(pair, per):
    t, p = pair
    assert float(SSIM("ssim", reduction=per)(t, logit(p))) == pytest.approx(wanted(t, p), rel=1e-4)


def test_window_and_sigma_are_those_given(pair):
    t, p = pair
    value = float(SSIM("ssim", window=7, sigma=0.8)(t, logit(p)))
    assert value == pytest.approx(wanted(t, p, window=7, sigma=0.8), rel=1e-4)


def test_each_sample_has_its_own_value(pair):
    t, p = pair
    values = SSIM("ssim").call(ops.cast(t, "float32"), ops.cast(logit(p), "float32"))
    one_by_one = [ssim_loss(t[i, ..., 0], p[i, ..., 0]) for i in range(2)]
    np.testing.assert_allclose(np.array(values), one_by_one, rtol=1e-4)


def test_a_perfect_prediction_costs_nothing(pair):
    t, _ = pair
    assert float(SSIM("ssim")(t, 60 * t - 30)) == pytest.approx(0, abs=1e-5)


def test_a_full_mask_predicted_empty_costs_one_less_the_constant_by_hand():
    """Means 1 and 0, no variance: SSIM = C1 / (1 + C1)."""
    value = SSIM("ssim")(np.ones((1, 12, 12, 1)), np.full((1, 12, 12, 1), -1e4))
    assert float(value) == pytest.approx(1 - C1 / (1 + C1), abs=1e-4)


def test_extreme_logits_give_the_loss_of_a_hard_mask(pair):
    t, _ = pair
    value = SSIM("ssim")(t, -1e4 * (2 * t - 1))
    assert float(value) == pytest.approx(wanted(t, 1 - t), rel=1e-4)
    assert float(value) > 1


@pytest.mark.parametrize("level", [0.0, -1e4])
def test_an_empty_mask_has_a_finite_gradient(level):
    logits = tf.Variable(tf.fill((1, 12, 12, 1), level))
    with tf.GradientTape() as tape:
        value = SSIM("ssim")(tf.zeros((1, 12, 12, 1)), logits)
    gradient = tape.gradient(value, logits).numpy()
    assert np.isfinite(gradient).all()
    assert (gradient.max() > 0) == (level == 0)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_logits_of_large_images_give_the_value_in_float32(dtype):
    rng = np.random.default_rng(1)
    t = np.zeros((1, 256, 256, 1))
    t[0, 40:200, 70:180] = 1
    logits = ops.cast(8 * t - 4 + rng.normal(size=t.shape), dtype)
    value = SSIM("ssim")(ops.cast(t, dtype), logits)
    p = expit(np.array(ops.cast(logits, "float32"), float))
    assert keras.backend.standardize_dtype(value.dtype) == "float32"
    assert float(value) == pytest.approx(wanted(t, p), rel=1e-3)


def test_serialised_and_back_it_is_the_same(pair):
    t, p = pair
    loss = SSIM("mine", reduction="batch", window=5, sigma=0.7)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert type(again) is SSIM
    assert again.get_config() == {"name": "mine", "reduction": "batch", "window": 5, "sigma": 0.7}
    assert float(again(t, logit(p))) == float(loss(t, logit(p)))


def test_of_several_classes_it_is_the_mean_over_those_that_are_not_background(pair):
    """Class 1 as in the pair; class 2 is the box of the other sample."""
    t, _ = pair
    index = np.where(t == 1, 1, 2 * (t[::-1] == 1))
    logits = np.random.default_rng(1).normal(0, 1, (*t.shape[:3], 3)) + 3 * np.eye(3)[index[..., 0]]
    p = softmax(logits, axis=-1)
    each = [wanted((index == c).astype(float), p[..., c : c + 1]) for c in (1, 2)]
    value = float(SSIM("ssim")(index.astype(float), logits))
    assert value == pytest.approx(np.mean(each), rel=1e-4)


def test_two_logits_of_which_the_background_s_is_0_are_one_logit(pair):
    t, p = pair
    z = logit(np.clip(p, 0.01, 0.99))
    two = np.concatenate([np.zeros_like(z), z], axis=-1)
    assert float(SSIM("ssim")(t, two)) == pytest.approx(float(SSIM("ssim")(t, z)), rel=1e-4)
