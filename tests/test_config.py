"""Wrong configs are refused in one sentence that names the key, the value and what to do."""

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from seg.build import build
from seg.config import classes, conf_dir, explain, image_size, validate
from seg.contracts import SegError


def load(*overrides):
    with initialize_config_dir(conf_dir(), version_base="1.3"):
        return compose("config", list(overrides))


@pytest.mark.parametrize(
    ("override", "key", "received"),
    [
        ("dataset.channels=2", "dataset.channels", "2"),
        ("dataset.fractions=[0.5,0.5]", "dataset.fractions", "[0.5, 0.5]"),
        ("dataset.fractions=[0.7,0.2,0.2]", "dataset.fractions", "0.2"),
        ("dataset.image_size=0", "dataset.image_size", "0"),
        ("dataset.image_size=[64]", "dataset.image_size", "[64]"),
        ("dataset.image_size=big", "dataset.image_size", "big"),
        ("stages=[]", "stages", "[]"),
        ("stages=[train,train]", "stages", "train"),
        ("stages=[infer]", "checkpoint", "null"),
        ("objective=test/dice", "objective", "test/dice"),
        ("seed=-1", "seed", "-1"),
        ("trainer.devices=tpu", "trainer.devices", "tpu"),
        ("trainer.devices=cpu:0", "trainer.devices", "cpu:0"),
        ("trainer.monitor=val_loss", "trainer.monitor", "val_loss"),
        ("trainer.epochs=0", "trainer.epochs", "0"),
        ("trainer.batch_size=-4", "trainer.batch_size", "-4"),
        ("trainer.steps_per_epoch=0", "trainer.steps_per_epoch", "0"),
        ("trainer.lr_factor=1.5", "trainer.lr_factor", "1.5"),
        ("trainer.jit_compile=true", "trainer.jit_compile", "true"),
        ("objective=val/loss", "objective", "val/loss"),
        ("objective=val/hd95_mm", "objective must be one of val/dice, val/iou, ", "val/hd95_mm"),
        ("objective=val/volume_difference", "val/lesion_sensitivity (", "val/volume_difference"),
        ("seed=4294967296", "seed", "4294967296"),
        ("metrics.dice_coef.name=dice", "metrics", "loss, dice"),
    ],
)
def test_a_contradiction_names_key_and_value(override, key, received):
    with pytest.raises(SegError) as refused:
        validate(load(override))
    assert key in str(refused.value)
    assert f"Received: {received}" in str(refused.value) or received in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("trainer.epohcs=5", "trainer.epohcs: no such key; did you mean trainer.epochs?"),
        ("model.base_filtres=5", "model.base_filtres: no such key; did you mean model.base_filt"),
        (
            "model.num_classes=3",
            "model.num_classes: no such key; this choice has it not, see",
        ),
        ("model=unet,attention", "model=unet,attention: several values are a sweep, -m is to be"),
        ("sed=5", "sed: no such key; did you mean seed?"),
        ("model=unett", "model=unett: no such choice; take one of attention, custom, "),
        ("trainer.epochs=abc", "trainer.epochs: Value 'abc'"),
        ("trainer.deterministic=perhaps", "trainer.deterministic: Value 'perhaps'"),
        ("dataset.leakage=maybe", "dataset.leakage: Invalid value 'maybe', expected one of [warn,"),
        ("trainer.precision=float8", "trainer.precision: Invalid value 'float8'"),
    ],
)
def test_what_hydra_refuses_is_said_in_one_sentence(override, sentence):
    with pytest.raises((HydraException, OmegaConfBaseException)) as refused:
        load(override)
    assert explain(refused.value).startswith(sentence)
    assert "\n" not in explain(refused.value)


