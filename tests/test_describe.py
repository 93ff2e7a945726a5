"""Facts about `seg.describe`: tables against NumPy over the same pixels, sheets pixel by pixel."""

from collections import Counter

import cv2
import numpy as np
import pandas as pd
import pytest

from seg.augment.chain import chain
from seg.augment.geometry import Flip, Rotate
from seg.contracts import Case, Classes, SegError, Slice, Splits
from seg.data import cache
from seg.data import folder as folders
from seg.data.check import verified
from seg.describe import AUGMENTED, BATCH_SLICES, SAMPLES, VARIANTS, augmented, describe, samples
from seg.figures.panels import CAPTION_PX, GAP_PX, PANEL_PX
from seg.figures.pictures import Style

BINARY = Classes(127)
SPLITS = ["train", "valid", "test"]


def write_slice(folder, name, image, mask):
    paths = [folder / kind / f"{name}.png" for kind in ("images", "masks")]
    for path, pixels in zip(paths, (image, mask), strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), pixels)
    return Slice(name, *paths)


def mask_of(n, size, value=255):
    """Return a uint8 mask whose first `n` pixels are foreground."""
    mask_HW = np.zeros(size, np.uint8)
    mask_HW.flat[:n] = value
    return mask_HW


@pytest.fixture
def tell(tmp_path):
    """Write slices, describe them: {side: [(patient, image, target pixels)]} in, facts out."""

    def start(channels=1, classes=BINARY, **sides):
        cases = {side: [] for side in SPLITS}
        for side, slices in sides.items():
            for i, (patient, image, n) in enumerate(slices):
                name = f"{side}{i}"
                slice_ = write_slice(tmp_path / side, name, image, mask_of(n, image.shape[:2]))
                cases[side].append(Case(patient, (slice_,)))
        splits = Splits(**{side: tuple(of) for side, of in cases.items()})
        return describe(splits, channels, classes, tmp_path / "describe")

    return start


@pytest.fixture
def table(tmp_path):
    """Read a table of the description by name."""

    def read(name):
        text = {"patient": str, "case": str, "slice": str}
        return pd.read_csv(tmp_path / "describe" / f"{name}.csv", dtype=text)

    return read


def noise(seed, size, dtype=np.uint8, high=256):
    return np.random.default_rng(seed).integers(0, high, size).astype(dtype)


def percentile(values, p):
    """Return the smallest value that p percent do not exceed, after sorting."""
    return np.percentile(values, p, method="inverted_cdf")


def test_each_slice_has_a_row_with_its_facts(tmp_path, table):
    first = write_slice(tmp_path, "s_1", noise(0, (4, 5)), mask_of(3, (4, 5)))
    second = write_slice(tmp_path, "s_2", noise(1, (6, 5)), mask_of(0, (6, 5)))
    train = Case("007", (first, second), volume="b", spacing_mm=(5.0, 0.75, 0.8))
    test = Case("8", (write_slice(tmp_path / "t", "s_1", noise(2, (2, 2)), mask_of(4, (2, 2))),))
    describe(Splits((train,), (), (test,)), 1, Classes(127), tmp_path / "describe")
    facts = table("slices")
    assert list(facts) == [
        *("split", "patient", "case", "slice", "height_px", "width_px"),
        *("slice_mm", "row_mm", "column_mm", "target_px", "target_share"),
        *("intensity_mean", "intensity_sd", "intensity_min"),
        *("intensity_p1", "intensity_p50", "intensity_p99", "intensity_max"),
    ]
    assert facts.iloc[:, :6].to_numpy().tolist() == [
        ["train", "007", "007_b", "s_1", 4, 5],
        ["train", "007", "007_b", "s_2", 6, 5],
        ["test", "8", "8", "s_1", 2, 2],
    ]
    spacing = facts[["slice_mm", "row_mm", "column_mm"]]
    assert spacing[:2].to_numpy().tolist() == [[5, 0.75, 0.8]] * 2
    assert spacing.loc[2].isna().all()
    assert facts["target_px"].tolist() == [3, 0, 4]
    assert facts["target_share"].tolist() == pytest.approx([0.15, 0, 1])


