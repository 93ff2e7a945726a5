"""Facts about `seg.models.saved`: what loads where nothing is imported yet, what is refused."""

import json
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest
from keras import layers

from seg.contracts import SegError
from seg.losses.mixture import Mixture
from seg.losses.overlap import Dice
from seg.metrics.streaming import DiceCoef
from seg.models import saved
from seg.models.blocks import logits
from seg.models.supervised import supervised
from seg.models.swin import swin
from seg.models.transunet import transunet
from seg.models.unet import unet

ONE_STAGE = {"stages": (1,), "width": 4, "decoder_filters": (8, 4)}
LOAD_AND_PREDICT = """
import sys
from pathlib import Path
import numpy as np
from seg.contracts import SegError
from seg.models import saved
folder = Path(sys.argv[1])
images = np.load(folder / "images.npy")
for name in sys.argv[2:]:
    try:
        model = saved.load(folder / f"{name}.keras")
    except SegError as error:
        (folder / f"{name}.error").write_text(str(error))
    else:
        np.save(folder / f"{name}.npy", np.array(model(images)))
"""


@pytest.fixture(scope="module")
def by_process(tmp_path_factory):
    """Logits by architecture, of this process; and the folder of those of a fresh process.

    The models are compiled with a loss and a metric of ours, which prediction does not need.
    """
    folder = tmp_path_factory.mktemp("saved")
    models = {
        "unet": unet((32, 32, 1), levels=3, base_filters=2, activation="mish"),
        "swin": swin((32, 32, 1), embed_dim=8, depths=(2, 2), heads=(1, 2), window=4),
        "transunet": transunet((32, 32, 1), hidden=8, depth=1, heads=2, mlp=16, **ONE_STAGE),
    }
    images = np.random.default_rng(0).uniform(size=(2, 32, 32, 1)).astype("float32")
    np.save(folder / "images.npy", images)
    for name, model in models.items():
        loss = Mixture({"dice": {"weight": 1.0, "loss": Dice("dice")}})
        model.compile("adam", loss, metrics=[DiceCoef()])
        model.save(folder / f"{name}.keras")
    subprocess.run([sys.executable, "-c", LOAD_AND_PREDICT, folder, *models], check=True)
    return {name: np.array(model(images)) for name, model in models.items()}, folder


@pytest.fixture
def tiny(tmp_path):
    """File of a saved model of 8 x 8."""
    unet((8, 8, 1), levels=2, base_filters=1).save(tmp_path / "tiny.keras")
    return tmp_path / "tiny.keras"


def rewritten(source, target, **replaced):
    """Copy a .keras file with members replaced, or left out where None; names by their stem."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for member in old.namelist():
            content = replaced.get(member.split(".")[0], old.read(member))
            if content is not None:
                new.writestr(member, content)
    return target


@pytest.mark.parametrize("name", ["unet", "swin", "transunet"])
def test_a_process_that_imports_nothing_else_loads_it_and_gets_the_same_logits(name, by_process):
    here, folder = by_process
    error = folder / f"{name}.error"
    assert not error.exists(), error.read_text()
    there = np.load(folder / f"{name}.npy")
    np.testing.assert_allclose(there, here[name], rtol=1e-5, atol=1e-6)


def test_a_model_is_loaded_without_its_loss(tmp_path):
    model = unet((8, 8, 1), levels=2, base_filters=1)
    model.compile("adam", "mse")
    model.save(tmp_path / "model.keras")
    assert saved.load(tmp_path / "model.keras").compiled is False


def test_a_missing_file_is_refused_by_name(tmp_path):
    with pytest.raises(SegError, match="checkpoint: .*none.keras is not a readable .keras file"):
        saved.load(tmp_path / "none.keras")


@pytest.mark.parametrize("content", [b"", b"no archive at all" * 20, b"PK\x03\x04 begun as one"])
def test_a_file_of_other_content_is_refused(content, tmp_path):
    (tmp_path / "broken.keras").write_bytes(content)
    with pytest.raises(SegError, match="broken.keras is not a readable .keras file"):
        saved.load(tmp_path / "broken.keras")


def test_a_file_cut_short_is_refused(tiny):
    tiny.write_bytes(tiny.read_bytes()[: tiny.stat().st_size // 2])
    with pytest.raises(SegError, match="tiny.keras is not a readable .keras file"):
        saved.load(tiny)


@pytest.mark.parametrize(
    "replaced", [{"config": "{"}, {"config": "{}"}, {"model": None}, {"model": b"no weights"}]
)
def test_an_archive_with_a_broken_part_is_refused(replaced, tiny, tmp_path):
    broken = rewritten(tiny, tmp_path / "broken.keras", **replaced)
    with pytest.raises(SegError, match="broken.keras is not a readable .keras file"):
        saved.load(broken)


def test_an_archive_without_a_config_is_refused(tiny, tmp_path):
    broken = rewritten(tiny, tmp_path / "broken.keras", config=None)
    with pytest.raises(SegError, match="broken.keras is not a readable .keras file"):
        saved.load(broken)


def test_a_model_that_carries_code_is_refused(tmp_path):
    inputs = keras.Input((8, 8, 1))
    keras.Model(inputs, keras.layers.Lambda(lambda x: x)(inputs)).save(tmp_path / "code.keras")
    with pytest.raises(SegError, match="code.keras is not a readable .keras file .*Lambda"):
        saved.load(tmp_path / "code.keras")


def test_of_deep_supervision_the_answer_is_left(tmp_path):
    inputs = keras.Input((8, 8, 1))
    sides = [logits(inputs, 1), logits(inputs, 1, name="side")]
    model = supervised(inputs, sides, deep_supervision=True, name="two")
    model.save(tmp_path / "two.keras")
    images = np.random.default_rng(0).uniform(size=(2, 8, 8, 1)).astype("float32")
    loaded = saved.drop_training_state(tmp_path / "two.keras")
    assert loaded.output_shape == (None, 8, 8, 1)
    np.testing.assert_array_equal(loaded(images), model(images))
    with zipfile.ZipFile(tmp_path / "two.keras") as archive:
        assert b"seg" not in archive.read("config.json")


def test_a_layer_that_is_not_imported_asks_for_the_model_of_the_training(tmp_path):
    inputs = keras.Input((8, 8, 1))
    keras.Model(inputs, layers.Conv2D(1, 1)(inputs)).save(tmp_path / "there.keras")
    with zipfile.ZipFile(tmp_path / "there.keras") as archive:
        config = json.loads(archive.read("config.json"))
    config["config"]["layers"][1] |= {
        "class_name": "Theirs",
        "module": "their_package",
        "registered_name": "their_package>Theirs",
    }
    foreign = rewritten(
        tmp_path / "there.keras", tmp_path / "foreign.keras", config=json.dumps(config)
    )
    with pytest.raises(SegError, match="foreign.keras has layers of another package; give model="):
        saved.load(foreign)
