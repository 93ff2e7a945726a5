"""Facts about `seg.models.check`: which models fit the data, and how the others are refused."""

import keras
import numpy as np
import pytest
from keras import layers

from seg.contracts import SegError
from seg.models.check import functional, require_fit, require_savable
from seg.models.unet import unet

SIZE = (8, 16)


@keras.saving.register_keras_serializable(package="test_check")
class Subclassed(keras.Model):
    """A model whose input is whatever it is called with."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.conv = layers.Conv2D(1, 3, padding="same")

    def call(self, x):
        return self.conv(x)


@keras.saving.register_keras_serializable(package="test_check")
class Gain(layers.Layer):
    """A layer whose one weight starts from a number, without an initializer."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.gain = keras.Variable(3.0)

    def call(self, x):
        return self.gain * x


class Unregistered(layers.Layer):
    """A layer that only this process knows."""

    def call(self, x):
        return 5 * x - 2


def of(*parts):
    """Chain layers to a model of 8 x 16 grey images, named mine."""
    x = inputs = keras.Input((*SIZE, 1))
    for part in parts:
        x = part(x)
    return keras.Model(inputs, x, name="mine")


@pytest.mark.parametrize("normalization", ["none", "batch", "instance"])
@pytest.mark.parametrize(("channels", "classes"), [(1, 1), (3, 1), (1, 2), (1, 4)])
def test_a_model_of_the_datas_shapes_passes(channels, classes, normalization):
    options = {"levels": 2, "base_filters": 4, "normalization": normalization}
    model = unet((*SIZE, channels), classes=classes, **options)
    assert require_fit(model, SIZE, channels, [classes]) is None


def test_looking_at_a_model_leaves_its_weights():
    model = unet((*SIZE, 1), levels=2, base_filters=2)
    before = model.get_weights()
    require_fit(model, SIZE, 1, [1])
    require_savable(model)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_model_of_any_size_is_asked_for_this_one():
    model = unet((None, None, 1), levels=2, base_filters=2)
    assert require_fit(model, SIZE, 1, [1]) is None


def test_a_model_without_a_fixed_input_passes_by_what_it_does():
    model = functional(Subclassed(name="mine"), (*SIZE, 3))
    assert (model.name, model.input_shape) == ("mine", (None, *SIZE, 3))
    assert require_fit(model, SIZE, 3, [1]) is None


def test_a_functional_model_stays_as_it_is():
    model = of(layers.Conv2D(1, 1))
    assert functional(model, (*SIZE, 1)) is model


def test_logits_that_start_from_zero_pass():
    assert require_fit(of(layers.Conv2D(1, 1, kernel_initializer="zeros")), SIZE, 1, [1]) is None


@pytest.mark.parametrize("kind", [list, dict])
def test_several_outputs_are_refused(kind):
    inputs = keras.Input((*SIZE, 1))
    outputs = [layers.Conv2D(1, 1)(inputs), layers.Conv2D(1, 1)(inputs)]
    outputs = outputs if kind is list else dict(zip("ab", outputs, strict=True))
    model = keras.Model(inputs, outputs, name="mine")
    with pytest.raises(SegError, match=f"mine: must have one output. Received: {kind.__name__}"):
        require_fit(model, SIZE, 1, [1])


def test_a_model_without_a_config_is_refused():
    class Nothing(layers.Layer):
        def call(self, x):
            return 5 * x - 2

        def get_config(self):
            raise NotImplementedError

    with pytest.raises(SegError, match=r"saved and loaded again \(.*NotImplementedError"):
        require_savable(of(Nothing()))


@pytest.mark.parametrize(
    ("size", "channels", "wanted"),
    [
        ((16, 8), 3, "None, 16, 8, 3"),
        ((8, 32), 3, "None, 8, 32, 3"),
        ((8, 16), 1, "None, 8, 16, 1"),
    ],
)
def test_an_input_of_another_shape_is_refused_with_both_shapes(size, channels, wanted):
    model = unet((8, 16, 3), levels=2, base_filters=1, name="mine")
    sentence = rf"model mine: input must be \({wanted}\).* Received: \(None, 8, 16, 3\)"
    with pytest.raises(SegError, match=sentence):
        require_fit(model, size, channels, [1])


@pytest.mark.parametrize(
    ("classes", "wanted", "sentence"),
    [
        (2, [1], r"must be \(None, 8, 16, 1\), .*: \(None, 8, 16, 2\); .*classes, 1, or"),
        (1, [3], r"must be \(None, 8, 16, 3\), .*: \(None, 8, 16, 1\); .*classes, 3, or"),
        (3, [1, 2], r"\(None, 8, 16, 1\) or \(None, 8, 16, 2\), .*: \(None, 8, 16, 3\)"),
    ],
)
def test_another_number_of_classes_is_refused(classes, wanted, sentence):
    model = unet((*SIZE, 1), levels=2, base_filters=1, classes=classes)
    with pytest.raises(SegError, match=sentence):
        require_fit(model, SIZE, 1, wanted)


@pytest.mark.parametrize(
    ("last", "received"),
    [
        (layers.GlobalAveragePooling2D(), r"\(None, 1\)"),
        (layers.MaxPooling2D(2), r"\(None, 4, 8, 1\)"),
    ],
)
def test_an_output_that_does_not_cover_the_image_is_refused(last, received):
    with pytest.raises(
        SegError, match=rf"mine: output must be .* Received: {received}; enlarge it"
    ):
        require_fit(of(last), SIZE, 1, [1])


@pytest.mark.parametrize(
    ("classes", "last"),
    [
        (1, layers.Conv2D(1, 1, activation="sigmoid")),
        (1, layers.Activation("sigmoid")),
        (3, layers.Conv2D(3, 1, activation="softmax")),
        (1, lambda x: keras.ops.sigmoid(x)),
    ],
)
def test_probabilities_are_refused(classes, last):
    with pytest.raises(SegError, match="must give logits, and gives probabilities, .* to "):
        require_fit(of(last), SIZE, 1, [classes])


def test_a_model_that_gives_nan_is_refused():
    model = of(layers.Conv2D(1, 1))
    model.set_weights([np.full_like(weight, np.nan) for weight in model.get_weights()])
    with pytest.raises(SegError, match="mine: gives NaN or infinite values"):
        require_fit(model, SIZE, 1, [1])


def test_a_model_of_two_inputs_is_refused():
    one, other = keras.Input((*SIZE, 1)), keras.Input((*SIZE, 1))
    model = keras.Model([one, other], layers.Add()([one, other]))
    with pytest.raises(SegError, match="input must be"):
        require_fit(model, SIZE, 1, [1])


def test_what_is_no_model_is_refused():
    with pytest.raises(SegError, match="must be a keras.Model. Received: Dense"):
        functional(layers.Dense(1), (*SIZE, 1))


def test_a_model_that_fails_is_refused_with_its_own_words():
    class Broken(keras.Model):
        def call(self, x):
            raise KeyError("no such feature")

    with pytest.raises(SegError, match=r"\(KeyError: .*no such feature"):
        functional(Broken(name="mine"), (*SIZE, 1))


@pytest.mark.parametrize("last", [layers.Lambda(lambda x: 5 * x - 2), Unregistered()])
def test_a_model_that_would_not_come_back_from_disk_is_refused(last):
    with pytest.raises(SegError, match="mine: cannot be saved and loaded again .* Lambda layer"):
        require_savable(of(last))


@pytest.mark.parametrize("last", [layers.Conv2D(1, 1), Gain(), Subclassed()])
def test_a_model_that_would_come_back_passes(last):
    assert require_savable(of(last)) is None