def test_a_misspelt_key_added_with_a_plus_is_refused():
    with pytest.raises(SegError, match=r"trainer.epohcs: no such key; did you mean trainer.epochs"):
        validate(load("+trainer.epohcs=5"))


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("model.base_filters=abc", r"model.base_filters: Value 'abc' of type 'str'"),
        ("model.levels=2.5", r"model.levels: Value '2.5'"),
        ("+model.colour=red", "model.colour: .*no such argument; it takes levels, base_filters"),
        ("model.base_kernel=4", r"model: base_kernel must be odd. Received: 4"),
        ("model.dropout=0.5", r"model: dropout \* \(levels - 1\) .* Received: 0.5 \* 4"),
        ("dataset.image_size=70", r"dataset.image_size must be a multiple of 16 .*70x70.*64,64"),
        (
            "model._target_=seg.models.nothing",
            r"model._target_=seg.models.nothing: seg.models has no nothing",
        ),
    ],
)
def test_a_part_refuses_a_wrong_argument_by_its_key(override, sentence):
    cfg = validate(load(override))
    with pytest.raises(SegError, match=sentence) as refused:
        build("model", cfg.model, input_shape=(*image_size(cfg), 1))
    assert "\n" not in str(refused.value)


def test_image_size_is_a_number_or_two():
    assert image_size(load("dataset.image_size=96")) == (96, 96)
    assert image_size(load("dataset.image_size=[64,96]")) == (64, 96)


def test_a_valid_config_keeps_its_values():
    cfg = validate(load("trainer.epochs=7", "dataset=lgg", "trainer.precision=mixed_bfloat16"))
    assert (cfg.trainer.epochs, cfg.dataset.channels) == (7, 3)
    assert cfg.trainer.precision.name == "mixed_bfloat16"


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        ("{}", r"must be null, or {NAME: VALUE, ...} of 1 to 254 classes. Received: {}"),
        ("liver", r"must be null, or {NAME: VALUE, ...} of 1 to 254 classes. Received: liver"),
        ("[liver]", r"must be null, or {NAME: VALUE, ...} .* Received: \['liver'\]"),
        ("{liver:0}", r"values must be whole numbers in 1..65535, .* Received: {'liver': 0}"),
        ("{liver:65536}", r"values must be whole numbers in 1..65535, .* {'liver': 65536}"),
        ("{liver:1.5}", r"values must be whole numbers in 1..65535, .* {'liver': 1.5}"),
        ("{liver:true}", r"values must be whole numbers in 1..65535, .* {'liver': True}"),
        ("{liver:one}", r"values must be whole numbers in 1..65535, .* {'liver': 'one'}"),
        ("{liver:1,tumour:1}", r"no two the same. Received: {'liver': 1, 'tumour': 1}"),
        ("{1:2}", r"a name is a word of letters, digits and _, but not .* Received: 1"),
        ("{liver-left:1}", r"a name is a word of letters, digits and _, but .*: liver-left"),
        ("{sd:1}", r"but not ci_high, ci_low, median, sd, undefined. Received: sd"),
        ("{undefined:1}", r"dataset.labels: a name .* Received: undefined"),
        ("{liver:1,liver_ci_low:2}", r"dataset.labels: a name .* Received: liver_ci_low"),
    ],
)
def test_labels_that_cannot_be_are_refused(labels, sentence):
    with pytest.raises(SegError, match=sentence) as refused:
        validate(load(f"dataset.labels={labels}"))
    assert "\n" not in str(refused.value)


def test_classes_are_the_labels_by_their_values_or_what_exceeds_the_threshold():
    named = classes(validate(load("dataset.labels={tumour:9,liver:1}")))
    assert (named.names, named.values, named.logits) == (("liver", "tumour"), (0, 1, 9), (3,))
    binary = classes(validate(load("dataset.mask_threshold=3")))
    assert (binary.threshold, binary.names, binary.values) == (3, (), (0, 255))
    assert binary.logits == (1, 2)


def test_labels_and_the_labels_of_prepared_masks_go_together():
    kept, named = "dataset.prepare.merge_labels=false", "dataset.labels={spleen:1}"
    source = "dataset.source=a.tar"
    with pytest.raises(SegError, match=r"merge_labels=false needs .* dataset.labels={NAME: VALUE"):
        validate(load("dataset=spleen", kept))
    with pytest.raises(SegError, match=r"dataset.labels needs dataset.prepare.merge_labels=false"):
        validate(load("dataset=spleen", source, named))
    with pytest.raises(SegError, match=r"dataset.labels needs dataset.prepare.merge_labels=false"):
        validate(load("dataset=spleen", "dataset.download=true", named))
    validate(load("dataset=spleen", source, kept, named))
    validate(load("dataset=spleen", source, "dataset.labels={spleen:255}"))
    validate(load("dataset=spleen", "dataset.root=pictures", named))
