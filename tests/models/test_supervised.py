"""Facts about `seg.models.supervised`: side outputs teach, and say nothing afterwards."""

import keras
import numpy as np
import pytest

from seg.losses.overlap import Dice
from seg.losses.pixel import BinaryCrossentropy
from seg.metrics.streaming import DiceCoef
from seg.models.blocks import logits
from seg.models.supervised import DeeplySupervised, supervised


@pytest.fixture
def model():
    """Two 1x1 convolutions of one image: an answer and a side output."""
    inputs = keras.Input((8, 8, 1))
    outputs = [logits(inputs, 1), logits(inputs, 1, name="side")]
    return supervised(inputs, outputs, deep_supervision=True, name="two")


@pytest.fixture
def batch():
    images = np.random.default_rng(0).uniform(size=(4, 8, 8, 1)).astype("float32")
    return images, (images > 0.5).astype("float32")


def loss_of(output, truth):
    """Binary cross-entropy by its definition, in NumPy."""
    p = 1 / (1 + np.exp(-np.array(output, "float64")))
    return -(truth * np.log(p) + (1 - truth) * np.log(1 - p)).mean()


def test_in_training_it_gives_all_outputs_else_the_answer_alone(model, batch):
    taught = model(batch[0], training=True)
    assert len(taught) == 2
    np.testing.assert_array_equal(model(batch[0]), taught[0])
    np.testing.assert_array_equal(model.predict(batch[0], verbose=0), taught[0])
    assert not np.array_equal(taught[0], taught[1])


def test_the_training_loss_is_the_mean_over_outputs_the_validation_loss_the_answers(model, batch):
    images, truth = batch
    model.compile("sgd", BinaryCrossentropy("bce"))
    answer, side = (loss_of(output, truth) for output in model(images, training=True))
    assert model.evaluate(images, truth, verbose=0) == pytest.approx(answer, rel=1e-5)
    assert model.train_on_batch(images, truth) == pytest.approx((answer + side) / 2, rel=1e-5)


def test_both_outputs_learn(model, batch):
    model.compile("adam", Dice("dice"))
    before = [weight.copy() for weight in model.get_weights()]
    model.train_on_batch(*batch)
    assert all((old != new).any() for old, new in zip(before, model.get_weights(), strict=True))


def test_metrics_watch_the_answer(model, batch):
    images, truth = batch
    model.compile("sgd", Dice("dice"), metrics=[DiceCoef()])
    p = 1 / (1 + np.exp(-np.array(model(images))))
    wanted = (2 * (p * truth).sum() + 1) / (p.sum() + truth.sum() + 1)
    logs = model.train_on_batch(images, truth, return_dict=True)
    assert logs["dice_coef"] == pytest.approx(wanted, rel=1e-5)


def test_it_comes_back_from_disk_as_it_was(model, batch, tmp_path):
    model.save(tmp_path / "two.keras")
    loaded = keras.saving.load_model(tmp_path / "two.keras", safe_mode=True)
    assert isinstance(loaded, DeeplySupervised)
    for ours, theirs in zip(
        model(batch[0], training=True), loaded(batch[0], training=True), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_what_answers_is_a_plain_model_without_the_side_outputs(model, batch):
    answering = model.answering()
    assert not isinstance(answering, DeeplySupervised)
    assert (answering.count_params(), model.count_params()) == (2, 4)
    np.testing.assert_array_equal(answering(batch[0]), model(batch[0]))


@pytest.mark.parametrize(("n_outputs", "deep_supervision"), [(2, False), (1, True)])
def test_without_supervision_or_anything_to_supervise_it_is_the_plain_model(
    n_outputs, deep_supervision
):
    inputs = keras.Input((8, 8, 1))
    outputs = [logits(inputs, 1), logits(inputs, 1, name="side")][:n_outputs]
    plain = supervised(inputs, outputs, deep_supervision, name="one")
    assert type(plain) is not DeeplySupervised
    assert plain.output_shape == (None, 8, 8, 1)
    assert plain.count_params() == 2