@pytest.mark.parametrize(
    ("channels", "images"),
    [
        (1, [noise(0, (30, 41)), noise(1, (30, 41), np.uint16, 65536), np.full((3, 3), 77, "u1")]),
        (3, [noise(2, (30, 41, 3)), noise(3, (9, 8, 3), np.uint16, 65536)]),
    ],
)
def test_intensities_of_a_slice_are_those_of_its_pixels(channels, images, tell, table):
    tell(channels, train=[("a", image, 1) for image in images])
    for (_, found), image in zip(table("slices").iterrows(), images, strict=True):
        values = image.ravel() / np.iinfo(image.dtype).max
        assert found["intensity_mean"] == pytest.approx(values.mean(), rel=1e-5)
        assert found["intensity_sd"] == pytest.approx(values.std(), rel=1e-5, abs=1e-9)
        assert found["intensity_min"] == pytest.approx(values.min(), rel=1e-5)
        assert found["intensity_max"] == pytest.approx(values.max(), rel=1e-5)
        for p in (1, 50, 99):
            assert found[f"intensity_p{p}"] == pytest.approx(percentile(values, p), rel=1e-5)


def test_a_split_is_described_by_all_its_pixels(tell, table):
    """Means over pixels, not over slices: these are of different sizes and ranges."""
    shapes = ((8, 9), 256), ((20, 31), 100), ((5, 40), 30), ((12, 12), 256)
    images = [noise(i, size, high=high) for i, (size, high) in enumerate(shapes)]
    tell(
        train=[("a", images[0], 5), ("b", images[1], 5)],
        valid=[("c", images[2], 5)],
        test=[("d", images[3], 5)],
    )
    parts = dict(zip(SPLITS, (images[:2], images[2:3], images[3:]), strict=True)) | {"all": images}
    facts = table("statistics").set_index("split")
    assert list(facts.index) == list(parts)
    for side, part in parts.items():
        values = np.concatenate([image.ravel() for image in part]) / 255
        assert facts.loc[side, "intensity_mean"] == pytest.approx(values.mean(), rel=1e-5)
        assert facts.loc[side, "intensity_sd"] == pytest.approx(values.std(), rel=1e-5)
        for p in (1, 50, 99):
            found = facts.loc[side, f"intensity_p{p}"]
            assert found == pytest.approx(percentile(values, p), rel=1e-5)
        for axis, name in enumerate(("height", "width")):
            lengths = [image.shape[axis] for image in part]
            assert facts.loc[side, f"{name}_px_min"] == min(lengths)
            assert facts.loc[side, f"{name}_px_max"] == max(lengths)


def test_target_shares_are_those_of_the_slices_with_target(tell, table):
    image = noise(0, (10, 10))
    counts = tell(
        train=[("a", image, 0), ("a", image, 2), ("b", image, 4), ("b", image, 30)],
        valid=[("c", image, 0)],
    )
    facts = table("statistics").set_index("split")
    shares = ["target_share_mean", "target_share_min", "target_share_median", "target_share_max"]
    assert facts.loc["train", shares].tolist() == pytest.approx([0.12, 0.02, 0.04, 0.3])
    assert facts.loc["valid", shares].isna().all()
    assert facts.loc["all", shares].tolist() == pytest.approx([0.12, 0.02, 0.04, 0.3])
    assert facts["slices_with_target"].tolist() == [3, 0, 3]
    assert (counts["data/train_slices_with_target"], counts["data/train_slices"]) == (3, 4)


