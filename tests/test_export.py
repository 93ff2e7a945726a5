"""Facts about `seg.export`: what a file answers, worked out from the Keras model and by hand."""

import json
import logging
import shutil
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
import yaml
from keras import layers
from scipy.special import expit, softmax

from seg import export
from seg.contracts import SegError
from seg.models import manual
from seg.models.deployed import Scale, deployed, in_float32
from seg.models.manual import Cleanup, Manual
from seg.models.unet import unet

SIDE = 16
CT = {"intensity": {"_target_": "seg.data.intensity.Window", "centre_hu": 50, "width_hu": 400}}
CT |= {"_target_": "seg.data.recipe.Recipe", "bits": 8}
MR = {"intensity": {"_target_": "seg.data.intensity.Percentiles"}, "bits": 8}
UNET = {"levels": 2, "base_filters": 4, "base_kernel": 3, "base_dilation": 1, "dropout": 0.0}
UNET |= {"normalization": "batch", "activation": "relu", "upsampling": "transposed"}


def saved(folder, model, size=(SIDE, SIDE), **known):
    """Leave a model in a folder as a run does, with its manual; return its file."""
    folder.mkdir(exist_ok=True)
    model.save(folder / "model.keras")
    channels = model.input_shape[-1]
    told = {"labels": {}, "seen": None, "stacked": True} | known
    manual.write(Manual(size=size, channels=channels, **told), folder / "model.keras")
    return folder / "model.keras"


def small(classes=1, channels=1):
    return unet((SIDE, SIDE, channels), **UNET, classes=classes)


def by_savedmodel(folder, images):
    loaded = tf.saved_model.load(str(folder / "saved_model"))
    return loaded.serve(images).numpy()


def by_onnx(folder, images):
    import onnxruntime

    return onnxruntime.InferenceSession(folder / "model.onnx").run(None, {"image": images})[0]


def by_tflite(folder, images):
    """One by one, as an interpreter takes them that nobody has told another batch size."""
    runner = tf.lite.Interpreter(str(folder / "model.tflite")).get_signature_runner()
    return np.concatenate([runner(image=image[None])["output_0"] for image in images])


RUNTIMES = {"savedmodel": by_savedmodel, "onnx": by_onnx, "tflite": by_tflite}


@pytest.mark.parametrize("name", RUNTIMES)
def test_a_file_takes_hounsfield_units_and_answers_as_keras_does(name, tmp_path):
    """Grey values of 8 bits by hand: -150 HU is black, 250 HU is white."""
    model = small()
    said = export.export(saved(tmp_path / "run", model, prepare=CT), name, tmp_path / "out")
    hu = np.random.default_rng(0).integers(-1024, 1500, (3, SIDE, SIDE, 1)).astype("float32")
    hu[0, :8] = np.linspace(-150, 250, 8 * SIDE).round().reshape(8, SIDE, 1)
    grey = np.rint(np.clip((hu + 150) / 400, 0, 1) * 255) / 255
    wanted = expit(model.predict_on_batch(grey))
    answer = RUNTIMES[name](tmp_path / "out", hu)
    assert answer.dtype == np.float32
    np.testing.assert_allclose(answer, wanted, atol=1e-5)
    assert said == json.loads((tmp_path / "out" / "export.json").read_text())
    assert (said["input"]["unit"], said["input"]["shape"]) == ("HU", [None, SIDE, SIDE, 1])
    assert said["compared_with_keras"]["largest_difference"] < 1e-5


@pytest.mark.parametrize("centre, width", [(50, 400), (35, 90), (-600, 1500)])
def test_every_whole_unit_becomes_the_grey_value_of_training(centre, width):
    """Half-way values too, every 40th HU of a window of 400: 25.5 and 76.5 go to even ones."""
    low, high = centre - width / 2, centre + width / 2
    inputs = keras.Input((1, None, 1))
    identity = keras.Model(inputs, layers.Activation("linear")(inputs))
    hu = np.arange(-2000, 2000, dtype=np.float32).reshape(1, 1, -1, 1)
    made = deployed(identity, hu.shape[1:3], Scale(low, high, 255))
    grey = np.rint(np.clip((hu - np.float32(low)) / np.float32(high - low), 0, 1) * 255)
    np.testing.assert_allclose(made.predict_on_batch(hu), expit(grey / 255), atol=1e-6)


@pytest.mark.parametrize("name", RUNTIMES)
def test_a_model_of_any_size_that_enlarges_bilinearly_is_exported_at_one(name, tmp_path):
    inputs = keras.Input((None, None, 3))
    x = layers.Conv2D(4, 3, strides=2, padding="same", activation="relu")(inputs)
    x = layers.UpSampling2D(2, interpolation="bilinear")(x)
    model = keras.Model(inputs, layers.Conv2D(3, 1)(x))
    file = saved(tmp_path / "run", model, (24, 32), prepare=MR, labels={"a": 1, "b": 2})
    said = export.export(file, name, tmp_path / "out")
    grey = np.random.default_rng(0).uniform(0, 255, (2, 24, 32, 3)).astype("float32")
    wanted = softmax(model.predict_on_batch(grey / 255), axis=-1)
    np.testing.assert_allclose(RUNTIMES[name](tmp_path / "out", grey), wanted, atol=1e-5)
    assert said["input"]["unit"] == "grey value, 0 to 255"
    assert said["output"]["shape"] == [None, 24, 32, 3]
    assert (said["classes"], said["threshold"]) == ({"a": 1, "b": 2}, None)
    assert "how intensities became grey values (prepare)" in said["left_out"]


