"""Facts about `seg.losses.mixture`, and about every loss that a YAML offers."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from hydra.utils import instantiate
from keras import ops
from omegaconf import OmegaConf
from scipy.ndimage import gaussian_filter
from scipy.special import logit

from seg.config import conf_dir
from seg.losses.mixture import Mixture
from seg.losses.overlap import Dice, IoU
from seg.losses.pixel import BinaryCrossentropy

NAMES = sorted(path.stem for path in Path(conf_dir(), "loss").glob("*.yaml"))


def from_yaml(name, *overrides):
    node = OmegaConf.load(Path(conf_dir(), "loss", f"{name}.yaml"))
    return instantiate(OmegaConf.merge(node, *overrides), _convert_="all")


@pytest.fixture
def pair():
    """Masks BHW1 of 0 and 1, one of them nearly empty, and probabilities."""
    rng = np.random.default_rng(0)
    t = rng.uniform(size=(3, 16, 16, 1)) < np.array([0.02, 0.4, 0.8]).reshape(3, 1, 1, 1)
    return t.astype(float), rng.uniform(0.05, 0.95, t.shape)


def bce(t, p):
    return -np.mean(t * np.log(p) + (1 - t) * np.log(1 - p))


def dice(t, p):
    return 1 - (2 * np.sum(t * p) + 1) / (np.sum(t) + np.sum(p) + 1)


def iou(t, p):
    return 1 - (np.sum(t * p) + 1) / (np.sum(t + p - t * p) + 1)


def ssim(t, p):
    t, p = t[..., 0], p[..., 0]
    mt, mp, tt, pp, tp = (
        gaussian_filter(x, 1.5, radius=5)[5:-5, 5:-5] for x in (t, p, t * t, p * p, t * p)
    )
    c1, c2 = 0.01**2, 0.03**2
    above = (2 * mt * mp + c1) * (2 * (tp - mt * mp) + c2)
    return 1 - np.mean(above / ((mt**2 + mp**2 + c1) * (tt - mt**2 + pp - mp**2 + c2)))


def mean_over_samples(formula, t, p):
    return np.mean([formula(t[i], p[i]) for i in range(len(t))])


FORMULAS = {
    "bce": bce,
    "dice": dice,
    "iou": iou,
    "bce_dice": lambda t, p: (bce(t, p) + dice(t, p)) / 2,
    "bce_iou": lambda t, p: (bce(t, p) + iou(t, p)) / 2,
    "basnet_hybrid": lambda t, p: (bce(t, p) + ssim(t, p) + iou(t, p)) / 3,
}


@pytest.mark.parametrize("name", NAMES)
def test_every_yaml_gives_the_mean_over_samples_of_its_formula(pair, name):
    t, p = pair
    value = from_yaml(name)(t, logit(p))
    assert tuple(value.shape) == ()
    assert float(value) == pytest.approx(mean_over_samples(FORMULAS[name], t, p), rel=1e-4)


def test_bce_dice_per_batch_is_that_of_the_reference(pair):
    t, p = pair
    both = {
        "terms": {"bce": {"loss": {"reduction": "batch"}}, "dice": {"loss": {"reduction": "batch"}}}
    }
    value = from_yaml("bce_dice", both)(t, logit(p))
    assert float(value) == pytest.approx((bce(t, p) + dice(t, p)) / 2, rel=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_every_yaml_carries_its_own_name(name):
    assert from_yaml(name).name == name


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_every_yaml_is_finite_for_half_precision_and_extreme_logits(name, dtype):
    t = np.zeros((2, 16, 16, 1))
    t[0, :8] = 1
    logits = ops.cast(np.where(np.indices(t.shape)[2] % 2, 1e4, -1e4), dtype)
    value = from_yaml(name)(ops.cast(t, dtype), logits)
    assert keras.backend.standardize_dtype(value.dtype) == "float32"
    assert np.isfinite(float(value))


@pytest.mark.parametrize("name", NAMES)
def test_every_yaml_has_a_finite_gradient_that_is_not_zero_for_an_empty_mask(name):
    logits = tf.Variable(tf.zeros((2, 16, 16, 1)))
    with tf.GradientTape() as tape:
        value = from_yaml(name)(tf.zeros((2, 16, 16, 1)), logits)
    gradient = tape.gradient(value, logits).numpy()
    assert np.isfinite(float(value))
    assert np.isfinite(gradient).all()
    assert (gradient > 0).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_model_compiled_with_it_is_saved_and_loaded_compiled_in_safe_mode(pair, name, tmp_path):
    t, p = pair
    inputs = keras.Input((16, 16, 1))
    model = keras.Model(inputs, keras.layers.Conv2D(1, 1)(inputs))
    model.compile("sgd", from_yaml(name))
    before = model.evaluate(p, t, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True, compile=True)
    assert keras.saving.serialize_keras_object(loaded.loss) == (
        keras.saving.serialize_keras_object(from_yaml(name))
    )
    assert loaded.evaluate(p, t, verbose=0) == pytest.approx(before, rel=1e-6)


def test_a_mixture_is_the_weighted_sum(pair):
    t, p = pair
    mixture = Mixture(
        {
            "a": {"weight": 0.3, "loss": BinaryCrossentropy("a")},
            "b": {"weight": 2.0, "loss": IoU("b")},
        }
    )
    wanted = 0.3 * bce(t, p) + 2.0 * mean_over_samples(iou, t, p)
    assert float(mixture(t, logit(p))) == pytest.approx(wanted, rel=1e-5)


def test_a_term_per_batch_and_one_per_sample_add_up(pair):
    t, p = pair
    mixture = Mixture(
        {
            "a": {"weight": 1.0, "loss": Dice("a", reduction="batch")},
            "b": {"weight": 1.0, "loss": Dice("b", reduction="sample")},
        }
    )
    wanted = dice(t, p) + mean_over_samples(dice, t, p)
    assert float(mixture(t, logit(p))) == pytest.approx(wanted, rel=1e-5)


def test_a_term_of_none_is_left_out(pair):
    t, p = pair
    value = from_yaml("bce_dice", {"terms": {"bce": None}})(t, logit(p))
    assert float(value) == pytest.approx(0.5 * mean_over_samples(dice, t, p), rel=1e-5)


@pytest.mark.parametrize("terms", [{}, {"bce": None, "dice": None}])
def test_a_mixture_of_nothing_is_refused(terms):
    with pytest.raises(ValueError, match="loss.terms must have at least one term. Received: none"):
        Mixture(terms)


def test_serialised_and_back_the_terms_are_the_same(pair):
    t, p = pair
    mixture = Mixture(
        {
            "a": {"weight": 0.3, "loss": Dice("a", reduction="batch", smooth=2.0)},
            "b": {"weight": 0.7, "loss": BinaryCrossentropy("b")},
        },
        name="mine",
    )
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(mixture))
    assert again.name == "mine"
    assert [(key, term["weight"]) for key, term in again.terms.items()] == [("a", 0.3), ("b", 0.7)]
    assert again.terms["a"]["loss"].get_config() == {
        "name": "a",
        "reduction": "batch",
        "smooth": 2.0,
    }
    assert float(again(t, logit(p))) == float(mixture(t, logit(p)))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_every_yaml_teaches_several_classes(name, dtype):
    """A step against the gradient raises the logit of each pixel's own class."""
    index = np.zeros((2, 16, 16, 1))
    index[:, 2:8, 2:8], index[:, 9:14, 9:14] = 1, 2
    logits = tf.Variable(tf.zeros((2, 16, 16, 3)))
    with tf.GradientTape() as tape:
        value = from_yaml(name)(ops.cast(index, dtype), ops.cast(logits, dtype))
    gradient = np.take_along_axis(tape.gradient(value, logits).numpy(), index.astype(int), axis=-1)
    assert np.isfinite(float(value))
    assert (gradient[index > 0] < 0).all()
