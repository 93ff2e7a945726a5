"""Published image classifiers as encoders, with or without what they have learned.

Sources: He et al. 2015, arXiv 1512.03385 (ResNet); Tan and Le 2019, arXiv 1905.11946
(EfficientNet); the networks and the weights are those of `keras.applications`.

Axes: B batch, H height, W width, C channels, F filters.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import keras
import numpy as np
from keras import KerasTensor, layers, ops

from seg.contracts import first_line
from seg.models.blocks import MOMENTUM, require_one_of

RESNETS = {"resnet50": keras.applications.ResNet50, "resnet101": keras.applications.ResNet101}
EFFICIENTNETS = {
    f"efficientnetb{n}": getattr(keras.applications, f"EfficientNetB{n}") for n in range(8)
}
ENCODERS = RESNETS | EFFICIENTNETS

# The map of a stride is the output of the last layer whose name starts so.
STAGES = {
    **dict.fromkeys(RESNETS, ("conv1_", "conv2_", "conv3_", "conv4_", "conv5_")),
    **dict.fromkeys(EFFICIENTNETS, ("block1", "block2", "block3", "block5", "top_")),
}
STRIDES = (2, 4, 8, 16, 32)

MEAN_BGR = (103.939, 116.779, 123.68)
STD_RGB = (0.229, 0.224, 0.225)


def feature_maps(
    images_BHWC: KerasTensor, encoder: str, weights: str | None = None, dilated: bool = False
) -> dict[int, KerasTensor]:
    """Apply an encoder, as one layer called "encoder", to images over 0..1.

    Trained weights get the pixels that they were trained with: the model itself scales them, and
    gives a grey value to each of the three channels of the trained network. Without weights the
    first convolution has as many channels as the images. Batch normalization is that of
    `seg.models.blocks`: synchronized between devices, with a momentum for short trainings.

    Args:
        images_BHWC: C is 1 or 3; H and W may be None.
        encoder: one of `ENCODERS`.
        weights: None (random), "imagenet" (downloaded by Keras), or a .weights.h5 or .h5 file of
            the network of `keras.applications` with include_top=False.
        dilated: the last stage of a ResNet keeps stride 16 and sees as far as at stride 32, by
            dilation (Chen et al. 2017, arXiv 1706.05587, section 3.1).

    Returns:
        By stride s (2, 4, 8, 16, 32; with `dilated` up to 16): the map (B, H/s, W/s, F), rounded
        up.

    Raises:
        ValueError: the encoder or the weights are unknown, missing, or do not fit each other.
    """
    require_one_of("encoder", encoder, tuple(RESNETS if dilated else ENCODERS))
    network = _network(encoder, weights, channels=3 if weights else images_BHWC.shape[-1])
    for layer in network.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.synchronized, layer.momentum = True, MOMENTUM
    strides, prefixes = STRIDES, STAGES[encoder]
    if dilated:
        _dilate(network, prefixes[-1])
        strides, prefixes = STRIDES[:4], (*prefixes[:3], prefixes[-1])
    lasts = [_last(network, prefix) for prefix in prefixes]
    maps = keras.Model(network.inputs, [layer.output for layer in lasts], name="encoder")
    return dict(zip(strides, maps(_pixels(images_BHWC, encoder, weights)), strict=True))


def _last(network: keras.Model, prefix: str) -> layers.Layer:
    return [layer for layer in network.layers if layer.name.startswith(prefix)][-1]


def _dilate(network: keras.Model, prefix: str) -> None:
    # Keras reads both numbers at each call, and writes them into a saved model; no shape computed
    # before this goes stale, because the network is built for images of any size.
    for layer in network.layers:
        if layer.name.startswith(prefix) and isinstance(layer, layers.Conv2D):
            layer.strides = (1, 1)
            layer.dilation_rate = (2, 2) if layer.kernel_size == (3, 3) else (1, 1)


def _pixels(images_BHWC: KerasTensor, encoder: str, weights: str | None) -> KerasTensor:
    """Give images over 0..1 the channels, their order and the range that a network expects."""
    x_BHWC = images_BHWC
    if weights and x_BHWC.shape[-1] == 1:
        x_BHWC = layers.Concatenate(name="grey_to_rgb")([x_BHWC] * 3)
    if encoder in EFFICIENTNETS:
        return layers.Rescaling(255.0, dtype="float32", name="pixels")(x_BHWC)
    if weights:
        shift = [-mean for mean in MEAN_BGR]
        to_255 = layers.Rescaling(255.0, offset=shift, dtype="float32", name="pixels")
        return to_255(ops.flip(x_BHWC, axis=-1))
    return x_BHWC


def _network(encoder: str, weights: str | None, channels: int) -> keras.Model:
    options = {"include_top": False, "input_shape": (None, None, channels)}
    if weights == "imagenet":
        try:
            return ENCODERS[encoder](weights="imagenet", **options)
        except Exception as error:  # Keras raises no narrower one for a failed download
            raise ValueError(
                f"model.weights: the ImageNet weights of {encoder} cannot be had ({error}); type "
                "model.weights=PATH of that file, downloaded elsewhere, or model.weights=null"
            ) from error
    if weights is not None and not Path(weights).expanduser().is_file():
        raise ValueError(
            "model.weights must be null, imagenet or the path of a .weights.h5 or .h5 file. "
            f"Received: {weights}, which is no file"
        )
    network = ENCODERS[encoder](weights=None, **options)
    if weights:
        _load(network, encoder, Path(weights).expanduser())
    return network


def _load(network: keras.Model, encoder: str, path: Path) -> None:
    try:
        with warnings.catch_warnings():  # Keras warns of each layer before it refuses the file
            warnings.simplefilter("ignore")
            network.load_weights(path)
    except (ValueError, OSError, KeyError) as error:
        raise ValueError(
            f"model.weights: {path} is no .weights.h5 or .h5 file of {encoder} without its "
            f"classifier ({first_line(error)}); give such a file, imagenet or null"
        ) from error
    for layer in network.layers:
        if isinstance(layer, layers.Normalization):
            mean, spread, count = layer.get_weights()
            # The published files hold the deviation as variance. Keras mends that by a layer more,
            # in networks built with weights="imagenet" only.
            if np.allclose(spread, STD_RGB, atol=1e-4):
                layer.set_weights([mean, spread**2, count])
                layer.finalize_state()