def test_patients_count_once_and_cases_as_often_as_they_are(tmp_path, table):
    def case(side, patient, volume, n):
        at, pixels = tmp_path / side / patient / volume, (noise(0, (4, 4)), mask_of(1, (4, 4)))
        slices = tuple(write_slice(at, f"{i}", *pixels) for i in range(n))
        return Case(patient, slices, volume=volume)

    train = case("train", "a", "1", 2), case("train", "a", "2", 1), case("train", "b", "", 1)
    splits = Splits(train, (case("valid", "a", "1", 1),), (case("test", "c", "", 3),), ("a",))
    counts = describe(splits, 1, Classes(127), tmp_path / "describe")
    facts = table("statistics").set_index("split")
    assert facts["patients"].to_dict() == {"train": 2, "valid": 1, "test": 1, "all": 3}
    assert facts["cases"].to_dict() == {"train": 3, "valid": 1, "test": 1, "all": 5}
    assert facts["slices"].to_dict() == {"train": 4, "valid": 1, "test": 3, "all": 8}
    assert counts == {
        "data/train_patients": 2,
        "data/train_slices": 4,
        "data/train_slices_with_target": 4,
        "data/valid_patients": 1,
        "data/valid_slices": 1,
        "data/valid_slices_with_target": 1,
        "data/test_patients": 1,
        "data/test_slices": 3,
        "data/test_slices_with_target": 3,
    }


def test_a_side_without_slices_is_left_out(tell, table, tmp_path):
    counts = tell(train=[("a", noise(0, (4, 4)), 1)])
    assert table("statistics")["split"].tolist() == ["train", "all"]
    assert sorted(path.name for path in (tmp_path / "describe").iterdir()) == [
        "samples_train.png",
        "slices.csv",
        "statistics.csv",
        "statistics.png",
    ]
    assert counts["data/train_patients"] == 1
    assert [counts[f"data/{side}_slices"] for side in ("valid", "test")] == [0, 0]


def test_foreground_is_what_exceeds_the_threshold(tmp_path, table):
    slices = [
        write_slice(tmp_path, f"{value}", noise(0, (4, 4)), mask_of(6, (4, 4), value))
        for value in (99, 100, 101)
    ]
    describe(Splits((Case("a", tuple(slices)),), (), ()), 1, Classes(100), tmp_path / "describe")
    assert table("slices")["target_px"].tolist() == [0, 0, 6]


def test_more_slices_than_are_read_at_once_are_all_counted_in_order(tell, table):
    n = 2 * BATCH_SLICES + 3
    tell(train=[(f"{i}", np.full((2, 2), i, np.uint8), i % 3) for i in range(n)])
    facts = table("slices")
    assert facts["intensity_mean"].tolist() == pytest.approx([i / 255 for i in range(n)], rel=1e-5)
    assert facts["target_px"].tolist() == [i % 3 for i in range(n)]
    total = table("statistics").set_index("split").loc["train"]
    assert total["slices"] == n
    assert total["intensity_mean"] == pytest.approx((n - 1) / 2 / 255, rel=1e-5)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    slice_ = write_slice(tmp_path, "s", noise(0, (4, 4)), mask_of(6, (4, 4)))
    slice_.image.write_bytes(b"no picture")
    with pytest.raises(SegError, match=r"s\.png: not a readable image"):
        describe(Splits((Case("a", (slice_,)),), (), ()), 1, Classes(127), tmp_path / "describe")


def test_the_sheet_of_a_side_shows_its_image_outline_and_mask(tmp_path):
    image, mask = np.full((PANEL_PX, PANEL_PX), 51, np.uint8), np.zeros((PANEL_PX, PANEL_PX), bool)
    mask[40:60, 100:150] = True
    rim = mask.copy()
    rim[41:59, 101:149] = False
    slice_ = write_slice(tmp_path, "s", image, mask.astype(np.uint8) * 255)
    describe(Splits((), (), (Case("a", (slice_,)),)), 1, Classes(127), tmp_path / "describe")
    sheet = cv2.imread(str(tmp_path / "describe" / "samples_test.png"))[..., ::-1]
    inner = sheet[GAP_PX + CAPTION_PX : -GAP_PX, GAP_PX:-GAP_PX]
    panel, plain = inner[:, :PANEL_PX], inner[:, -PANEL_PX:]
    np.testing.assert_array_equal((panel == Style().truth(1)).all(axis=-1), rim)
    assert (panel[~rim] == 51).all()
    np.testing.assert_array_equal(plain, np.repeat(mask[..., None] * np.uint8(255), 3, axis=2))


