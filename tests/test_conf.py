"""Every YAML of conf/ composes, and lists exactly the arguments of what it builds."""

import inspect
from itertools import product
from pathlib import Path

import keras
import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import get_method
from omegaconf import OmegaConf

from seg.build import build
from seg.config import conf_dir, validate

CONF = Path(conf_dir())
GROUPS = ["dataset", "model", "loss", "optimizer", "augment", "trainer", "tracking", "metrics"]
FILES = sorted(path for group in GROUPS for path in (CONF / group).glob("*.yaml"))
MODELS = [
    *("unet", "attention", "swin", "multires", "efficient", "unet3plus", "deeplabv3plus"),
    *("transunet", "u2net", "sharp", "unetpp"),
]
GIVEN = {"dataset": {"root"}, "model": {"input_shape"}}


def load(*overrides):
    with initialize_config_dir(conf_dir(), version_base="1.3"):
        return compose("config", list(overrides))


def targets(node):
    if isinstance(node, dict):
        if "_target_" in node:
            yield node
        for child in node.values():
            yield from targets(child)


def choices(group):
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}={path.stem}")
def test_a_choice_composes_and_validates(path):
    validate(load(f"{path.parent.name}={path.stem}"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}={path.stem}")
def test_yaml_keys_equal_the_targets_signature(path):
    for node in targets(OmegaConf.to_container(OmegaConf.load(path))):
        if not node["_target_"].startswith("seg."):
            continue  # other packages have a score of arguments that nobody sets
        target = get_method(node["_target_"])
        expected = {
            name
            for name, parameter in inspect.signature(target).parameters.items()
            if parameter.kind is not inspect.Parameter.VAR_KEYWORD
        }
        assert set(node) - {"_target_"} == expected - GIVEN.get(path.parent.name, set())


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}={path.stem}")
def test_a_choice_says_what_it_is_in_its_first_line(path):
    assert path.read_text().startswith("# ")


@pytest.mark.parametrize("group", ["dataset", "model", "loss"])
def test_a_choice_is_called_what_it_calls_itself(group):
    for choice in choices(group):
        assert OmegaConf.load(CONF / group / f"{choice}.yaml").name == choice


def test_every_promised_choice_composes_with_every_dataset():
    datasets = ["phantom", "spleen", "pancreas_t1", "ms_flair", "ms_mni", "breastdm", "lgg"]
    promised = {
        "model": MODELS,
        "loss": ["bce_dice", "dice", "bce", "iou", "bce_iou", "basnet_hybrid"],
        "augment": ["on", "off", "light", "reference", "strong"],
    }
    assert set(datasets) <= set(choices("dataset"))
    longest = max(map(len, promised.values()))
    with initialize_config_dir(conf_dir(), version_base="1.3"):
        for dataset, k in product(datasets, range(longest)):
            model, loss, augment = (names[k % len(names)] for names in promised.values())
            cfg = compose(
                "config",
                [f"dataset={dataset}", f"model={model}", f"loss={loss}", f"augment={augment}"],
            )
            assert (cfg.dataset.name, cfg.model.name, cfg.loss.name) == (dataset, model, loss)
            assert bool(cfg.augment) == (augment != "off")


@pytest.mark.parametrize("path", sorted((CONF / "experiment").glob("*.yaml")), ids=lambda p: p.stem)
def test_an_experiment_composes(path):
    validate(load(f"experiment={path.stem}"))


@pytest.mark.parametrize(("model", "size"), [*((model, 64) for model in MODELS), ("swin", 256)])
def test_the_datasets_image_sizes_fit_every_model(model, size):
    """64 for the phantom and 256 for all others, a multiple; the weights are never drawn."""
    cfg = load(f"model={model}")
    with keras.StatelessScope(initialize_variables=False):
        built = build("model", cfg.model, input_shape=(size, size, 1))
    assert built.name == model


def test_data_and_outputs_follow_the_environment(monkeypatch):
    monkeypatch.setenv("SEG_DATA", "/somewhere")
    monkeypatch.setenv("SEG_OUTPUTS", "/elsewhere")
    cfg = validate(load("dataset=spleen"))
    assert (cfg.dataset.root, cfg.paths.outputs) == ("/somewhere/spleen", "/elsewhere")


def test_an_augmentation_set_to_null_is_left_out():
    cfg = load("augment.rotate=null", "augment.flip_vertical.p=0.9")
    parts = build("augment", cfg.augment)
    assert "rotate" not in parts
    assert parts["flip_vertical"].p == 0.9
