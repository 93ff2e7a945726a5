"""Facts about `seg.models.cost`: counts by hand of every kind of product, and of tensors."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from seg.summary import measure

# Rows, columns, pixels and channels of the image.
H, W, N, C = 8, 12, 96, 4


def model(*stack):
    inputs = x = keras.Input((H, W, C))
    for layer in stack:
        x = layer(x)
    return keras.Model(inputs, x)


def flops(*stack):
    return round(1e9 * measure(model(*stack), (H, W, C))["model/gflops"])


def kib(built, kind):
    return measure(built, built.input_shape[1:])[f"model/{kind}_mib"] * 1024


@pytest.fixture
def half_precision():
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    yield
    keras.config.set_dtype_policy(policy)


@pytest.mark.parametrize(
    ("layer", "multiply_adds"),
    [
        (layers.Conv2D(6, 3, padding="same"), N * 6 * 9 * C),
        (layers.Conv2D(6, 3, padding="valid"), 6 * 10 * 6 * 9 * C),
        (layers.Conv2D(6, 3, strides=2, padding="same"), 4 * 6 * 6 * 9 * C),
        (layers.Conv2D(6, (1, 5), padding="same"), N * 6 * 5 * C),
        (layers.Conv2D(6, 3, padding="same", dilation_rate=2), N * 6 * 9 * C),
        (layers.Conv2D(6, 3, padding="same", dilation_rate=3), N * 6 * 9 * C),
        (layers.Conv2D(6, 3, padding="same", groups=2), N * 6 * 9 * C // 2),
        (layers.Conv2D(6, 3, padding="same", groups=2, dilation_rate=3), N * 6 * 9 * C // 2),
        (layers.DepthwiseConv2D(3, padding="same"), N * 9 * C),
        (layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2), N * 9 * C * 2),
        (layers.DepthwiseConv2D(3, padding="same", dilation_rate=3), N * 9 * C),
        (layers.SeparableConv2D(6, 3, padding="same"), N * 9 * C + N * C * 6),
        (layers.Conv2DTranspose(6, 2, strides=2), N * C * 4 * 6),
        (layers.Conv2DTranspose(6, 3, strides=2, padding="same"), N * C * 9 * 6),
        (layers.Dense(5), N * C * 5),
        (layers.EinsumDense("bhwc,cd->bhwd", (None, None, 5)), N * C * 5),
        (layers.BatchNormalization(), 0),
        (layers.LayerNormalization(), 0),
        (layers.AveragePooling2D(2), 0),
        (layers.UpSampling2D(2, interpolation="bilinear"), 0),
        (layers.Activation("gelu"), 0),
    ],
)
def test_a_layer_counts_two_for_each_multiply_add(layer, multiply_adds):
    assert flops(layer) == 2 * multiply_adds


def test_one_and_three_dimensional_convolutions_count():
    assert flops(layers.Reshape((N, C)), layers.Conv1D(6, 3, padding="same")) == 2 * N * 6 * 3 * C
    cube = layers.Reshape((2, 4, W, C))
    assert flops(cube, layers.Conv3D(6, 3, padding="same")) == 2 * N * 6 * 27 * C
    assert flops(cube, layers.Conv3DTranspose(6, 2, strides=2)) == 2 * N * C * 8 * 6


def test_attention_counts_its_projections_its_scores_and_its_sums():
    tokens = keras.Input((N, C))
    attended = layers.MultiHeadAttention(num_heads=2, key_dim=3, value_dim=5)(tokens, tokens)
    image = keras.Input((H, W, C))
    built = keras.Model(image, keras.Model(tokens, attended)(layers.Reshape((N, C))(image)))
    queries_keys, values_back = 2 * N * C * 2 * 3, 2 * N * C * 2 * 5
    scores, sums = N * N * 2 * 3, N * N * 2 * 5
    wanted = 2 * (queries_keys + values_back + scores + sums)
    assert round(1e9 * measure(built, (H, W, C))["model/gflops"]) == wanted


class Products(keras.layers.Layer):
    """A product of the image's rows with themselves, by any operation."""

    def __init__(self, product):
        super().__init__()
        self.product = product

    def call(self, x_BHWC):
        return self.product(x_BHWC)


@pytest.mark.parametrize(
    ("product", "multiply_adds"),
    [
        (lambda x: ops.matmul(x, ops.swapaxes(x, 2, 3)), H * W * W * C),
        (lambda x: ops.matmul(ops.swapaxes(x, 2, 3), x), H * C * C * W),
        (lambda x: ops.einsum("bhwc,bhvc->bhwv", x, x), H * W * W * C),
        (lambda x: ops.einsum("bhwc,bhwd->bcd", x, x), C * C * H * W),
        (lambda x: ops.einsum("...wc,...vc->...wv", x, x), H * W * W * C),
        (lambda x: ops.einsum("...wc,...wd->...cd", x, x), H * C * C * W),
        (lambda x: ops.einsum("bhwc->bchw", x), 0),
        (lambda x: tf.matmul(x, x, transpose_a=True), H * C * C * W),
        (lambda x: tf.matmul(x, x, adjoint_b=True), H * W * W * C),
        (lambda x: tf.matmul(x[0, 0], x[0, 0], transpose_a=True), C * C * W),
    ],
)
def test_products_of_activations_count_whatever_the_notation(product, multiply_adds):
    assert flops(Products(product)) == 2 * multiply_adds


