"""What every choice of `model=` can do: fit, learn, be saved, half precision, XLA, two replicas."""

import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from hydra.utils import get_method
from omegaconf import OmegaConf

from seg.build import build
from seg.config import conf_dir
from seg.contracts import SegError
from seg.export import export
from seg.losses.overlap import Dice
from seg.models import saved
from seg.models.check import require_fit
from seg.models.supervised import DeeplySupervised

SIDE = 32
SMALL = {
    "unet": {"levels": 2, "base_filters": 8},
    "attention": {"levels": 2, "base_filters": 8},
    "sharp": {"levels": 2, "base_filters": 8},
    "multires": {"levels": 2, "base_filters": 8},
    "unetpp": {"levels": 3, "base_filters": 8},
    "unet3plus": {"levels": 3, "base_filters": 8, "skip_filters": 8},
    "u2net": {"base_filters": 8},
    "efficient": {"decoder_filters": [16, 16, 8, 8, 8]},
    "deeplabv3plus": {"filters": 16, "low_level_filters": 8, "dilations": [1, 2]},
    "swin": {"embed_dim": 16, "depths": [2, 1], "heads": [2, 4], "window": 4},
    "transunet": {"hidden": 16, "depth": 1, "heads": 2, "mlp": 32, "stages": [1, 1, 1], "width": 8}
    | {"decoder_filters": [16, 16, 8, 8]},
    "segformer": {"depths": [1, 1, 1, 1]},
    "medicai": {},
}
REFUSED = {
    "levels": (1, "levels must be 2 or more. Received: 1"),
    "normalization": ("layer", "must be one of none, batch, instance, group. Received: layer"),
    "upsampling": ("nearest", "must be one of transposed, bilinear. Received: nearest"),
}
OPTIONAL = {"segformer": "keras_hub", "medicai": "medicai"}
XLA = {"unet", "swin"}  # each of the others compiles for up to 80 seconds
UNSTEADY = {"u2net", "deeplabv3plus"}  # normalize so few values that the last bit is heard

NAMES = sorted(path.stem for path in Path(conf_dir(), "model").glob("*.yaml"))
NAMES.remove("custom")
OURS = [name for name in NAMES if name not in OPTIONAL]


def slow(name):
    return pytest.param(name, marks=pytest.mark.slow)


def made(name, /, channels=1, **options):
    """Build a choice with its small settings."""
    if name in OPTIONAL:
        pytest.importorskip(OPTIONAL[name], reason=f"model={name} needs {OPTIONAL[name]}")
    node = OmegaConf.load(Path(conf_dir(), "model", f"{name}.yaml"))
    node = OmegaConf.merge(node, SMALL[name], options)
    return build("model", node, input_shape=(*sides(name), channels))


def sides(name):
    """Return height and width: the least that KerasHub's SegFormer takes is 64."""
    return (2 * SIDE, 2 * SIDE) if name == "segformer" else (SIDE, SIDE)


def enlarged(name, batch):
    """Return images and masks of the sides of a model."""
    times = sides(name)[0] // SIDE
    return tuple(x.repeat(times, axis=1).repeat(times, axis=2) for x in batch)


def takes(name):
    """Return the names of the arguments of one of our models."""
    return set(get_method(f"seg.models.{name}.{name}").__annotations__)


def compiled(model, longest_step=None, **how):
    """Compile for steps that are the gradient itself, of all its length or shortened."""
    model.compile(keras.optimizers.SGD(1.0, global_clipnorm=longest_step), Dice("dice"), **how)
    return model


def stepped(model, batch):
    """Take a step of training, and return the loss before it."""
    return float(model.train_on_batch(*batch, return_dict=True)["loss"])


def still(model):
    """Drop nothing at random any more."""
    for layer in model._flatten_layers():
        if hasattr(layer, "rate"):
            layer.rate = 0
    return model


def moved(model, before):
    """Return how far the weights went, all in one row."""
    steps = zip(model.get_weights(), before, strict=True)
    return np.concatenate([(weight - old).ravel() for weight, old in steps])


def apart(one, other):
    """Return how far two rows are apart, over the length of the other."""
    return np.linalg.norm(one - other) / np.linalg.norm(other)


@pytest.fixture(scope="module")
def batch():
    """Four images, bright where the mask is."""
    rng = np.random.default_rng(0)
    truth = np.zeros((4, SIDE, SIDE, 1), "float32")
    for n, (row, column) in enumerate(rng.integers(4, 16, (4, 2))):
        truth[n, row : row + 12, column : column + 12] = 1
    return (0.5 * truth + 0.3 * rng.uniform(size=truth.shape)).astype("float32"), truth


def test_every_choice_has_small_settings():
    assert set(NAMES) == set(SMALL)


@pytest.mark.parametrize("name", NAMES)
def test_it_fits_the_data_comes_back_from_disk_and_learns(name, batch, tmp_path):
    """From disk in safe mode, which `saved.load` never leaves."""
    images, truth = batch = enlarged(name, batch)
    model = made(name)
    require_fit(model, sides(name), 1, [1])
    answer = keras.ops.convert_to_numpy(model(images, training=False))
    assert answer.dtype == np.float32
    assert model.count_params() == sum(weight.size for weight in model.get_weights())

    model.save(tmp_path / "model.keras")
    loaded = saved.load(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded(images, training=False), answer, rtol=1e-5, atol=1e-6)

    # Short, since the gradient of a ResNet that has seen nothing is in the hundreds.
    before = stepped(compiled(still(model), longest_step=1e-4, run_eagerly=True), batch)
    after = model.compute_loss(images, truth, model(images, training=True))
    assert float(after) < before


