"""Facts about `seg.augment.chain`: one function of a sample, its seed and its number."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from scipy import ndimage

from seg.augment.artefacts import (
    BiasField,
    CoarseDropout,
    GaussianBlur,
    GaussianNoise,
    LowResolution,
)
from seg.augment.chain import Chain, chain
from seg.augment.deform import Distortion, Elastic, Lens
from seg.augment.geometry import Flip, Rotate, Scale, Shear, Shift
from seg.augment.intensity import Brightness, Contrast, Gamma, Sharpen
from seg.augment.mixing import CutMix, MixUp
from seg.build import build
from seg.config import conf_dir
from seg.contracts import SegError

SIZE = (14, 21)
CENTRES = [[0.3, 0.5], [0.6, 0.4]]
SPATIAL = {
    "flip_horizontal": lambda p: Flip(p, "horizontal"),
    "flip_vertical": lambda p: Flip(p, "vertical"),
    "rotate": lambda p: Rotate(p, [-20.0, 20.0], None),
    "turn": lambda p: Rotate(p, [-9.0, 9.0], [90.0, 180.0, 270.0]),
    "scale": lambda p: Scale(p, [0.85, 1.15]),
    "shear": lambda p: Shear(p, [-0.1, 0.1]),
    "shift": lambda p: Shift(p, [-0.08, 0.08]),
    "elastic": lambda p: Elastic(p, [5.0, 5.0], 1.5, 21),
    "distortion": lambda p: Distortion(p, 0.08, [0.01, 0.03]),
    "lens": lambda p: Lens(p, 0.4, [-0.3, 0.3], CENTRES),
}
INTENSITY = {
    "sharpen": lambda p: Sharpen(p, [0.2, 1.0]),
    "brightness": lambda p: Brightness(p, [0.9, 1.1], [-0.1, 0.1]),
    "contrast": lambda p: Contrast(p, [0.75, 1.25]),
    "gamma": lambda p: Gamma(p, [0.7, 1.5]),
    "bias_field": lambda p: BiasField(p, [0.1, 0.4]),
    "blur": lambda p: GaussianBlur(p, [0.5, 1.0]),
    "low_resolution": lambda p: LowResolution(p, [0.5, 0.9]),
    "noise": lambda p: GaussianNoise(p, [0.01, 0.05]),
    "dropout": lambda p: CoarseDropout(p, [1, 4], [0.05, 0.15]),
}
ALL = SPATIAL | INTENSITY
CHOICES = sorted(path.stem for path in (Path(conf_dir()) / "augment").glob("*.yaml"))


@dataclass(frozen=True)
class Known:
    """A spatial transform that always draws the same map."""

    rows: tuple
    p: float = 1.0

    def move(self, points_HW2, rng, size_HW):
        matrix = np.float32(self.rows)
        return points_HW2 @ matrix[:, :2].T + matrix[:, 2]


@dataclass(frozen=True)
class Power:
    """An intensity transform without chance."""

    exponent: float
    p: float = 1.0

    def change(self, image_HWC, rng):
        return image_HWC**self.exponent


@dataclass(frozen=True)
class Half:
    """Another one, which does not commute with it."""

    p: float = 1.0

    def change(self, image_HWC, rng):
        return image_HWC / 2


@dataclass(frozen=True)
class PowerOfAll:
    """A transform of batches without chance."""

    exponent: float
    p: float = 1.0
    blends_masks = False

    def mix(self, images_BHWC, masks_BHW1, rng):
        return images_BHWC**self.exponent, masks_BHW1


@dataclass(frozen=True)
class Telling:
    """Show a sample's random numbers as its image."""

    p: float = 1.0

    def change(self, image_HWC, rng):
        return rng.random(image_HWC.shape, np.float32)


@dataclass(frozen=True)
class TellingOfAll:
    """Show a batch's random numbers as its images."""

    p: float = 1.0
    blends_masks = False

    def mix(self, images_BHWC, masks_BHW1, rng):
        return rng.random(images_BHWC.shape, np.float32), masks_BHW1


def turn(degrees):
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return Known(((c, -s, 0), (s, c, 0)))


def every(p, of=ALL):
    return {name: make(p) for name, make in of.items()}


def ellipse(size=(48, 64), centre=(20, 35), radii=(10, 14)):
    y, x = np.mgrid[: size[0], : size[1]]
    inside = ((y - centre[0]) / radii[0]) ** 2 + ((x - centre[1]) / radii[1]) ** 2 < 1
    return inside.astype(np.uint8)[..., None]


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).random((*SIZE, 1), np.float32)