def test_what_half_precision_has_trained_computes_in_float32(tmp_path):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        half = small()
    finally:
        keras.config.set_dtype_policy(before)
    single = small()
    single.set_weights(half.get_weights())
    file = saved(tmp_path / "run", half)
    said = export.export(file, "onnx", tmp_path / "out")
    grey = np.random.default_rng(0).uniform(0, 255, (1, SIDE, SIDE, 1)).astype("float32")
    wanted = expit(single.predict_on_batch(grey / 255))
    np.testing.assert_allclose(by_onnx(tmp_path / "out", grey), wanted, atol=1e-5)
    assert said["model"]["trained_in"] == "mixed_float16"
    assert in_float32(single) == "float32"


@keras.saving.register_keras_serializable(package="test_export")
class Restless(layers.Layer):
    """Adds noise, other at every look."""

    def call(self, x):
        return x + tf.random.normal(tf.shape(x))


def test_a_file_that_answers_otherwise_is_refused_and_leaves_nothing(tmp_path):
    inputs = keras.Input((SIDE, SIDE, 1))
    file = saved(tmp_path / "run", keras.Model(inputs, Restless()(inputs)))
    with pytest.raises(SegError, match="other probabilities than Keras, by up to 0"):
        export.export(file, "savedmodel", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_a_format_lacks_is_named(tmp_path):
    @keras.saving.register_keras_serializable(package="test_export")
    class Gamma(layers.Layer):
        def call(self, x):
            return tf.math.igamma(x + 1, x + 1)

    inputs = keras.Input((SIDE, SIDE, 1))
    file = saved(tmp_path / "run", keras.Model(inputs, Gamma()(inputs)))
    with pytest.raises(SegError, match="tflite: .* cannot be converted .it lacks Igamma.; take"):
        export.export(file, "tflite", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_missing_package_is_said_before_anything_is_loaded(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    words = [str(tmp_path / "nothing.keras"), "--format", "onnx", "--out", str(tmp_path / "out")]
    assert export.main(words) == 1
    said = capsys.readouterr().err
    assert said == ("error: --format onnx: tf2onnx is not installed; pip install -e '.[onnx]'\n")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_holds_something_is_left_as_it_is(tmp_path, capsys):
    file = saved(tmp_path / "run", small())
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    assert export.main([str(file), "--format", "tflite", "--out", str(tmp_path / "out")]) == 1
    assert "is there already; name a new folder" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


@pytest.fixture
def run(tmp_path, cohort):
    """A run's folder, of a model that has learned from the cohort."""
    names = sorted(path.stem for path in (cohort / "images").iterdir())
    known = {"threshold": 0.4, "cleanup": Cleanup(True, 20.0, False), "flipped": True}
    file = saved(tmp_path / "run", small(), **known)
    config = {"dataset": {"root": str(cohort)}, "model": {"_target_": "seg.models.unet.unet"}}
    (file.parent / "config.yaml").write_text(yaml.dump(config))
    splits = {"train": {"p000": names[:4]}, "valid": {}, "test": {"p001": names[4:7]}}
    (file.parent / "splits.json").write_text(json.dumps(splits))
    return file.parent


def test_the_command_compares_on_the_test_images_of_a_run(run, monkeypatch, capsys, caplog):
    monkeypatch.setenv("SEG_OUTPUTS", str(run.parent / "outputs"))
    assert export.main([str(run), "--format", "savedmodel"]) == 0
    first, second, folder = capsys.readouterr().out.splitlines()
    assert "in 3 images of the data and 4 made up" in first
    assert second.startswith("Keras ") and "savedmodel" in second
    assert Path(folder).parent == run.parent / "outputs" / "export"
    said = json.loads((Path(folder) / "export.json").read_text())
    assert said["compared_with_keras"]["real_images"] == 3
    assert said["threshold"] == 0.4
    assert said["cleanup"]["min_size"] == 20
    assert "mean over flips" in said["left_out"]
    assert "no test image" not in caplog.text


def test_pictures_are_those_of_verify_at_most_sixteen_from_all_over(run, cohort, monkeypatch):
    pictures = export._pictures(cohort / "images")
    assert len(pictures) == 24
    some = export._some(pictures)
    assert (len(some), len(set(some)), some[0]) == (16, 16, pictures[0])
    assert some[-1] in pictures[-2:]
    assert export._pictures(pictures[3]) == [pictures[3]]
    with pytest.raises(SegError, match="holds no picture"):
        export._pictures(run / "splits.json" / "none")


def test_a_model_that_says_nothing_of_itself_is_one_of_pictures(tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    small().save(tmp_path / "model.keras")
    said = export.export(tmp_path / "model.keras", "savedmodel", tmp_path / "out")
    assert "does not say how it is used: taken for a model of pictures" in caplog.text
    assert (said["input"]["shape"], said["threshold"]) == ([None, SIDE, SIDE, 1], None)
    inputs = keras.Input((None, None, 1))
    keras.Model(inputs, layers.Conv2D(1, 1)(inputs)).save(tmp_path / "free.keras")
    shutil.rmtree(tmp_path / "out")
    with pytest.raises(SegError, match="takes images of any size"):
        export.export(tmp_path / "free.keras", "savedmodel", tmp_path / "out")
    assert not (tmp_path / "out").exists()
