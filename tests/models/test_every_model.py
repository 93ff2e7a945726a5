"""What every choice of `model=` can do: fit, learn, be saved, half precision, XLA, two replicas."""

import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import get_method

from seg.build import build
from seg.config import conf_dir
from seg.losses.overlap import Dice
from seg.models import saved
from seg.models.check import require_fit
from seg.models.supervised import DeeplySupervised

SIDE = 32
SMALL = {
    "unet": {"levels": 3, "base_filters": 8, "dropout": 0},
    "attention": {"levels": 3, "base_filters": 8, "dropout": 0},
    "sharp": {"levels": 3, "base_filters": 8},
    "multires": {"levels": 3, "base_filters": 8},
    "unetpp": {"levels": 3, "base_filters": 8, "dropout": 0},
    "unet3plus": {"levels": 3, "base_filters": 8, "skip_filters": 8},
    "u2net": {"base_filters": 8},
    "efficient": {"decoder_filters": [16, 16, 8, 8, 8]},
    "deeplabv3plus": {"filters": 16, "low_level_filters": 8, "dropout": 0},
    "swin": {"embed_dim": 16, "depths": [2, 2], "heads": [2, 4], "window": 4} | {"drop_path": 0},
    "transunet": {"hidden": 16, "depth": 1, "heads": 2, "mlp": 32, "stages": [1, 1, 1], "width": 8}
    | {"decoder_filters": [16, 16, 8, 8], "dropout": 0},
    "segformer": {"depths": [1, 1, 1, 1]},
    "medicai": {},
}
DROPPING = {"efficient", "segformer"}  # at random, which no option turns off
OPTIONAL = {"segformer": "keras_hub", "medicai": "medicai"}
LIGHT = {"unet", "attention", "sharp", "swin", "transunet"}  # XLA takes minutes for the others


def slow(name):
    return pytest.param(name, marks=pytest.mark.slow)


NAMES = sorted(path.stem for path in Path(conf_dir(), "model").glob("*.yaml"))
NAMES.remove("custom")


def made(name, channels=1, **options):
    """Build a choice with its small settings."""
    if name in OPTIONAL:
        pytest.importorskip(OPTIONAL[name], reason=f"model={name} needs {OPTIONAL[name]}")
    with initialize_config_dir(conf_dir(), version_base="1.3"):
        cfg = compose("config", [f"model={name}"])
    node = cfg.model
    for key, value in (SMALL[name] | options).items():
        node[key] = value
    return build("model", node, input_shape=(*sides(name), channels))


def sides(name):
    """Return height and width: the least that KerasHub's SegFormer takes is 64."""
    return (2 * SIDE, 2 * SIDE) if name == "segformer" else (SIDE, SIDE)


def enlarged(name, batch):
    """Return images and masks of the sides of a model."""
    times = sides(name)[0] // SIDE
    return tuple(x.repeat(times, axis=1).repeat(times, axis=2) for x in batch)


def trained(model, batch, steps=3, **how):
    """Return the loss before each of some steps on one batch."""
    model.compile(keras.optimizers.Adam(1e-3), Dice("dice"), **how)
    return [float(model.train_on_batch(*batch, return_dict=True)["loss"]) for _ in range(steps)]


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
    images, truth = batch = enlarged(name, batch)
    model = made(name)
    require_fit(model, sides(name), 1, [1])
    answer = keras.ops.convert_to_numpy(model(images, training=False))
    assert answer.dtype == np.float32
    assert model.count_params() == sum(weight.size for weight in model.get_weights())

    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    for again in (loaded, saved.load(tmp_path / "model.keras")):
        np.testing.assert_allclose(again(images, training=False), answer, rtol=1e-5, atol=1e-6)

    first, *_, last = trained(model, batch, run_eagerly=True)
    assert last < first


@pytest.mark.parametrize("name", [name if name in LIGHT else slow(name) for name in NAMES])
def test_it_learns_under_xla_what_it_learns_without(name, batch):
    model, batch = made(name), enlarged(name, batch)
    start = model.get_weights()
    plain = trained(model, batch, steps=2, run_eagerly=True)
    model.set_weights(start)
    compiled = trained(model, batch, steps=2, jit_compile=True)
    assert np.isfinite(compiled).all()
    assert compiled == pytest.approx(plain, rel=0.2 if name in DROPPING else 0.02)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("name", NAMES)
def test_in_half_precision_it_trains_and_gives_float32_logits_of_colours_and_classes(
    name, policy, batch, restored_policy
):
    keras.config.set_dtype_policy(policy)
    classes = {"num_classes" if name == "medicai" else "classes": 3}
    model = made(name, channels=3, **classes)
    images, truth = enlarged(name, batch)
    colours = np.repeat(images, 3, axis=-1)
    outputs = model(colours, training=True)
    for output in outputs if isinstance(model, DeeplySupervised) else [outputs]:
        assert output.shape == (4, *sides(name), 3)
        assert name in OPTIONAL or output.dtype == "float32"
        assert np.isfinite(keras.ops.convert_to_numpy(output)).all()

    assert np.isfinite(trained(model, (colours, truth), steps=1, run_eagerly=True)).all()
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


ON_TWO_REPLICAS = """
import json, sys
import numpy as np
sys.path.insert(0, sys.argv[1])
from seg import devices
from test_every_model import NAMES, OPTIONAL, made, trained
strategy = devices.strategy("cpu:2", 4)
batch = np.load(sys.argv[2])
losses = {}
for name in NAMES:
    if name not in OPTIONAL:
        with strategy.scope():
            model = made(name)
            start = model.get_weights()
            losses[name] = [trained(model, batch, steps=2, run_eagerly=True)]
        alone = made(name)
        alone.set_weights(start)
        losses[name].append(trained(alone, batch, steps=2, run_eagerly=True))
print(json.dumps(losses))
"""


def test_on_two_replicas_they_learn_what_they_learn_on_one(batch, tmp_path):
    """Eagerly, which takes a quarter of the time; test_run.py has replicas in a graph."""
    np.save(tmp_path / "batch.npy", batch)
    arguments = [str(Path(__file__).parent), str(tmp_path / "batch.npy")]
    done = subprocess.run(
        [sys.executable, "-c", ON_TWO_REPLICAS, *arguments], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    losses = json.loads(done.stdout.splitlines()[-1])
    assert set(losses) == set(NAMES) - set(OPTIONAL)
    for name, (shared, alone) in losses.items():
        assert shared == pytest.approx(alone, rel=0.2 if name in DROPPING else 1e-3), name


@pytest.mark.parametrize("activation", ["leaky_relu", "gelu", "mish"])
@pytest.mark.parametrize("name", [name for name in NAMES if name not in OPTIONAL])
def test_it_takes_other_activations_where_it_has_the_option(name, activation):
    if "activation" not in get_method(f"seg.models.{name}.{name}").__annotations__:
        pytest.skip("the architecture names its own")
    model = made(name, activation=activation)
    used = {getattr(getattr(layer, "activation", None), "__name__", "") for layer in model.layers}
    assert activation in used