def test_a_cohort_has_a_sheet_of_sixteen_per_side(cohort, tmp_path):
    cases = folders.read(cohort, r"^(p\d+)_")
    counts = describe(Splits(tuple(cases[:5]), tuple(cases[5:]), ()), 1, Classes(127), tmp_path)
    train = cv2.imread(str(tmp_path / "samples_train.png"))
    valid = cv2.imread(str(tmp_path / "samples_valid.png"))
    assert train.shape[0] == 4 * (PANEL_PX + CAPTION_PX + GAP_PX) + GAP_PX
    assert valid.shape[0] == 2 * (PANEL_PX + CAPTION_PX + GAP_PX) + GAP_PX
    assert 2000 < train.shape[1] < 2100
    assert counts["data/train_slices"] == 20


def test_the_augmented_sheet_shows_slices_as_they_are_and_as_they_are_augmented(cohort, tmp_path):
    cases = verified(folders.read(cohort, r"^(p\d+)_"), 1, BINARY)
    slices = cache.load(cases, (32, 32), 1, BINARY, "off", tmp_path)
    augmented(cases, slices, chain({"mirror": Flip(1.0, "horizontal")}), 0, tmp_path)
    sheet = cv2.imread(str(tmp_path / "samples_augmented.png"))[GAP_PX:, GAP_PX:]
    rows = np.split(sheet, AUGMENTED)
    for row in rows:
        plain, *variants = (
            tile[CAPTION_PX : CAPTION_PX + PANEL_PX] for tile in np.split(row, 1 + VARIANTS, axis=1)
        )
        assert plain[:, :PANEL_PX].any()
        for variant in variants:
            for left in (0, PANEL_PX + 2):
                panel = slice(left, left + PANEL_PX)
                np.testing.assert_array_equal(variant[:, panel], plain[:, panel][:, ::-1])
    assert any((row == Style().truth(1)[::-1]).all(axis=-1)[CAPTION_PX:].any() for row in rows)


def test_the_augmented_sheet_draws_every_variant_anew_and_the_same_ones_again(cohort, tmp_path):
    cases = verified(folders.read(cohort, r"^(p\d+)_"), 1, BINARY)
    slices = cache.load(cases, (32, 32), 1, BINARY, "off", tmp_path)
    sheets = []
    for seed in (0, 0, 1):
        augmented(cases, slices, chain({"turn": Rotate(1.0, [-40, 40], None)}), seed, tmp_path)
        sheets.append(cv2.imread(str(tmp_path / "samples_augmented.png")))
    np.testing.assert_array_equal(sheets[0], sheets[1])
    assert (sheets[0] != sheets[2]).any()
    first_row = sheets[0][GAP_PX + CAPTION_PX :][:PANEL_PX, GAP_PX:]
    panels = [tile[:, :PANEL_PX] for tile in np.split(first_row, 1 + VARIANTS, axis=1)]
    assert len({panel.tobytes() for panel in panels}) == 1 + VARIANTS


def test_with_labels_the_pixels_and_slices_of_each_class_are_counted(tmp_path, table):
    masks = np.zeros((3, 4, 5), np.uint8)
    masks[0].flat[:3], masks[0].flat[3:5], masks[2].flat[:1] = 1, 9, 9
    slices = tuple(
        write_slice(tmp_path, f"s_{i}", noise(i, (4, 5)), mask) for i, mask in enumerate(masks)
    )
    classes = Classes(127, {"liver": 1, "tumour": 9})
    counts = describe(Splits((Case("a", slices),), (), ()), 1, classes, tmp_path / "describe")
    facts = table("slices")
    assert facts["target_px"].tolist() == [5, 0, 1]
    assert facts["target_share"].tolist() == pytest.approx([0.25, 0, 0.05])
    assert facts["target_px_liver"].tolist() == [3, 0, 0]
    assert facts["target_px_tumour"].tolist() == [2, 0, 1]
    total = table("statistics").set_index("split").loc["train"]
    assert total["slices_with_target"] == 2
    assert total["slices_with_target_liver"] == 1
    assert total["slices_with_target_tumour"] == 2
    assert counts["data/train_slices_with_target"] == 2


