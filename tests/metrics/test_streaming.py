"""Facts about `seg.metrics.streaming`, by hand."""

from pathlib import Path

import keras
import numpy as np
import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf
from scipy.special import expit

from seg.config import conf_dir
from seg.metrics.streaming import DiceCoef, PooledAccuracy, PooledSensitivity, PooledSpecificity

POOLED = (PooledAccuracy, PooledSensitivity, PooledSpecificity)

# Eight pixels: 2 hits, 1 miss, 1 false alarm, 4 rightly left.
TRUTH = np.array([1, 1, 1, 0, 0, 0, 0, 0], "float32").reshape(1, 2, 4, 1)
LOGITS = np.array([3, 1, -1, 2, -1, -2, -3, -4], "float32").reshape(1, 2, 4, 1)
# Eight pixels: 1 hit, no miss, 3 false alarms, 4 rightly left.
TRUTH_2 = np.array([1, 0, 0, 0, 0, 0, 0, 0], "float32").reshape(1, 2, 4, 1)
LOGITS_2 = np.array([5, 5, 5, 5, -5, -5, -5, -5], "float32").reshape(1, 2, 4, 1)


def value(metric, *batches):
    for truth, logits in batches:
        metric.update_state(truth, logits)
    return float(metric.result())


@pytest.mark.parametrize(("kind", "wanted"), zip(POOLED, (6 / 8, 2 / 3, 4 / 5), strict=True))
def test_one_batch_has_the_value_by_hand(kind, wanted):
    assert value(kind("curve"), (TRUTH, LOGITS)) == pytest.approx(wanted)


@pytest.mark.parametrize(("kind", "wanted"), zip(POOLED, (11 / 16, 3 / 4, 8 / 12), strict=True))
def test_pixels_of_two_batches_are_pooled_not_their_ratios_averaged(kind, wanted):
    assert value(kind("curve"), (TRUTH, LOGITS), (TRUTH_2, LOGITS_2)) == pytest.approx(wanted)


@pytest.mark.parametrize("kind", [*POOLED, DiceCoef])
def test_reset_forgets_what_was_seen(kind):
    metric = kind("curve")
    value(metric, (TRUTH_2, LOGITS_2))
    metric.reset_state()
    assert value(metric, (TRUTH, LOGITS)) == value(kind("fresh"), (TRUTH, LOGITS))


@pytest.mark.parametrize(("logit", "found"), [(0.0, 1), (1e-6, 1), (-1e-6, 0)])
def test_a_pixel_counts_as_found_from_logit_zero_on(logit, found):
    batch = np.ones((1, 1, 1, 1)), np.full((1, 1, 1, 1), logit, "float32")
    assert value(PooledSensitivity("curve"), batch) == found


@pytest.mark.parametrize("kind", POOLED)
def test_before_the_first_batch_the_value_is_zero(kind):
    assert float(kind("curve").result()) == 0


def test_sensitivity_without_target_is_zero_and_not_nan():
    assert value(PooledSensitivity("curve"), (0 * TRUTH, LOGITS)) == 0


def test_masks_of_whole_numbers_count_like_floats():
    batch = TRUTH.astype("uint8"), LOGITS
    assert value(PooledAccuracy("curve"), batch) == pytest.approx(6 / 8)
    assert value(DiceCoef(), batch) == value(DiceCoef(), (TRUTH, LOGITS))


def soft_dice(t, logits, s):
    p = expit(logits.astype(float))
    return (2 * np.sum(t * p) + s) / (np.sum(t) + np.sum(p) + s)


@pytest.mark.parametrize("smooth", [1.0, 4.0])
def test_dice_coef_is_the_mean_over_batches_of_the_soft_dice_of_each_whole_batch(smooth):
    first = np.concatenate([TRUTH, TRUTH_2]), np.concatenate([LOGITS, LOGITS_2])
    second = 1 - first[0], first[1]
    wanted = (soft_dice(*first, smooth) + soft_dice(*second, smooth)) / 2
    assert value(DiceCoef(smooth=smooth), first, second) == pytest.approx(wanted, rel=1e-5)


