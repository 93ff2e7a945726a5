"""Facts about `seg.infer.cases`: masks known in advance, at the size of the original."""

from itertools import pairwise

import cv2
import keras
import numpy as np
import pytest

from seg.contracts import Case, Classes, SegError, Slice
from seg.data import folder
from seg.data.images import read_mask
from seg.figures.panels import CAPTION_PX
from seg.infer.cases import masked, probable, saved
from seg.infer.probabilities import Views
from seg.models.check import require_fit
from seg.models.manual import Cleanup

SIZE = (16, 16)
BINARY = Classes(127.5)


def weigher(size, weights, bias):
    """Return a model whose logit is the pixel's weighted sum of channels, plus a bias."""
    inputs = keras.Input((*size, len(weights)))
    layer = keras.layers.Conv2D(1, 1)
    model = keras.Model(inputs, layer(inputs))
    layer.set_weights([np.array(weights).reshape(1, 1, -1, 1), np.array([bias])])
    return model


@pytest.fixture(scope="module")
def bright():
    """Model of 16 x 16 grey pixels: foreground is what is brighter than a half."""
    return weigher((16, 16), [200.0], -100.0)


@pytest.fixture
def case_of(tmp_path):
    """Return a function that writes pictures as a case; the truth of each is its upper half."""

    def written(patient, *pictures):
        slices = []
        for i, picture in enumerate(pictures):
            name = f"{patient}_{i}"
            image, mask = tmp_path / f"{name}_image.png", tmp_path / f"{name}_mask.png"
            truth = np.zeros(picture.shape[:2], np.uint8)
            truth[: len(truth) // 2] = 255
            cv2.imwrite(str(image), picture)
            cv2.imwrite(str(mask), truth)
            slices.append(Slice(name, image, mask))
        return Case(patient, tuple(slices))

    return written


def half_bright(height, width):
    picture = np.zeros((height, width), np.uint8)
    picture[:, : width // 2] = 255
    return picture


def predicted(model, cases, size, classes, batch_size, threshold=0.5, cleanup=Cleanup()):  # noqa: B008
    stream = probable(model, cases, classes, Views(size, batch_size=batch_size))
    return masked(stream, threshold, cleanup)


def masks(model, cases, **options):
    options = {"size": SIZE, "batch_size": 4, "classes": BINARY} | options
    return [p.mask_HW for p in predicted(model, cases, **options)]


@pytest.mark.parametrize(
    "size", [(16, 16), (32, 32), (64, 32), (32, 64), (16, 128), (8, 8), (128, 96), (96, 128)]
)
def test_the_bright_half_is_found_exactly_at_the_original_size(size, bright, case_of):
    picture = half_bright(*size)
    (mask_HW,) = masks(bright, [case_of("a", picture)])
    assert mask_HW.dtype == bool
    np.testing.assert_array_equal(mask_HW, picture > 0)


@pytest.mark.parametrize(
    "size", [(33, 47), (47, 33), (5, 90), (90, 7), (17, 16), (101, 13), (9, 11)]
)
@pytest.mark.parametrize("level", [0, 255])
def test_a_picture_of_one_level_is_all_or_none_up_to_its_border(size, level, bright, case_of):
    """The zeros around the scaled picture must not reach into it."""
    (mask_HW,) = masks(bright, [case_of("a", np.full(size, level, np.uint8))])
    assert mask_HW.shape == size
    assert (mask_HW == (level > 0)).all()


@pytest.mark.parametrize("size", [(33, 47), (47, 33), (101, 64), (50, 99)])
def test_odd_sizes_are_found_to_within_a_pixel_of_the_model(size, bright, case_of):
    picture = half_bright(*size)
    (mask_HW,) = masks(bright, [case_of("a", picture)])
    reach = -(-max(size) // 16)
    sure = np.abs(np.arange(size[1]) + 0.5 - size[1] // 2) > reach
    np.testing.assert_array_equal(mask_HW[:, sure], (picture > 0)[:, sure])


def test_model_sizes_need_not_be_square(case_of):
    picture = half_bright(64, 32)
    model = weigher((16, 32), [200.0], -100.0)
    (mask_HW,) = masks(model, [case_of("a", picture)], size=(16, 32))
    np.testing.assert_array_equal(mask_HW, picture > 0)


@pytest.fixture
def five(case_of):
    """Three cases of five pictures of five sizes, of different brightness patterns."""
    rng = np.random.default_rng(0)
    sizes = [(20, 36), (16, 16), (36, 20), (50, 50), (9, 31)]
    noise = [rng.integers(0, 256, size, np.uint8) for size in sizes]
    return [case_of("b", *noise[:2]), case_of("a", noise[2]), case_of("c", *noise[3:])]


def test_predictions_come_in_the_order_of_cases_and_slices(bright, five):
    found = list(predicted(bright, five, SIZE, BINARY, batch_size=2))
    assert [(p.case, p.slice) for p in found] == [(c, s) for c in five for s in c.slices]
    assert [p.slice.id for p in found] == ["b_0", "b_1", "a_0", "c_0", "c_1"]
    for prediction, size in zip(
        found, [(20, 36), (16, 16), (36, 20), (50, 50), (9, 31)], strict=True
    ):
        assert prediction.mask_HW.shape == prediction.truth_HW.shape == size


def test_the_batch_size_changes_no_mask(bright, five):
    one_by_one = masks(bright, five, batch_size=1)
    assert any(mask_HW.any() and not mask_HW.all() for mask_HW in one_by_one)
    assert all(differs(a, b) for a, b in pairwise(one_by_one))
    for batch_size in (2, 5, 64):
        for mask_HW, wanted_HW in zip(
            masks(bright, five, batch_size=batch_size), one_by_one, strict=True
        ):
            np.testing.assert_array_equal(mask_HW, wanted_HW)


def differs(a, b):
    return a.shape != b.shape or (a != b).any()


def test_predictions_are_made_as_they_are_asked_for(bright, five):
    """A file that is gone is met only when its batch is due; a case comes when it is complete."""
    five[2].slices[1].image.unlink()
    stream = predicted(bright, five, SIZE, BINARY, batch_size=2)
    assert [next(stream).slice.id for _ in range(3)] == ["b_0", "b_1", "a_0"]
    with pytest.raises(SegError, match="c_1_image.png"):
        next(stream)


def test_the_masks_of_a_case_are_cleaned_together(bright, case_of):
    """A spot in one slice is not the largest component of its case, but of another one."""
    bars, spot = half_bright(16, 16), np.zeros((16, 16), np.uint8)
    spot[4:6, 12:14] = 255
    largest = Cleanup(largest_component=True)
    cases = [case_of("a", bars, spot), case_of("b", spot)]
    first, second, alone = masks(bright, cases, cleanup=largest)
    np.testing.assert_array_equal(first, bars > 0)
    assert not second.any()
    np.testing.assert_array_equal(alone, spot > 0)


def test_no_cases_give_no_predictions(bright):
    assert masks(bright, []) == []


def test_the_truth_is_that_of_the_file_above_the_mask_threshold(bright, tmp_path, case_of):
    case = case_of("a", half_bright(20, 30))
    grey = np.zeros((20, 30), np.uint8)
    grey[:5], grey[5:10] = 100, 200
    cv2.imwrite(str(case.slices[0].mask), grey)
    truths = [
        next(predicted(bright, [case], SIZE, Classes(threshold), batch_size=1)).truth_HW
        for threshold in (0, 127.5)
    ]
    np.testing.assert_array_equal(truths[0], grey > 0)
    np.testing.assert_array_equal(truths[1], grey == 200)


def test_the_model_sees_images_over_0_to_1(bright, case_of):
    """The logit turns at a brightness of a half: 127 of 255 lies below, 128 above."""
    below, above = masks(
        bright, [case_of("a", *(np.full((16, 16), v, np.uint8) for v in (127, 128)))]
    )
    assert not below.any()
    assert above.all()


def test_images_of_16_bits_keep_their_finer_levels(bright, case_of):
    levels = [np.full((16, 16), level, np.uint16) for level in (32700, 32800)]
    below, above = masks(bright, [case_of("a", *levels)])
    assert not below.any()
    assert above.all()


def test_the_model_sees_red_first(case_of):
    model = weigher((16, 16), [200.0, 0.0, 0.0], -100.0)
    red, blue = np.zeros((2, 16, 16, 3), np.uint8)
    red[..., 2], blue[..., 0] = 255, 255
    found, other = masks(model, [case_of("a", red, blue)])
    assert found.all()
    assert not other.any()


def test_a_probability_equal_to_the_threshold_is_foreground(case_of):
    undecided, case = weigher((16, 16), [0.0], 0.0), case_of("a", half_bright(20, 30))
    assert masks(undecided, [case])[0].all()
    assert masks(undecided, [case], threshold=0.5)[0].all()
    assert not masks(undecided, [case], threshold=0.5001)[0].any()


def test_a_lower_threshold_finds_more(case_of):
    model, case = weigher((16, 16), [4.0], -2.0), case_of("a", half_bright(64, 64))
    n_found = [masks(model, [case], threshold=t)[0].sum() for t in (0.05, 0.2, 0.5, 0.8, 0.95)]
    assert n_found[0] == 64 * 64
    assert n_found[0] > n_found[1] > n_found[2] > n_found[3] > n_found[4] == 0


def test_a_model_of_any_input_size_is_given_the_size_asked_for(case_of):
    model = weigher((None, None), [200.0], -100.0)
    require_fit(model, SIZE, 1, [1])
    picture = half_bright(32, 32)
    np.testing.assert_array_equal(masks(model, [case_of("a", picture)])[0], picture > 0)


def test_a_whole_cohort_is_predicted_slice_for_slice(cohort):
    """The logit turns at 0.401, between 102 and 103 of 255."""
    cases = folder.read(cohort, r"^(p\d+)_")
    model = weigher((32, 32), [200.0], -80.2)
    for prediction in predicted(model, cases, (32, 32), BINARY, batch_size=5):
        image = cv2.imread(str(prediction.slice.image), cv2.IMREAD_UNCHANGED)
        truth = cv2.imread(str(prediction.slice.mask), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(prediction.mask_HW, image > 102)
        np.testing.assert_array_equal(prediction.truth_HW, truth > 127)


def test_masks_are_saved_losslessly_as_0_and_255_at_the_original_size(bright, five, tmp_path):
    for prediction in saved(
        predicted(bright, five, SIZE, BINARY, batch_size=2), tmp_path / "run", BINARY
    ):
        file = tmp_path / "run" / "predictions" / f"{prediction.slice.id}.png"
        np.testing.assert_array_equal(
            cv2.imread(str(file), cv2.IMREAD_UNCHANGED), np.where(prediction.mask_HW, 255, 0)
        )


def test_an_overlay_is_saved_for_each_slice(bright, five, tmp_path):
    ids = [p.slice.id for p in saved(predicted(bright, five, SIZE, BINARY, 2), tmp_path, BINARY)]
    assert sorted(path.stem for path in (tmp_path / "overlays").iterdir()) == sorted(ids)


def test_an_overlay_of_a_large_image_has_a_pixel_for_each_of_its_pixels(bright, case_of, tmp_path):
    case = case_of("a", half_bright(260, 300))
    list(saved(predicted(bright, [case], SIZE, BINARY, 1), tmp_path, BINARY))
    picture = cv2.imread(str(tmp_path / "overlays" / "a_0.png"))
    assert picture.shape == (260 + CAPTION_PX, 300, 3)


def test_an_overlay_keeps_the_colours_of_the_image(tmp_path, case_of):
    """Below the truth in the upper half, and with nothing predicted, the picture is bare."""
    orange = np.full((256, 260, 3), (0, 128, 255), np.uint8)
    nothing = weigher((16, 16), [0.0, 0.0, 0.0], -100.0)
    list(saved(predicted(nothing, [case_of("a", orange)], SIZE, BINARY, 1), tmp_path, BINARY))
    picture = cv2.imread(str(tmp_path / "overlays" / "a_0.png"))[CAPTION_PX:]
    assert (picture[128:] == (0, 128, 255)).all()


def test_saving_passes_every_prediction_on_unchanged_and_one_at_a_time(bright, five, tmp_path):
    predictions = list(predicted(bright, five, SIZE, BINARY, batch_size=5))
    stream = saved(predictions, tmp_path, BINARY)
    assert next(stream) is predictions[0]
    assert [path.name for path in (tmp_path / "predictions").iterdir()] == ["b_0.png"]
    assert [id(p) for p in stream] == [id(p) for p in predictions[1:]]


# Several classes

ORGANS = Classes(127, {"liver": 3, "tumour": 200})


def sorter(size=SIZE):
    """Return a model of grey pixels and three classes: dark, of middle grey, bright."""
    inputs = keras.Input((*size, 1))
    layer = keras.layers.Conv2D(3, 1)
    model = keras.Model(inputs, layer(inputs))
    layer.set_weights([np.array([0.0, 100, 200]).reshape(1, 1, 1, 3), np.array([0.0, -25, -100])])
    return model


@pytest.fixture
def labelled(tmp_path):
    """Return a case of thirds, dark, grey and bright; its truth is liver above, tumour below."""
    picture = np.zeros((32, 48), np.uint8)
    picture[:, 16:32], picture[:, 32:] = 128, 255
    truth = np.full((32, 48), 3, np.uint8)
    truth[16:] = 200
    for name, pixels in (("image", picture), ("mask", truth)):
        cv2.imwrite(str(tmp_path / f"{name}.png"), pixels)
    return Case("a", (Slice("a", tmp_path / "image.png", tmp_path / "mask.png"),)), picture


def test_a_pixel_is_of_the_class_with_the_largest_logit(labelled):
    """The logits 0, 100 g - 25 and 200 g - 100 cross at g = 0.25 and 0.75."""
    case, picture = labelled
    (found,) = predicted(sorter((32, 48)), [case], (32, 48), ORGANS, 1)
    assert found.mask_HW.dtype == found.truth_HW.dtype == np.uint8
    np.testing.assert_array_equal(found.mask_HW, np.select([picture > 191, picture > 63], [2, 1]))
    assert np.unique(found.truth_HW[:16]).tolist() == [1]
    assert np.unique(found.truth_HW[16:]).tolist() == [2]


def test_the_probabilities_of_each_class_not_the_choices_are_brought_to_the_original_size(tmp_path):
    """Two pixels of the model become four: a quarter of the way from one to the other.

    Softmax gives (0.6, 0.4, 0) and (0, 0.4, 0.6): between them class 1, which neither chooses.
    """
    inputs = keras.Input((2, 2, 1))
    layer = keras.layers.Conv2D(3, 1)
    model = keras.Model(inputs, layer(inputs))
    left, right = np.log([0.6, 0.4, 1e-9]), np.log([1e-9, 0.4, 0.6])
    layer.set_weights([(right - left).reshape(1, 1, 1, 3), left])
    for name in ("image", "mask"):
        pixels = np.tile(np.repeat([0, 255], 8).astype(np.uint8), (16, 1))
        cv2.imwrite(str(tmp_path / f"{name}.png"), pixels)
    case = Case("a", (Slice("a", tmp_path / "image.png", tmp_path / "mask.png"),))
    (found,) = predicted(model, [case], (2, 2), Classes(127, {"x": 255, "y": 9}), 1)
    # The weight of the right pixel at (i + 0.5) / 16 of the width is 2 of that less 0.5, in 0..1;
    # class 1 is chosen where both shares of 0.6 are below 0.4, from 1/3 to 2/3.
    weight = np.clip((np.arange(16) + 0.5) / 8 - 0.5, 0, 1)
    wanted = np.select([weight > 2 / 3, weight > 1 / 3], [2, 1])
    np.testing.assert_array_equal(found.mask_HW, np.tile(wanted, (16, 1)))


@pytest.mark.parametrize("classes", [BINARY, Classes(127, {"lesion": 255})])
def test_two_logits_predict_what_one_does(classes, bright, five):
    inputs = keras.Input((*SIZE, 1))
    zero_and_z = keras.layers.Concatenate()([0 * inputs, bright(inputs)])
    two = keras.Model(inputs, zero_and_z)
    pairs = zip(*(predicted(model, five, SIZE, classes, 4) for model in (bright, two)), strict=True)
    for one, other in pairs:
        assert other.mask_HW.dtype == bool
        np.testing.assert_array_equal(other.mask_HW, one.mask_HW)


@pytest.mark.parametrize("values", [(3, 200), (3, 2000)])
def test_masks_are_saved_with_the_values_of_their_labels_and_read_back_as_truth(
    labelled, tmp_path, values
):
    case, _ = labelled
    classes = Classes(127, dict(zip(("liver", "tumour"), values, strict=True)))
    truth = np.array([[0, values[0]], [values[1], 0]], np.uint16)
    cv2.imwrite(str(case.slices[0].mask), np.kron(truth, np.ones((16, 24), np.uint16)))
    (found,) = saved(predicted(sorter(), [case], SIZE, classes, 1), tmp_path, classes)
    file = tmp_path / "predictions" / "a.png"
    stored = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
    assert stored.dtype == (np.uint8 if max(values) < 256 else np.uint16)
    assert set(np.unique(stored)) == {0, *values}
    np.testing.assert_array_equal(read_mask(file, classes), found.mask_HW)
    assert (tmp_path / "overlays" / "a.png").is_file()