@pytest.mark.parametrize("name", [name if name in XLA else slow(name) for name in NAMES])
def test_it_learns_under_xla_what_it_learns_without(name, batch):
    model, batch = still(made(name)), enlarged(name, batch)
    start = model.get_weights()
    loss = stepped(compiled(model, run_eagerly=True), batch)
    wanted = moved(model, start)
    model.set_weights(start)
    assert stepped(compiled(model, jit_compile=True), batch) == pytest.approx(loss, rel=1e-4)
    assert apart(moved(model, start), wanted) < (0.3 if name in UNSTEADY else 1e-3)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("name", NAMES)
def test_in_half_precision_it_trains_and_gives_float32_logits_of_colours_and_classes(
    name, policy, batch, restored_policy
):
    keras.config.set_dtype_policy(policy)
    classes = {"num_classes" if name == "medicai" else "classes": 3}
    model = made(name, channels=3, **classes)
    images, truth = (x[:2] for x in enlarged(name, batch))
    colours = np.repeat(images, 3, axis=-1)
    outputs = model(colours, training=True)
    for output in outputs if isinstance(model, DeeplySupervised) else [outputs]:
        assert output.shape == (2, *sides(name), 3)
        assert name in OPTIONAL or output.dtype == "float32"
        assert np.isfinite(keras.ops.convert_to_numpy(output)).all()
    assert policy.removeprefix("mixed_") in {layer.compute_dtype for layer in model.layers}

    assert np.isfinite(stepped(compiled(model, run_eagerly=True), (colours, truth)))
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


ON_TWO_REPLICAS = """
import json, sys
import keras
import numpy as np
import tensorflow as tf
sys.path.insert(0, sys.argv[1])
from seg import devices
from test_every_model import OURS, apart, compiled, made, moved, still

def step(model):
    start = model.get_weights()
    compiled(still(model), run_eagerly=True).optimizer.build(model.trainable_weights)
    strategy = model.distribute_strategy
    shares = strategy.experimental_distribute_dataset(batches)
    logs = strategy.run(model.train_step, args=(next(iter(shares)),))
    losses = [float(loss) for loss in strategy.experimental_local_results(logs["loss"])]
    assert len(set(losses)) == strategy.num_replicas_in_sync, "each replica has its own images"
    return np.mean(losses), moved(model, start)

devices.strategy("cpu:2", 2)
# Not with the strategy's own sums, each of which starts a pool of threads: half of the time.
two = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"], tf.distribute.ReductionToOneDevice())
batches = tf.data.Dataset.from_tensor_slices(tuple(np.load(sys.argv[2]))).batch(2)
keras.config.set_dtype_policy("float64")
steps = {}
for name in OURS:
    with two.scope():
        shared = made(name)
        start = shared.get_weights()
        loss, change = step(shared)
    alone = made(name)
    alone.set_weights(start)
    lone_loss, lone_change = step(alone)
    steps[name] = loss / lone_loss - 1, apart(change, lone_change)
print(json.dumps(steps))
"""


def test_on_two_replicas_they_learn_what_they_learn_on_one(batch, tmp_path):
    """One image on each, so that statistics which are not shared between them would be no good.

    Eagerly, which takes a quarter of the time; test_run.py has replicas in a graph.
    """
    np.save(tmp_path / "batch.npy", [x[:2] for x in batch])
    arguments = [str(Path(__file__).parent), str(tmp_path / "batch.npy")]
    done = subprocess.run(
        [sys.executable, "-c", ON_TWO_REPLICAS, *arguments], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    steps = json.loads(done.stdout.splitlines()[-1])
    assert set(steps) == set(OURS)
    for name, (loss, change) in steps.items():
        assert abs(loss) < 1e-6, name
        assert change < 1e-4, name


@pytest.mark.parametrize("name", OURS)
def test_it_takes_the_name_and_where_it_has_the_option_the_activation_given(name, undrawn):
    activation = {"activation": "mish"} if "activation" in takes(name) else {}
    model = made(name, name="mine", **activation)
    used = {getattr(getattr(layer, "activation", None), "__name__", "") for layer in model.layers}
    assert model.name == "mine"
    assert used & {"mish", "relu"} == set(activation.values())


@pytest.mark.parametrize("name", OURS)
def test_of_the_options_that_it_has_it_refuses_what_cannot_be_built(name, undrawn):
    for option in takes(name) & set(REFUSED):
        value, sentence = REFUSED[option]
        with pytest.raises(SegError, match=sentence):
            made(name, **{option: value})


@pytest.mark.slow
@pytest.mark.parametrize("format_", ["savedmodel", "onnx", "tflite"])
@pytest.mark.parametrize("name", NAMES)
def test_it_is_exported_to_every_format(name, format_, tmp_path):
    made(name).save(tmp_path / "model.keras")
    if (name, format_) == ("segformer", "onnx"):  # tf2onnx 1.17 makes wrong shapes of its heads
        with pytest.raises(SegError, match="its own runtime does not run what was written"):
            export(tmp_path / "model.keras", format_, tmp_path / "out")
        return
    said = export(tmp_path / "model.keras", format_, tmp_path / "out")
    assert said["compared_with_keras"]["largest_difference"] < 1e-5
