"""Published numbers of parameters, each at its published setting, with where it is printed.

Attention U-Net's are of a network on volumes (arXiv 1804.03999, table 2); its gates are counted by
a formula in test_attention.py. DeepLabV3+ states none for a ResNet; test_deeplabv3plus.py counts
its pyramid against another library's and its decoder by a formula. The encoders of `efficient` are
counted in test_efficient.py.
"""

from math import prod

import pytest
from hydra.utils import get_method

LEVELS_7, LEVELS_8 = (
    {"base_filters": 16, "normalization": "none", "levels": levels} for levels in (7, 8)
)

# Model, options, shape of an image, what is counted ("all" weights or those "trained"), the number,
# exactly or in millions as printed, source.
PUBLISHED = [
    *(
        ("unet", options, shape, "all", parameters, "antillia.com, see conf/experiment")
        for options, shape, parameters in (
            (LEVELS_7 | {"base_kernel": 5, "base_dilation": 2}, (512, 512, 3), 31_127_153),
            (LEVELS_8 | {"base_kernel": 9, "base_dilation": 3}, (512, 512, 3), 124_996_849),
            (LEVELS_8 | {"base_kernel": 9}, (512, 512, 3), 124_996_849),
            (LEVELS_8 | {"base_kernel": 7}, (512, 512, 3), 124_557_041),
            (LEVELS_7 | {"dropout": 0.08}, (256, 256, 3), 31_110_001),
        )
    ),
    ("multires", {}, (192, 256, 3), "all", 7_262_750, "arXiv 1902.04049, table of models"),
    (
        *("sharp", {"base_filters": 32, "normalization": "none"}, (192, 256, 3)),
        *("all", 7_764_417, "printed in the authors' demo.ipynb, hasibzunair/sharp-unets"),
    ),
    (
        *("unetpp", {"normalization": "none", "deep_supervision": False}, (96, 96, 1)),
        *("all", 9_041_601, "the authors' model.py, MrGiovanni/UNetPlusPlus"),
    ),
    (
        *("unetpp", {"normalization": "none"}, (96, 96, 1)),
        *("all", "9.04", "arXiv 1807.10165, table of models"),
    ),
    # The layers of the authors' UNet_3Plus, whose convolutions have biases, sum to 26,971,777.
    (
        *("unet3plus", {"deep_supervision": False}, (320, 320, 3)),
        *("trained", "26.97", "arXiv 2004.08790, table 1"),
    ),
    # With biases exactly the 44,009,869 and 1,131,181 of the authors' code; the paper prints
    # files of 176.3 MB and 4.7 MB.
    ("u2net", {}, (320, 320, 3), "trained", "44.0", "arXiv 2005.09007, table of models"),
    ("u2net", {"small": True}, (320, 320, 3), "trained", "1.13", "arXiv 2005.09007, the same"),
    # 27.17 M in circulation.
    (
        *("swin", {"window": 7, "classes": 9}, (224, 224, 3)),
        *("all", 27_168_900, "layers of the authors' code, HuCaoFighting/Swin-Unet"),
    ),
    # 105.28 M in circulation.
    (
        *("transunet", {"classes": 9}, (224, 224, 3)),
        *("trained", 105_277_081, "layers of the authors' code, Beckschen/TransUNet"),
    ),
    (
        *("transunet", {"classes": 2}, (224, 224, 3)),
        *("trained", 105_276_066, "Sun et al. 2024, doi 10.3389/fbioe.2024.1398237, table 2"),
    ),
]


@pytest.mark.parametrize(("model", "options", "shape", "what", "published", "source"), PUBLISHED)
def test_a_model_has_as_many_weights_as_published(
    model, options, shape, what, published, source, undrawn
):
    """The weights are declared and never drawn: 125 million of them would take long."""
    built = get_method(f"seg.models.{model}.{model}")(shape, **options)
    weights = built.weights if what == "all" else built.trainable_weights
    count = sum(prod(weight.shape) for weight in weights)
    if isinstance(published, str):
        decimals = len(published.partition(".")[2])
        assert f"{count / 1e6:.{decimals}f}" == published
    else:
        assert count == published
