"""Facts about `seg.summary`: the files, the totals and the log of a tiny model."""

import logging

import cv2
import keras
import pytest
import tensorflow as tf
from keras import layers

from seg.models.supervised import supervised
from seg.summary import measure, summarize

SHAPE = (8, 12, 3)
PIXELS = 8 * 12


def tiny(shape=SHAPE):
    """Two convolutions with a normalization between: 3 * 9 * 4 + 4 * 4 + 4 + 1 weights."""
    inputs = keras.Input(shape)
    x = layers.Conv2D(4, 3, padding="same", use_bias=False)(inputs)
    x = layers.BatchNormalization(name="a_name_as_long_as_the_names_of_layers_get_to_be")(x)
    return keras.Model(inputs, layers.Conv2D(1, 1)(x), name="tiny")


def test_the_totals_are_those_of_the_model(tmp_path, caplog):
    with caplog.at_level(logging.INFO, "seg.summary"):
        totals = summarize(tiny(), tmp_path / "summary")
    assert totals["model/parameters"] == 3 * 9 * 4 + 4 * 4 + 4 + 1
    assert totals["model/trainable"] == 3 * 9 * 4 + 2 * 4 + 4 + 1
    assert totals["model/weights_mib"] == 4 * totals["model/parameters"] / 2**20
    assert totals["model/gflops"] == pytest.approx(2 * PIXELS * (3 * 9 * 4 + 4) / 1e9)
    assert totals["model/inference_mib"] == pytest.approx(4 * PIXELS * (4 + 4) / 2**20)
    assert list(totals) == [
        f"model/{name}"
        for name in (
            "parameters",
            "trainable",
            "weights_mib",
            "gflops",
            "inference_mib",
            "training_mib",
        )
    ]
    (line,) = caplog.messages
    assert line.startswith("model tiny: 129 parameters, 0.00 GFLOPs and 0.0 MiB for an image of 8")


def test_the_files_say_it_in_words_and_in_a_picture(tmp_path, monkeypatch):
    """The width of the terminal that starts a run cuts nothing off."""
    monkeypatch.setenv("COLUMNS", "40")
    inputs = keras.Input(SHAPE)
    summarize(keras.Model(inputs, tiny((None, None, 3))(inputs)), tmp_path / "summary")
    text = (tmp_path / "summary" / "summary.txt").read_text()
    assert "a_name_as_long_as_the_names_of_layers_get_to_be (BatchNormalization)" in text
    assert "Param #" in text
    assert "…" not in text
    assert "One image of 8 x 12 x 3:" in text
    (line,) = (line for line in text.splitlines() if line.startswith("model/parameters"))
    assert line.split()[1] == "129"
    assert cv2.imread(str(tmp_path / "summary" / "architecture.png")).std() > 1


def test_a_subclass_is_measured_and_not_drawn(tmp_path, caplog):
    class Subclass(keras.Model):
        def __init__(self):
            super().__init__(name="mine")
            self.conv = layers.Conv2D(2, 1)

        def call(self, x_BHWC):
            return self.conv(x_BHWC)

    model = Subclass()
    model(keras.Input(SHAPE))
    with caplog.at_level(logging.INFO, "seg.summary"):
        totals = summarize(model, tmp_path, SHAPE)
    assert totals["model/gflops"] == pytest.approx(2 * PIXELS * 3 * 2 / 1e9)
    assert (tmp_path / "summary.txt").exists()
    assert not (tmp_path / "architecture.png").exists()
    assert "mine: no drawing" in caplog.messages[0]


def test_a_free_size_must_be_said(tmp_path):
    with pytest.raises(ValueError, match=r"tiny takes images of any size.*give \(height"):
        summarize(tiny((None, None, 3)), tmp_path)
    sizes = [measure(tiny((None, None, 3)), (side, side, 3)) for side in (8, 16)]
    assert sizes[1]["model/gflops"] == pytest.approx(4 * sizes[0]["model/gflops"])


def test_predicting_costs_the_answer_and_training_all_outputs():
    inputs = keras.Input(SHAPE)
    x = layers.Conv2D(4, 3, padding="same")(inputs)
    heads = [layers.Conv2D(1, 1)(x), layers.Conv2D(1, 1)(layers.ReLU()(x))]
    alone = measure(supervised(inputs, heads, False, "alone"), SHAPE)
    both = measure(supervised(inputs, heads, True, "both"), SHAPE)
    assert both["model/parameters"] == alone["model/parameters"] + 5
    for name in ("model/gflops", "model/inference_mib"):
        assert both[name] == alone[name]
    assert both["model/training_mib"] == pytest.approx(
        alone["model/training_mib"] + 4 * PIXELS * 4 / 2**20
    )


def test_weights_need_no_values_and_those_there_are_stay():
    with keras.StatelessScope(initialize_variables=False):
        declared = tiny()
    drawn = tiny()
    before = [weight.numpy() for weight in drawn.weights]
    assert measure(declared, SHAPE) == measure(drawn, SHAPE)
    assert all(
        (weight.numpy() == old).all() for weight, old in zip(drawn.weights, before, strict=True)
    )
    assert not tf.config.functions_run_eagerly()
