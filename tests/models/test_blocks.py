"""Facts about `seg.models.blocks`: the schedule of a U-shaped model, and what it refuses."""

import keras
import numpy as np
import pytest
from keras import layers

from seg.models.blocks import (
    ConvSchedule,
    conv,
    enlarged,
    logits,
    normalized,
    require_multiple,
    upsampled,
)


def schedule(**changes):
    usual = {
        "levels": 5,
        "base_filters": 4,
        "base_kernel": 7,
        "base_dilation": 3,
        "dropout": 0.1,
        "normalization": "none",
        "activation": "relu",
        "upsampling": "transposed",
    }
    return ConvSchedule(**usual | changes)


def built(level, **changes):
    """Return the layers of a level's double convolution, without the input."""
    inputs = keras.Input((16, 16, 2))
    return keras.Model(inputs, schedule(**changes).double_conv(inputs, level)).layers[1:]


def test_filters_double_at_each_level():
    assert [schedule().filters(level) for level in range(4)] == [4, 8, 16, 32]


@pytest.mark.parametrize(
    ("level", "kernel", "dilation"), [(0, 7, 3), (1, 5, 2), (2, 3, 1), (3, 3, 1)]
)
def test_kernel_and_dilation_shrink_to_three_and_one(level, kernel, dilation):
    convs = [layer for layer in built(level) if isinstance(layer, layers.Conv2D)]
    assert [conv.kernel_size for conv in convs] == [(kernel, kernel)] * 2
    assert [conv.dilation_rate for conv in convs] == [(dilation, dilation)] * 2
    assert [conv.filters for conv in convs] == [4 * 2**level] * 2


@pytest.mark.parametrize("level", [1, 2, 4])
def test_dropout_between_the_convolutions_is_the_rate_times_the_level(level):
    conv, dropout, conv_again = built(level)
    assert isinstance(conv, layers.Conv2D)
    assert isinstance(conv_again, layers.Conv2D)
    assert dropout.rate == pytest.approx(0.1 * level)


def test_the_first_level_has_no_dropout():
    assert [type(layer) for layer in built(0)] == [layers.Conv2D] * 2


def test_each_convolution_is_normalised_before_the_dropout():
    kinds = [type(layer).__name__ for layer in built(1, normalization="batch")]
    assert kinds == ["Conv2D", "BatchNormalization", "Dropout", "Conv2D", "BatchNormalization"]