@pytest.fixture(scope="module")
def mask():
    return (np.random.default_rng(1).random((*SIZE, 1)) < 0.5).astype(np.uint8)


@pytest.fixture(scope="module")
def chosen():
    """The parts of every YAML of conf/augment, by its name."""
    with initialize_config_dir(conf_dir(), version_base="1.3"):
        cfgs = {choice: compose("config", [f"augment={choice}"]) for choice in CHOICES}
    return {choice: build("augment", cfg.augment) for choice, cfg in cfgs.items()}


def samples(augment, image, mask, n, seed=0):
    """Return samples 0..n-1 of a stream: NHWC, NHW1."""
    pairs = [augment.sample(image, mask, seed, k) for k in range(n)]
    return tuple(np.stack(part) for part in zip(*pairs, strict=True))


def assert_equal_pairs(a, b):
    np.testing.assert_array_equal(a[0], b[0])
    np.testing.assert_array_equal(a[1], b[1])


def changed(pictures, original):
    return (np.abs(pictures - original.astype(float)) > 1e-4).any(axis=(1, 2, 3))


def test_an_empty_chain_is_none():
    assert chain({}) is None


@pytest.mark.parametrize("name", ALL)
def test_a_transform_of_p_0_is_left_out(name):
    assert chain({name: ALL[name](0.0)}) is None
    assert chain({name: ALL[name](0.0), "half": Half()}) == Chain((), (Half(),), ())


@pytest.mark.parametrize("mix", [MixUp(0.0, 0.2), CutMix(0.0, 1.0)])
def test_a_mix_of_p_0_is_left_out(mix):
    assert chain({"mix": mix}) is None


@pytest.mark.parametrize("name", ALL)
def test_at_p_1_a_transform_always_changes_the_image(image, mask, name):
    found = samples(chain({name: ALL[name](1.0)}), image, mask, 40)
    assert changed(found[0], image).all()
    assert changed(found[1], mask).any() == (name in SPATIAL)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("p", [0.5, 0.2])
def test_a_transform_happens_as_often_as_its_p_says(image, mask, name, p):
    found = samples(chain({name: ALL[name](p)}), image, mask, 400)
    count = changed(found[0], image).sum()
    assert abs(count - 400 * p) < 5 * np.sqrt(400 * p * (1 - p))


def test_transforms_happen_independently_of_each_other(image, mask):
    flips = {name: SPATIAL[name](0.5) for name in ("flip_horizontal", "flip_vertical")}
    found = samples(chain(flips), image, mask, 400)[0]
    for variant in (image, image[::-1], image[:, ::-1], image[::-1, ::-1]):
        count = (found == variant).all(axis=(1, 2, 3)).sum()
        assert 100 - 45 < count < 100 + 45


def test_whether_it_happens_does_not_bias_how_strong_it_is(mask):
    grey = np.full((*SIZE, 1), 0.5, np.float32)
    bright = Brightness(0.3, [1.0, 1.0], [-0.2, 0.2])
    found = samples(chain({"b": bright}), grey, mask, 600)[0][:, 0, 0, 0] - 0.5
    drawn = found[np.abs(found) > 1e-6]
    assert abs(drawn.mean()) < 6 * 0.2 / np.sqrt(3 * len(drawn))
    assert drawn.min() < -0.18
    assert drawn.max() > 0.18


def test_intensity_leaves_the_mask_alone(image, mask):
    found = samples(chain(every(1.0, INTENSITY)), image, mask, 20)
    np.testing.assert_array_equal(found[1], [mask] * 20)


def test_a_sample_that_nothing_moves_is_returned_without_interpolation(image, mask):
    found = chain({"seldom": Rotate(1e-12, [10.0, 20.0], None)}).sample(image, mask, 0, 0)
    assert found[0] is image
    assert found[1] is mask


def test_flips_in_a_chain_are_exactly_those_of_numpy(image, mask):
    augment = chain({"h": Flip(1.0, "horizontal"), "v": Flip(1.0, "vertical")})
    found = augment.sample(image, mask, 0, 0)
    np.testing.assert_array_equal(found[0], image[::-1, ::-1])
    np.testing.assert_array_equal(found[1], mask[::-1, ::-1])