def test_the_sheet_shows_every_class_as_target(tmp_path):
    image, mask = noise(0, (40, 50)), np.zeros((40, 50), np.uint8)
    mask[10:20, 10:25], mask[10:20, 25:40] = 1, 9
    sheets = []
    for pixels, classes in (
        (mask, Classes(127, {"liver": 1, "tumour": 9})),
        ((mask > 0).astype(np.uint8) * 255, BINARY),
    ):
        splits = Splits((), (), (Case("a", (write_slice(tmp_path, "s", image, pixels),)),))
        describe(splits, 1, classes, tmp_path / "describe")
        sheets.append(cv2.imread(str(tmp_path / "describe" / "samples_test.png")))
    np.testing.assert_array_equal(*sheets)


def people(*lengths):
    """Return the patient of each slice, "0" first."""
    return [str(i) for i, n in enumerate(lengths) for _ in range(n)]


@pytest.mark.parametrize(
    ("n_with", "n_without", "chosen_with", "chosen_without"),
    [(100, 100, 12, 4), (100, 2, 14, 2), (5, 100, 5, 11), (0, 20, 0, 16), (9, 2, 9, 2)],
)
def test_three_quarters_have_a_target_where_there_are_so_many(
    n_with, n_without, chosen_with, chosen_without
):
    has_target = [True] * n_with + [False] * n_without
    chosen = samples(people(*[1] * len(has_target)), has_target)
    assert sum(has_target[i] for i in chosen) == chosen_with
    assert sum(not has_target[i] for i in chosen) == chosen_without


def test_samples_are_ascending_and_distinct():
    rng = np.random.default_rng(0)
    for _ in range(50):
        patients = people(*rng.integers(1, 9, rng.integers(1, 30)))
        has_target = rng.random(len(patients)) < rng.random()
        chosen = samples(patients, has_target)
        assert chosen == sorted(set(chosen))
        assert len(chosen) == min(SAMPLES, len(patients))
        assert all(0 <= i < len(patients) for i in chosen)


def test_samples_come_from_different_patients_where_there_are_so_many():
    patients = people(*[10] * 16)
    has_target = [i % 10 > 2 for i in range(160)]
    assert len({patients[i] for i in samples(patients, has_target)}) == 16


def test_samples_are_shared_out_evenly_among_few_patients():
    patients = people(50, 3, 50, 1)
    shown = Counter(patients[i] for i in samples(patients, [True] * 104))
    assert shown == {"0": 6, "1": 3, "2": 6, "3": 1}


def test_samples_without_target_come_from_the_patients_shown_least():
    """Of 12 with target ten are of "0", two of "1"; the other four bring "1" and "2" level."""
    patients = people(20, 12, 10)
    has_target = [True] * 10 + [False] * 10 + [True] * 2 + [False] * 20
    shown = Counter(patients[i] for i in samples(patients, has_target))
    assert shown == {"0": 10, "1": 3, "2": 3}


def test_sampled_patients_are_evenly_spaced():
    chosen = samples(people(*[1] * 160), [True] * 160)
    np.testing.assert_array_equal(np.diff(chosen), 10)
    assert chosen[0] == 5


def test_sampled_slices_are_evenly_spaced_over_their_patient():
    assert samples(["a"] * 160, [True] * 160) == list(range(5, 160, 10))


def test_sampled_slices_of_many_patients_lie_at_all_heights():
    chosen = samples(people(*[100] * 16), [True] * 1600)
    heights = sorted(i % 100 for i in chosen)
    assert heights[0] < 10
    assert heights[-1] > 90
    assert max(np.diff(heights)) < 10
