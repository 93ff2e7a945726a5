"""Facts about `seg.models.encoders`: what trained weights see, and what they are refused for."""

import os
import urllib.request
import warnings
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from keras import layers

from seg.models.encoders import _pixels, feature_maps

# ImageNet's mean and deviation, RGB over 0..1, as torchvision documents them for its EfficientNets.
MEAN, STD = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])

RNG = np.random.default_rng(0)
IMAGES_BHWC = {c: RNG.uniform(size=(1, 64, 32, c)).astype("float32") for c in (1, 3)}


def random_network(application):
    """A network of Keras whose every weight tells, without its classifier."""
    keras.utils.set_random_seed(0)
    network = application(include_top=False, weights=None, input_shape=(None, None, 3))
    for layer in network.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.set_weights([RNG.uniform(0.8, 1.2, w.shape) for w in layer.get_weights()])
    return network


def maps_of(images_BHWC, *args):
    inputs = keras.Input((None, None, images_BHWC.shape[-1]))
    model = keras.Model(inputs, feature_maps(inputs, *args))
    return {int(stride): np.array(x_BHWF) for stride, x_BHWF in model(images_BHWC).items()}


def assert_maps_are(got, network, lasts, seen_BHWC):
    wanted = keras.Model(network.input, [network.get_layer(last).output for last in lasts])
    for (stride, got_BHWF), wanted_BHWF in zip(got.items(), wanted(seen_BHWC), strict=True):
        assert got_BHWF.shape[1:3] == (64 // stride, 32 // stride)
        tolerance = 1e-4 * np.abs(wanted_BHWF).max()
        np.testing.assert_allclose(got_BHWF, wanted_BHWF, atol=tolerance, rtol=0)


def test_a_dilated_resnet_has_the_features_of_its_file_at_every_second_pixel(tmp_path):
    """Dilation takes the last stage's stride away and moves nothing: Chen et al. 2017, figure 3."""
    network = random_network(keras.applications.ResNet50)
    network.save_weights(tmp_path / "resnet50.weights.h5")
    got = maps_of(IMAGES_BHWC[3], "resnet50", str(tmp_path / "resnet50.weights.h5"), True)
    assert got[16].shape == (1, 4, 2, 2048)
    got[32] = got.pop(16)[:, ::2, ::2]
    lasts = ("conv1_relu", "conv2_block3_out", "conv3_block4_out", "conv5_block3_out")
    seen_BHWC = keras.applications.resnet50.preprocess_input(255 * IMAGES_BHWC[3])
    assert_maps_are(got, network, lasts, seen_BHWC)


def test_a_published_efficientnet_sees_grey_three_times_with_the_statistics_of_imagenet(tmp_path):
    network = random_network(keras.applications.EfficientNetB0)
    pixels = next(layer for layer in network.layers if isinstance(layer, layers.Normalization))
    pixels.set_weights([MEAN, STD, np.int32(0)])  # the deviation, as in the published files
    network.save(tmp_path / "b0.h5")
    pixels.set_weights([np.zeros(3), np.ones(3), np.int32(0)])
    pixels.finalize_state()
    got = maps_of(IMAGES_BHWC[1], "efficientnetb0", str(tmp_path / "b0.h5"))
    lasts = ("block1a_project_bn", "block2b_add", "block3b_add", "block5c_add", "top_activation")
    seen_BHWC = 255 * (np.repeat(IMAGES_BHWC[1], 3, axis=-1) - MEAN) / STD
    assert_maps_are(got, network, lasts, seen_BHWC)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_trained_resnet_sees_what_keras_preprocesses(channels):
    inputs = keras.Input((64, 32, channels))
    got_BHWC = keras.Model(inputs, _pixels(inputs, "resnet50", "imagenet"))(IMAGES_BHWC[channels])
    colour_BHWC = np.repeat(IMAGES_BHWC[channels], 3 // channels, axis=-1)
    wanted_BHWC = keras.applications.resnet50.preprocess_input(255 * colour_BHWC)
    np.testing.assert_allclose(got_BHWC, wanted_BHWC, atol=1e-4)


@pytest.fixture(scope="module")
def untrained():
    """A dilated ResNet50 for grey images, its weights never drawn, and its maps."""
    with keras.StatelessScope(initialize_variables=False):
        inputs = keras.Input((64, 96, 1))
        maps = feature_maps(inputs, "resnet50", dilated=True)
        return keras.Model(inputs, maps), maps


def test_an_untrained_encoder_takes_grey_as_it_is_and_gives_the_published_filters(untrained):
    model, maps = untrained
    assert {stride: x_BHWF.shape[1:] for stride, x_BHWF in maps.items()} == {
        2: (32, 48, 64),
        4: (16, 24, 256),
        8: (8, 12, 512),
        16: (4, 6, 2048),
    }
    convs = [x for x in model.get_layer("encoder").layers if isinstance(x, layers.Conv2D)]
    assert convs[0].kernel.shape == (7, 7, 1, 64)
    assert [layer.name for layer in model.layers[1:]] == ["encoder"]


def test_a_saved_encoder_stays_dilated_and_synchronized_between_devices(untrained, undrawn):
    again = keras.Model.from_config(untrained[0].get_config()).get_layer("encoder")
    convs = [x for x in again.layers if x.name.startswith("conv5_") and x.name.endswith("_conv")]
    assert {conv.strides for conv in convs} == {(1, 1)}
    assert [conv.name for conv in convs if conv.dilation_rate == (2, 2)] == [
        f"conv5_block{block}_2_conv" for block in (1, 2, 3)
    ]
    norms = [layer for layer in again.layers if isinstance(layer, layers.BatchNormalization)]
    assert len(norms) == 53
    assert all((norm.synchronized, norm.momentum) == (True, 0.9) for norm in norms)


@pytest.mark.parametrize(
    ("encoder", "weights", "dilated", "sentence"),
    [
        ("vgg16", None, False, "encoder must be one of resnet50, .*. Received: vgg16"),
        ("efficientnetb0", None, True, "one of resnet50, resnet101. Received: efficientnetb0"),
        ("resnet50", "imagenett", False, "null, imagenet or the path .* Received: imagenett,"),
        ("resnet50", "no.weights.h5", False, "Received: no.weights.h5, which is no file"),
    ],
)
def test_what_is_unknown_or_missing_is_refused(encoder, weights, dilated, sentence):
    with pytest.raises(ValueError, match=sentence):
        feature_maps(keras.Input((32, 32, 1)), encoder, weights, dilated)


@pytest.mark.parametrize("holds", ["text", "another network"])
def test_a_file_that_does_not_fit_is_refused_in_one_line(holds, tmp_path, undrawn):
    file = tmp_path / "mine.weights.h5"
    if holds == "text":
        file.write_text("no weights")
    else:
        h5py.File(file, "w").create_group("layers/conv2d/vars")
    with warnings.catch_warnings(), pytest.raises(ValueError) as refusal:
        warnings.simplefilter("error")
        feature_maps(keras.Input((32, 32, 1)), "resnet50", str(file))
    sentence = str(refusal.value)
    assert sentence.startswith(f"model.weights: {file} is no .weights.h5 or .h5 file of resnet50")
    assert sentence.endswith("give such a file, imagenet or null")
    assert "\n" not in sentence


def test_a_download_that_fails_says_what_to_do_instead(monkeypatch, undrawn):
    home = Path(os.environ.get("KERAS_HOME", "~/.keras")).expanduser()
    if list((home / "models").glob("efficientnetb0*notop.h5")):
        pytest.skip("the weights are here already")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.setattr(urllib.request, "_opener", None)  # the next one reads the variable
    with pytest.raises(ValueError, match="model.weights: the ImageNet weights of") as refusal:
        feature_maps(keras.Input((32, 32, 1)), "efficientnetb0", "imagenet")
    sentence = str(refusal.value)
    assert "https://storage.googleapis.com/keras-applications/efficientnetb0_notop.h5" in sentence
    assert sentence.endswith(
        "type model.weights=PATH of that file, downloaded elsewhere, or model.weights=null"
    )