def test_spatial_transforms_take_effect_in_their_order(image, mask):
    steps = {"flip": Flip(1.0, "horizontal"), "move": Known(((1, 0, 4), (0, 1, 0)))}
    flip_then_move = np.pad(image[:, ::-1][:, 4:], ((0, 0), (0, 4), (0, 0)))
    move_then_flip = np.pad(image[:, 4:], ((0, 0), (0, 4), (0, 0)))[:, ::-1]
    found = chain(steps).sample(image, mask, 0, 0)[0]
    np.testing.assert_array_equal(found, flip_then_move)
    found = chain(dict(reversed(steps.items()))).sample(image, mask, 0, 0)[0]
    np.testing.assert_array_equal(found, move_then_flip)


def test_a_turn_after_a_flip_is_not_a_flip_after_a_turn():
    square = np.random.default_rng(0).random((15, 15, 1), np.float32)
    mask = (square < 0.5).astype(np.uint8)
    steps = {"flip": Flip(1.0, "horizontal"), "turn": Rotate(1.0, [-9.0, 9.0], [90.0])}
    found = chain(steps).sample(square, mask, 0, 0)[0]
    np.testing.assert_array_equal(found, np.rot90(square[:, ::-1]))
    found = chain(dict(reversed(steps.items()))).sample(square, mask, 0, 0)[0]
    np.testing.assert_array_equal(found, np.rot90(square)[:, ::-1])


def test_intensity_transforms_take_effect_in_their_order(image, mask):
    found = chain({"a": Half(), "b": Power(2.0)}).sample(image, mask, 0, 0)[0]
    np.testing.assert_allclose(found, (image / 2) ** 2, rtol=1e-5)
    found = chain({"b": Power(2.0), "a": Half()}).sample(image, mask, 0, 0)[0]
    np.testing.assert_allclose(found, image**2 / 2, rtol=1e-5)


def test_mixes_take_effect_in_their_order(image, mask):
    images, masks = np.stack([image, image / 2]), np.float32([mask, mask])
    mix = MixUp(1.0, 1.0)
    before = chain({"a": PowerOfAll(2.0), "b": mix}).batch(images, masks, 0, 0)
    np.testing.assert_array_equal(before[0], chain({"b": mix}).batch(images**2, masks, 0, 0)[0])
    after = chain({"b": mix, "a": PowerOfAll(2.0)}).batch(images, masks, 0, 0)
    np.testing.assert_array_equal(after[0], chain({"b": mix}).batch(images, masks, 0, 0)[0] ** 2)
    assert np.abs(before[0] - after[0]).max() > 0.01


def test_grey_values_change_after_the_picture_has_moved_wherever_they_stand(image, mask):
    parts = {"noise": INTENSITY["noise"](0.7), "rotate": SPATIAL["rotate"](0.7)}
    assert_equal_pairs(
        samples(chain(parts), image, mask, 10),
        samples(chain(dict(reversed(parts.items()))), image, mask, 10),
    )
    corner = np.ones((*SIZE, 1), np.float32)
    lighter = {"b": Brightness(1.0, [1.0, 1.0], [0.3, 0.3]), "r": Rotate(1.0, [45.0, 45.0], None)}
    assert chain(lighter).sample(corner, mask, 0, 0)[0][0, 0, 0] == np.float32(0.3)


def test_a_sample_is_interpolated_once(image, mask):
    found = chain({"there": turn(33), "back": turn(-33)}).sample(image, mask, 0, 0)
    np.testing.assert_array_equal(found[0], image)
    np.testing.assert_array_equal(found[1], mask)


def test_grey_values_are_cut_to_0_and_1_after_every_change(mask):
    grey = np.linspace(0, 1, SIZE[0] * SIZE[1], dtype=np.float32).reshape(*SIZE, 1)
    up, down = (Brightness(1.0, [1.0, 1.0], [step, step]) for step in (0.4, -0.4))
    found = chain({"up": up}).sample(grey, mask, 0, 0)[0]
    np.testing.assert_allclose(found, np.minimum(grey + 0.4, 1), atol=1e-6)
    found = chain({"up": up, "down": down}).sample(grey, mask, 0, 0)[0]
    np.testing.assert_allclose(found, np.minimum(grey, 0.6), atol=1e-6)


def test_equal_seeds_give_equal_results(image, mask):
    augment = chain(every(0.5))
    assert_equal_pairs(
        samples(augment, image, mask, 10, seed=3), samples(augment, image, mask, 10, seed=3)
    )


