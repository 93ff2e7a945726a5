"""Facts about `seg.models.graph`: nodes and edges of small models, drawn up by hand."""

import keras
import pytest
from keras import layers

from seg.models.graph import Node, architecture
from seg.models.supervised import supervised
from seg.models.unet import unet

SHAPE = (16, 24, 1)
U_NODES = [
    ("input", 1, 1),
    ("convolution", 4, 1),
    ("convolution", 4, 1),
    ("convolution", 8, 2),
    ("convolution", 8, 2),
    ("transposed", 4, 1),
    ("join", 8, 1),
    ("convolution", 4, 1),
    ("convolution", 4, 1),
    ("convolution", 3, 1),
]
U_EDGES = [(0, 1), (1, 2), (2, 3), (2, 6), *((i, i + 1) for i in range(3, 9))]


def tiny_unet(height, width):
    return unet((height, width, 1), levels=2, base_filters=4, dropout=0.1, classes=3)


def seen(nodes):
    return [(node.kind, node.channels, node.stride) for node in nodes]


def named(nodes, edges):
    return {(nodes[a].name, nodes[b].name) for a, b in edges}


@pytest.mark.parametrize("size", [(16, 24), (None, None)])
def test_a_unet_is_its_convolutions_and_one_skip(size):
    """Normalization, activation, dropout and pooling are passed; a free size is that asked for."""
    nodes, edges = architecture(tiny_unet(*size), SHAPE)
    assert seen(nodes) == U_NODES
    assert edges == U_EDGES
    assert [node.answer for node in nodes] == [False] * 9 + [True]
    assert (nodes[0].name, nodes[-1].name) == ("input", "logits")


def test_a_nested_model_is_entered_wherever_and_at_whatever_size_it_is_called():
    inputs = keras.Input(SHAPE)
    shared = tiny_unet(None, None)
    first = shared(inputs)
    second = shared(layers.Conv2D(1, 1, strides=2)(first))
    nodes, edges = architecture(keras.Model(inputs, second), SHAPE)
    halved = [(kind, channels, 2 * stride) for kind, channels, stride in U_NODES[1:]]
    assert seen(nodes) == [*U_NODES, ("convolution", 1, 2), *halved]
    later = [(a + 10, b + 10) for a, b in U_EDGES]
    assert edges == [*U_EDGES, (9, 10), *later]


def test_a_sequential_model_is_a_chain():
    stack = [layers.Conv2D(4, 3, strides=2, padding="same"), layers.Flatten(), layers.Dense(5)]
    nodes, edges = architecture(keras.Sequential([keras.Input(SHAPE), *stack]), SHAPE)
    assert seen(nodes) == [("input", 1, 1), ("convolution", 4, 2), ("dense", 5, 2)]
    assert edges == [(0, 1), (1, 2)]


def test_what_is_pooled_from_a_whole_map_stands_beside_it():
    """A gate of channels works on one pixel, at stride 16 x 24, and yet belongs to the map."""
    inputs = keras.Input(SHAPE)
    x = layers.Conv2D(4, 3, strides=2, padding="same", name="map")(inputs)
    gate = layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = layers.Conv2D(4, 1, activation="sigmoid", name="gate")(gate)
    nodes, edges = architecture(
        keras.Model(inputs, layers.Multiply(name="times")([x, gate])), SHAPE
    )
    assert [node.stride for node in nodes] == [1, 2, 2, 2]
    assert named(nodes, edges) == {
        ("input", "map"),
        ("map", "gate"),
        ("map", "times"),
        ("gate", "times"),
    }


def test_a_map_of_one_pixel_that_was_halved_to_keeps_its_stride():
    inputs = keras.Input((4, 4, 1))
    x = layers.Conv2D(2, 2, strides=2)(inputs)
    nodes, _ = architecture(keras.Model(inputs, layers.Conv2D(2, 2, strides=2)(x)), (4, 4, 1))
    assert [node.stride for node in nodes] == [1, 2, 4]


def test_kinds_of_layers():
    """Tokens have the stride of the map they come from; a list of numbers per channel is passed."""
    inputs = keras.Input((8, 8, 2))
    x = layers.SeparableConv2D(4, 3, strides=2, padding="same")(inputs)
    x = layers.PReLU(shared_axes=[1, 2])(layers.GroupNormalization(2)(x))
    x = layers.Reshape((16, 4))(x)
    x = layers.Add()([x, layers.MultiHeadAttention(2, 2)(x, x)])
    x = layers.EinsumDense("btc,cd->btd", (None, 6))(layers.LayerNormalization()(x))
    x = layers.LSTM(3, return_sequences=True)(x)
    nodes, edges = architecture(keras.Model(inputs, x), (8, 8, 2))
    assert seen(nodes) == [
        ("input", 2, 1),
        ("convolution", 4, 2),
        ("attention", 4, 2),
        ("join", 4, 2),
        ("dense", 6, 2),
        ("other", 3, 2),
    ]
    assert edges == [(0, 1), (1, 2), (1, 3), (2, 3), (3, 4), (4, 5)]


def test_the_longest_branch_comes_first_and_the_others_before_they_are_joined():
    inputs = keras.Input(SHAPE)
    short = layers.Conv2D(2, 1, name="short")(inputs)
    long = inputs
    for i in range(3):
        long = layers.Conv2D(2, 1, name=f"long{i}")(long)
    built = keras.Model(inputs, layers.Concatenate(name="both")([short, long]))
    nodes, _ = architecture(built, SHAPE)
    assert [node.name for node in nodes] == ["input", "long0", "long1", "long2", "short", "both"]


def test_further_outputs_stand_beside_what_they_show():
    inputs = keras.Input(SHAPE)
    x = deep = layers.Conv2D(4, 2, strides=2, name="deep")(inputs)
    x = layers.Conv2DTranspose(4, 2, strides=2, name="up")(x)
    aside = layers.UpSampling2D(2)(layers.Conv2D(1, 1, name="aside")(deep))
    outputs = [layers.Conv2D(1, 1, name="answer")(x), aside]
    nodes, edges = architecture(supervised(inputs, outputs, True, "deep"), SHAPE)
    assert [node.name for node in nodes] == ["input", "deep", "aside", "up", "answer"]
    assert [node.name for node in nodes if node.answer] == ["aside", "answer"]
    assert named(nodes, edges) == {
        ("input", "deep"),
        ("deep", "aside"),
        ("deep", "up"),
        ("up", "answer"),
    }


def test_a_model_that_is_no_graph_of_layers_has_no_drawing():
    class Subclass(keras.Model):
        def call(self, x_BHWC):
            return x_BHWC

    assert architecture(Subclass(), SHAPE) == ([], [])


def test_an_output_may_be_the_input():
    inputs = keras.Input(SHAPE)
    nodes, edges = architecture(keras.Model(inputs, layers.ReLU()(inputs)), SHAPE)
    assert (nodes, edges) == ([Node("input", "input", 1, 1.0, answer=True)], [])