def test_what_is_called_twice_counts_twice_and_what_no_answer_needs_not_at_all():
    inputs = keras.Input((H, W, C))
    shared = layers.Conv2D(C, 1)
    aside = layers.Conv2D(7, 3)(inputs)
    built = keras.Model(inputs, [shared(shared(inputs)), aside])
    assert round(1e9 * measure(built, (H, W, C))["model/gflops"]) == 2 * 2 * N * C * C


def test_a_subclass_counts_like_its_layers():
    class Subclass(keras.Model):
        def __init__(self):
            super().__init__()
            self.conv = layers.Conv2D(6, 3, padding="same")

        def call(self, x_BHWC):
            return self.conv(x_BHWC)

    built = Subclass()
    built(keras.Input((H, W, C)))
    assert round(1e9 * measure(built, (H, W, C))["model/gflops"]) == 2 * N * 6 * 9 * C


def test_a_loop_of_unknown_length_is_not_a_number():
    totals = measure(model(layers.Reshape((N, C)), layers.SimpleRNN(3)), (H, W, C))
    assert totals["model/parameters"] == 3 * (C + 3 + 1)
    costs = [totals[f"model/{name}"] for name in ("gflops", "inference_mib", "training_mib")]
    assert np.isnan(costs).all()


def test_vgg19_has_the_multiply_adds_of_the_literature(undrawn):
    """19.6 billion, its "FLOPs": He et al. 2015, arXiv 1512.03385, section 3.3."""
    built = keras.applications.VGG19(weights=None)
    assert measure(built, (224, 224, 3))["model/gflops"] / 2 == pytest.approx(19.6, abs=0.05)


def two_convolutions(*between):
    """Build 16 x 16 x 1 (1 KiB), 16 x 16 x 2 (2 KiB), what stands between, 16 x 16 x 1."""
    inputs = keras.Input((16, 16, 1))
    x = layers.Conv2D(2, 3, padding="same", use_bias=False)(inputs)
    for layer in between:
        x = layer(x)
    return keras.Model(inputs, layers.Conv2D(1, 1, use_bias=False)(x))


def test_prediction_needs_the_tensors_that_are_alive_at_once():
    """Image and first map are 3 KiB, map and its activation 4, activation and answer 3."""
    assert kib(two_convolutions(), "inference") == 3
    assert kib(two_convolutions(layers.ReLU()), "inference") == 4


def test_a_skip_lives_until_it_is_joined():
    """The first map (2) waits for the two after it (2 each), and the sum (2) is made of two."""
    inputs = keras.Input((16, 16, 1))
    x = skip = layers.Conv2D(2, 3, padding="same", use_bias=False)(inputs)
    for _ in range(2):
        x = layers.Conv2D(2, 3, padding="same", use_bias=False)(x)
    assert kib(keras.Model(inputs, x), "inference") == 4
    assert kib(keras.Model(inputs, x + skip), "inference") == 6


def test_a_reshaped_tensor_is_no_new_one():
    seen_as_tokens = [layers.Reshape((256, 2)), layers.Reshape((16, 16, 2))]
    assert kib(two_convolutions(*seen_as_tokens), "inference") == 3
    assert kib(two_convolutions(*seen_as_tokens), "training") == 3


def test_training_holds_what_the_backward_pass_reads():
    """Inputs of convolutions, an activation's output, a pooling's both ends, a dropout's mask."""
    assert kib(two_convolutions(), "training") == 1 + 2
    assert kib(two_convolutions(layers.ReLU()), "training") == 1 + 2
    assert kib(two_convolutions(layers.MaxPooling2D(1)), "training") == 1 + 2 + 2
    assert kib(two_convolutions(layers.Dropout(0.5)), "training") == 1 + 0.5 + 2


@pytest.mark.parametrize(("frozen", "held"), [(1, 2), (2, 1)])
def test_frozen_weights_need_nothing_held(frozen, held):
    built = two_convolutions()
    built.layers[frozen].trainable = False
    assert kib(built, "training") == held


def test_half_precision_halves_the_tensors(half_precision):
    """The image comes in float32 (1 KiB); its copy is held."""
    assert kib(two_convolutions(layers.ReLU()), "training") == (1 + 2) / 2
    assert kib(two_convolutions(layers.ReLU()), "inference") == 4 / 2


def test_weights_cost_no_activation_memory():
    inputs = keras.Input((1, 1, 1))
    wide = layers.Conv2D(4096, 1, use_bias=False)(inputs)
    built = keras.Model(inputs, layers.Conv2D(1, 1, use_bias=False)(wide))
    kilobytes = 4 * (1 + 4096) / 1024
    assert kib(built, "inference") == pytest.approx(kilobytes)
    assert kib(built, "training") == pytest.approx(kilobytes)
    assert kib(built, "weights") == pytest.approx(4 * 2 * 4096 / 1024)