def test_other_seeds_and_other_numbers_give_other_results(image, mask):
    augment = chain(every(1.0))
    found = np.concatenate([samples(augment, image, mask, 40, seed=s)[0] for s in (0, 1, 2)])
    assert len({picture.tobytes() for picture in found}) == 120


def test_a_newly_built_chain_repeats_the_old_one(image, mask):
    assert_equal_pairs(
        samples(chain(every(0.5)), image, mask, 20), samples(chain(every(0.5)), image, mask, 20)
    )


@pytest.mark.parametrize("threads", [2, 8])
def test_parallelism_and_order_change_nothing(image, mask, threads):
    augment = chain(every(0.5))
    with ThreadPoolExecutor(threads) as pool:
        pairs = list(pool.map(lambda k: augment.sample(image, mask, 0, k), reversed(range(64))))
    backwards = tuple(np.stack(part) for part in zip(*pairs[::-1], strict=True))
    assert_equal_pairs(backwards, samples(augment, image, mask, 64))


def test_the_numbers_of_batches_are_not_those_of_samples(mask):
    augment, image = chain({"a": Telling(), "b": TellingOfAll()}), np.zeros((*SIZE, 1), np.float32)
    of_samples = {x for k in range(4) for x in augment.sample(image, mask, 7, k)[0].ravel()}
    batch = np.zeros((2, *SIZE, 1), np.float32)
    of_batches = {x for k in range(4) for x in augment.batch(batch, batch, 7, k)[0].ravel()}
    assert len(of_samples & of_batches) < 2
    again = augment.batch(batch, batch, 7, 2)[0]
    assert set(again.ravel()) <= of_batches
    assert len(set(augment.batch(batch, batch, 8, 2)[0].ravel()) & of_batches) < 2


def test_without_a_mix_a_batch_stays_as_it_is(image, mask):
    batch = np.stack([image, image]), np.float32([mask, mask])
    assert_equal_pairs(chain({"half": Half()}).batch(*batch, 0, 0), batch)


@pytest.mark.parametrize("p", [0.5, 1.0])
def test_images_stay_within_0_and_1_and_masks_binary(p):
    for picture in (np.zeros, np.ones):
        extreme = picture((*SIZE, 3), np.float32)
        image, mask = samples(chain(every(p)), extreme, extreme[..., :1].astype("u1"), 100)
        assert (image.dtype, mask.dtype) == (np.float32, np.uint8)
        assert image.min() >= 0
        assert image.max() <= 1
        assert set(np.unique(mask)) <= {0, 1}
        assert np.isfinite(image).all()


def test_what_is_given_stays_and_may_be_read_only(image, mask):
    given = image.copy(), mask.copy()
    for part in given:
        part.flags.writeable = False
    samples(chain(every(1.0)), *given, 5)
    assert_equal_pairs(given, (image, mask))


def test_a_colour_image_keeps_its_channels(mask):
    colour = np.random.default_rng(2).random((*SIZE, 3), np.float32)
    augment = chain(every(1.0, SPATIAL))
    together = samples(augment, colour, mask, 4)[0]
    for c in range(3):
        alone = samples(augment, colour[..., c : c + 1], mask, 4)[0]
        np.testing.assert_allclose(together[..., c : c + 1], alone, atol=1e-6)


def test_masks_hold_the_same_indices_each_moved_like_a_mask_of_its_own(image):
    """Between the classes 1 and 3 the mask never passes through 2."""
    index = np.random.default_rng(1).choice([0, 1, 3], (*SIZE, 1)).astype(np.uint8)
    augment = chain(every(0.5))
    moved = samples(augment, image, index, 8)[1]
    assert all(set(np.unique(part)) == {0, 1, 3} for part in moved)
    for c in (1, 3):
        alone = samples(augment, image, (index == c).astype(np.uint8), 8)[1]
        np.testing.assert_array_equal(moved == c, alone == 1)


def assert_aligned(image, mask):
    """Demand of an image that was its mask to be it still, but for the interpolated edge."""
    between = (image > 0) & (image < 1)
    differs = (image >= 0.5) != (mask == 1)
    assert set(np.unique(mask)) == {0, 1}
    assert not (differs & ~between).any()
    assert differs.sum() <= 0.15 * between.sum()
    offsets = [
        np.subtract(ndimage.center_of_mass(i[..., 0]), ndimage.center_of_mass(m[..., 0]))
        for i, m in zip(image, mask, strict=True)
    ]
    assert np.abs(np.mean(offsets, axis=0)).max() < 0.1


