"""The published experiments of conf/experiment/, each number against the table of its publisher.

Source: antillia.com, 2023 to 2025, as collected in the project's reference.
"""

import keras
import pytest
from hydra import compose, initialize_config_dir

from seg.build import build
from seg.config import conf_dir, image_size, validate

KEYS = (
    *("dataset.name", "dataset.image_size", "dataset.channels"),
    *("model.name", "model.levels", "model.base_filters", "model.base_kernel"),
    *("model.base_dilation", "model.dropout"),
    *("optimizer.name", "optimizer.learning_rate", "optimizer.clipvalue", "loss.name"),
    *("trainer.epochs", "trainer.early_stop_patience", "trainer.batch_size"),
    *("trainer.steps_per_epoch", "trainer.lr_factor", "trainer.lr_patience"),
    *("trainer.epoch_images", "trainer.monitor"),
)
TABLE = {
    "spleen_2024": (
        *("spleen", 512, 3, "unet", 7, 16, 5, 2, 0.05, "adam", 1e-4, 0.5, "bce_dice"),
        *(100, 10, 4, 200, 0.1, 4, 0, "val/loss"),
    ),
    "pancreas_t1_2025": (
        *("pancreas_t1", 512, 3, "unet", 8, 16, 9, 3, 0.05, "adam", 7e-5, 0.5, "bce_dice"),
        *(100, 10, 2, None, 0.4, 4, 6, "val/loss"),
    ),
    "ms_flair_2024": (
        *("ms_flair", 512, 3, "unet", 8, 16, 9, 1, 0.05, "adam", 7e-5, 0.5, "bce_dice"),
        *(100, 10, 2, None, 0.4, 4, 1, "val/loss"),
    ),
    "breastdm_2024": (
        *("breastdm", 512, 3, "unet", 8, 16, 7, 1, 0.05, "adam", 1e-4, 0.5, "bce_dice"),
        *(100, 10, 2, None, 0.4, 4, 6, "val/loss"),
    ),
    "lgg_2023_bce": (
        *("lgg", 256, 3, "unet", 7, 16, 3, 1, 0.08, "adam", 1e-3, 0.2, "bce"),
        *(100, 10, 4, None, None, 4, 0, "val/loss"),
    ),
    "lgg_2023_basnet": (
        *("lgg", 256, 3, "unet", 7, 16, 3, 1, 0.08, "adam", 1e-3, 0.2, "basnet_hybrid"),
        *(100, 10, 4, None, None, 4, 0, "val/loss"),
    ),
}
PARAMETERS = {
    "spleen_2024": 31_127_153,
    "pancreas_t1_2025": 124_996_849,
    "ms_flair_2024": 124_996_849,
    "breastdm_2024": 124_557_041,
    "lgg_2023_bce": 31_110_001,
    "lgg_2023_basnet": 31_110_001,
}


def load(name):
    with initialize_config_dir(conf_dir(), version_base="1.3"):
        return validate(compose("config", [f"experiment={name}"]))


def at(cfg, key):
    for part in key.split("."):
        cfg = cfg[part]
    return cfg


@pytest.mark.parametrize("name", TABLE)
def test_every_number_is_the_published_one(name):
    cfg = load(name)
    assert {key: at(cfg, key) for key in KEYS} == dict(zip(KEYS, TABLE[name], strict=True))


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_model_has_exactly_the_published_parameters(name):
    """The weights are declared and never drawn: 125 million of them would take long."""
    cfg = load(name)
    with keras.StatelessScope(initialize_variables=False):
        shape = (*image_size(cfg), cfg.dataset.channels)
        assert build("model", cfg.model, input_shape=shape).count_params() == PARAMETERS[name]


@pytest.mark.parametrize("name", TABLE)
def test_augmentation_is_on_for_the_spleen_only(name):
    assert bool(load(name).augment) == (name == "spleen_2024")


@pytest.mark.parametrize("name", [name for name in TABLE if name != "lgg_2023_bce"])
def test_overlap_is_that_of_the_whole_batch(name):
    terms = build("loss", load(name).loss).terms
    overlap = terms["iou" if "iou" in terms else "dice"]["loss"]
    assert (overlap.per, overlap.smooth) == ("batch", 1e-7 if "iou" in terms else 1.0)