def test_batch_statistics_are_shared_between_replicas():
    norms = [layer for layer in built(1, normalization="batch") if "Norm" in type(layer).__name__]
    assert [norm.synchronized for norm in norms] == [True, True]


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "gelu", "mish"])
def test_convolutions_have_the_activation_named(activation):
    convs = [layer for layer in built(0, activation=activation) if isinstance(layer, layers.Conv2D)]
    assert [conv.activation.__name__ for conv in convs] == [activation] * 2
    assert {type(conv.kernel_initializer).__name__ for conv in convs} == {"HeNormal"}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"levels": 1}, "levels must be 2 or more. Received: 1"),
        ({"base_kernel": 4}, "base_kernel must be odd. Received: 4"),
        ({"base_kernel": -1}, "base_kernel must be 1 or more. Received: -1"),
        ({"base_dilation": 0}, "base_dilation must be 1 or more. Received: 0"),
        ({"base_filters": 0}, "base_filters must be 1 or more. Received: 0"),
        (
            {"dropout": 0.25},
            r"dropout \* \(levels - 1\) must be at least 0 and less than 1. Received: 0.25 \* 4",
        ),
        (
            {"dropout": -0.1},
            r"dropout \* \(levels - 1\) must be at least 0 and less than 1. Received: -0.1 \* 4",
        ),
        (
            {"normalization": "layer"},
            "normalization must be one of none, batch, instance, group. Received: layer",
        ),
        (
            {"upsampling": "nearest"},
            "upsampling must be one of transposed, bilinear. Received: nearest",
        ),
    ],
)
def test_what_cannot_be_built_is_refused_by_name(changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        schedule(**changes)


@pytest.mark.parametrize(
    ("size", "received", "remedy"),
    [
        ((100, 64), "100x64", r"\[96,64\]"),
        ((64, 30), "64x30", r"\[64,32\]"),
        ((3, 500), "3x500", r"\[16,496\]"),
    ],
)
def test_a_size_that_does_not_halve_is_refused_with_the_nearest_that_does(size, received, remedy):
    with pytest.raises(
        ValueError, match=rf"multiple of 16 \(why\).*Received: {received}; .*{remedy}$"
    ):
        require_multiple((*size, 3), 16, "why")


def test_a_size_that_halves_passes():
    assert require_multiple((48, 16, 3), 16, "why") is None


def test_logits_have_a_channel_per_class_and_no_activation():
    layer = keras.Model(x := keras.Input((4, 4, 6)), logits(x, 3)).layers[-1]
    assert layer.output.shape == (None, 4, 4, 3)
    assert layer.activation is keras.activations.linear
    assert layer.dtype_policy.name == "float32"
    assert layer.name == "logits"


def applied(part, x_BHWC):
    """Build a model of one part and apply it."""
    inputs = keras.Input(x_BHWC.shape[1:])
    return np.array(keras.Model(inputs, part(inputs))(x_BHWC))


@pytest.fixture
def features_BHWC():
    return np.random.default_rng(0).normal(3, 2, (2, 4, 6, 16)).astype("float32")


@pytest.mark.parametrize(("kind", "groups"), [("instance", 16), ("group", 8)])
def test_statistics_are_those_of_a_channel_or_of_its_group_of_two(kind, groups, features_BHWC):
    grouped = features_BHWC.reshape(2, 24, groups, 16 // groups)
    mean = grouped.mean(axis=(1, 3), keepdims=True)
    sd = np.sqrt(grouped.var(axis=(1, 3), keepdims=True) + 1e-3)
    wanted = ((grouped - mean) / sd).reshape(features_BHWC.shape)
    got = applied(lambda x: normalized(x, kind), features_BHWC)
    np.testing.assert_allclose(got, wanted, atol=1e-4)


def test_without_normalization_features_stay(features_BHWC):
    got = applied(lambda x: normalized(x, "none"), features_BHWC)
    np.testing.assert_array_equal(got, features_BHWC)


def test_groups_need_multiples_of_eight_filters():
    with pytest.raises(ValueError, match="multiples of 8 filters. Received: 12"):
        normalized(keras.Input((4, 4, 12)), "group")


def test_a_convolution_has_a_bias_only_where_nothing_takes_it_away():
    inputs = keras.Input((8, 8, 2))
    counts = {
        kind: keras.Model(inputs, conv(inputs, 8, normalization=kind)).count_params()
        for kind in ("none", "batch", "instance")
    }
    assert counts == {"none": 3 * 3 * 2 * 8 + 8, "batch": 144 + 4 * 8, "instance": 144 + 2 * 8}


def test_a_convolution_without_activation_keeps_negative_values(features_BHWC):
    for activation, smallest in (("relu", 0), ("leaky_relu", -np.inf), (None, -np.inf)):
        got = applied(lambda x, a=activation: conv(x, 8, activation=a), features_BHWC)
        assert (got.min() < 0) == (smallest < 0)


@pytest.mark.parametrize("upsampling", ["transposed", "bilinear"])
@pytest.mark.parametrize("scale", [2, 4])
def test_upsampling_gives_the_size_and_the_filters_asked_for(upsampling, scale, features_BHWC):
    got = applied(lambda x: upsampled(x, 3, upsampling, scale), features_BHWC)
    assert got.shape == (2, 4 * scale, 6 * scale, 3)


def test_bilinear_upsampling_first_or_last_is_the_same(features_BHWC):
    inputs = keras.Input((4, 6, 16))
    model = keras.Model(inputs, upsampled(inputs, 3, "bilinear"))
    enlarge = keras.layers.UpSampling2D(2, interpolation="bilinear")
    other = model.layers[1](enlarge(features_BHWC))
    np.testing.assert_allclose(np.array(model(features_BHWC)), np.array(other), atol=1e-5)


def test_enlarging_by_one_is_nothing():
    inputs = keras.Input((4, 6, 2))
    assert enlarged(inputs, 1) is inputs


def test_a_free_size_passes_where_it_is_not_known():
    assert require_multiple((None, None, 3), 16, "why") is None
    with pytest.raises(ValueError, match="Received: Nonex20"):
        require_multiple((None, 20, 3), 16, "why")


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_enlarging_learns_in_half_precision_under_xla(policy, restored_policy):
    keras.config.set_dtype_policy(policy)
    inputs = keras.Input((4, 4, 1))
    outputs = enlarged(layers.Conv2D(2, 1, activation="relu")(inputs), 2)
    model = keras.Model(inputs, layers.Conv2D(1, 1, dtype="float32")(outputs))
    model.compile("sgd", "mse", jit_compile=True)
    before = model.get_weights()
    model.train_on_batch(np.ones((2, 4, 4, 1)), np.ones((2, 8, 8, 1)))
    assert (model.get_weights()[0] != before[0]).any()