@pytest.mark.parametrize(("size", "n"), [((48, 64), 200), ((160, 192), 30)])
def test_an_image_that_is_its_mask_stays_its_mask_through_the_whole_chain(size, n):
    blob = ellipse(size, np.multiply(size, 0.45), np.multiply(size, 0.2))
    image, mask = samples(chain(every(0.5, SPATIAL)), blob.astype(np.float32), blob, n)
    assert mask.sum(axis=(1, 2, 3)).min() > 0.3 * blob.sum()
    assert_aligned(image, mask)


def test_changes_of_grey_values_do_not_part_an_image_from_its_mask():
    gentle = {name: INTENSITY[name] for name in ("brightness", "contrast", "gamma", "noise")}
    blob = ellipse()
    image, mask = samples(chain(every(0.5, SPATIAL | gentle)), blob.astype("f4"), blob, 60)
    for grey, inside in zip(image, mask == 1, strict=True):
        deep = ndimage.binary_erosion(inside[..., 0], iterations=2)
        far = ~ndimage.binary_dilation(inside[..., 0], iterations=2)
        assert grey[deep].mean() > grey[far].mean() + 0.4


def test_a_chain_of_moves_keeps_the_mean_area():
    blob = ellipse()
    fair = chain(every(0.5, SPATIAL) | {"scale": Scale(0.5, [0.9, 1.1])})
    areas = samples(fair, np.zeros((48, 64, 1), np.float32), blob, 200)[1].sum(axis=(1, 2, 3))
    assert areas.mean() == pytest.approx(blob.sum(), rel=0.04)


@pytest.mark.parametrize("size", [(48, 64, 1), (40, 40, 3)], ids=str)
@pytest.mark.parametrize("choice", CHOICES)
def test_every_choice_gives_images_within_0_and_1_and_masks_of_the_same_values(
    chosen, choice, size
):
    augment = chain(chosen[choice], binary=False)
    assert (augment is None) == (choice == "off")
    if augment:
        given = np.random.default_rng(3).random(size, np.float32)
        index = np.random.default_rng(4).choice([0, 1, 3], (*size[:2], 1)).astype(np.uint8)
        image, mask = samples(augment, given, index, 20)
        assert (image.shape, mask.shape) == ((20, *size), (20, *size[:2], 1))
        assert (image.dtype, mask.dtype) == (np.float32, np.uint8)
        assert np.isfinite(image).all()
        assert 0 <= image.min() < image.max() <= 1
        assert set(np.unique(mask)) == {0, 1, 3}
        assert changed(image, given).mean() > 0.5


@pytest.mark.parametrize("choice", sorted(set(CHOICES) - {"off"}))
def test_every_choice_keeps_image_and_mask_aligned(chosen, choice):
    blob = ellipse(radii=(6, 8))
    moves = Chain(chain(chosen[choice]).spatial)
    image, mask = samples(moves, blob.astype(np.float32), blob, 40)
    seen = mask.any(axis=(1, 2, 3))
    assert seen.mean() > 0.9
    assert_aligned(image[seen], mask[seen])


def test_what_is_no_transform_is_refused_and_not_ignored():
    sentence = r"augment.odd: must have p and one of move\(\), .* leaves it out. Received: {'p': 1}"
    with pytest.raises(SegError, match=sentence):
        chain({"odd": {"p": 1}})


@pytest.mark.parametrize("p", [-0.1, 5, float("nan")])
def test_a_p_that_is_no_probability_is_refused(p):
    with pytest.raises(SegError, match=f"augment.bright.p must lie in 0..1. Received: {p}"):
        chain({"bright": Brightness(p, [1.0, 1.0], [0.0, 0.1])})


def test_masks_of_several_classes_are_not_blended():
    sentence = (
        "augment.mixup: blends masks, which one logit per pixel can learn, and several classes "
        r"\(dataset.labels, model.classes\) cannot; set augment.mixup=null. Received: p=0.5"
    )
    with pytest.raises(SegError, match=sentence):
        chain({"mixup": MixUp(0.5, 0.2)}, binary=False)
    assert chain({"mixup": MixUp(0.5, 0.2)}).mixing == (MixUp(0.5, 0.2),)
    assert chain({"mixup": MixUp(0.0, 0.2)}, binary=False) is None
    assert chain({"cutmix": CutMix(0.5, 1.0)}, binary=False).mixing == (CutMix(0.5, 1.0),)