def test_dice_coef_of_half_precision_logits_is_computed_in_float32():
    """A sum of 65 536 pixels overflows float16."""
    truth = np.ones((1, 256, 256, 1), "float16")
    metric = DiceCoef()
    assert value(metric, (truth, np.full(truth.shape, 20, "float16"))) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("metric", [DiceCoef("d", smooth=3.0), *(kind("p") for kind in POOLED)])
def test_serialised_and_back_it_is_the_same(metric):
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(metric))
    assert type(again) is type(metric)
    assert again.get_config() == metric.get_config()
    assert value(again, (TRUTH, LOGITS)) == value(metric, (TRUTH, LOGITS))


def test_a_compiled_model_reports_every_metric_of_the_yaml_over_batches_of_equal_size():
    node = OmegaConf.load(Path(conf_dir(), "metrics", "binary.yaml"))
    metrics = list(instantiate(node, _convert_="all").values())
    inputs = keras.Input((2, 4, 1))
    model = keras.Model(inputs, keras.layers.Activation("linear")(inputs))
    model.compile(loss="mse", metrics=metrics)
    x, y = np.concatenate([LOGITS, LOGITS_2]), np.concatenate([TRUTH, TRUTH_2])
    report = model.evaluate(x, y, batch_size=1, verbose=0, return_dict=True)
    report.pop("loss")
    assert report == {
        "dice_coef": pytest.approx(
            (soft_dice(TRUTH, LOGITS, 1) + soft_dice(TRUTH_2, LOGITS_2, 1)) / 2
        ),
        "binary_accuracy": pytest.approx(11 / 16),
        "pooled_sensitivity": pytest.approx(3 / 4),
        "pooled_specificity": pytest.approx(8 / 12),
    }


# Six pixels of three classes; the largest logits say 0, 1, 2, 2, 1, 0.
CLASSES = np.array([0, 1, 2, 1, 0, 2], "float32").reshape(1, 2, 3, 1)
CHOSEN = np.array([0, 1, 2, 2, 1, 0])
LOGITS_OF_3 = (40 * np.eye(3, dtype="float32")[CHOSEN]).reshape(1, 2, 3, 3)


@pytest.mark.parametrize(("kind", "wanted"), zip(POOLED, (3 / 6, 3 / 4, 1 / 2), strict=True))
def test_of_several_classes_accuracy_tells_them_apart_and_the_others_the_foreground(kind, wanted):
    assert value(kind("curve"), (CLASSES, LOGITS_OF_3)) == pytest.approx(wanted)
    assert value(kind("curve"), (CLASSES.astype("uint8"), LOGITS_OF_3)) == pytest.approx(wanted)


def test_dice_coef_of_several_classes_is_their_mean_without_the_background():
    """Of each class 2 pixels, 2 given, 1 rightly: (2 + 1) / (2 + 2 + 1)."""
    assert value(DiceCoef(), (CLASSES, LOGITS_OF_3)) == pytest.approx(3 / 5)


@pytest.mark.parametrize("kind", [*POOLED, DiceCoef])
def test_two_logits_of_which_the_background_s_is_0_are_one_logit(kind):
    two = np.concatenate([np.zeros_like(LOGITS), LOGITS], axis=-1)
    one = value(kind("curve"), (TRUTH, LOGITS), (TRUTH_2, LOGITS_2))
    two_2 = np.concatenate([np.zeros_like(LOGITS_2), LOGITS_2], axis=-1)
    assert value(kind("curve"), (TRUTH, two), (TRUTH_2, two_2)) == pytest.approx(one)


def test_the_curves_of_the_yaml_work_in_a_compiled_model_of_several_classes():
    node = OmegaConf.load(Path(conf_dir(), "metrics", "binary.yaml"))
    inputs = keras.Input((2, 3, 3))
    model = keras.Model(inputs, keras.layers.Activation("linear")(inputs))
    metrics = list(instantiate(node, _convert_="all").values())
    model.compile(loss="sparse_categorical_crossentropy", metrics=metrics)
    report = model.evaluate(LOGITS_OF_3, CLASSES, verbose=0, return_dict=True)
    curves = ("dice_coef", "binary_accuracy", "pooled_sensitivity", "pooled_specificity")
    assert [report[curve] for curve in curves] == pytest.approx([3 / 5, 3 / 6, 3 / 4, 1 / 2])
