"""Facts about `seg.data.synthetic`: the same cohort everywhere, and no threshold solves it."""

import os
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from seg.config import conf_dir
from seg.contracts import Classes, SegError
from seg.data.check import verified
from seg.data.synthetic import phantom

SMALL = {
    "patients": 5,
    "slices_per_patient": 3,
    "size": 24,
    "empty_fraction": 0.4,
    "noise": 0.05,
    "seed": 0,
}
LONGER = SMALL | {"patients": 25, "slices_per_patient": 8, "size": 32}
PROGRAM = """
import sys, time
from pathlib import Path
from seg.data.synthetic import phantom
root, go = Path(sys.argv[1]), Path(sys.argv[2])
Path(sys.argv[3]).touch()
while not go.exists():
    time.sleep(0.001)
phantom(root, **{})
"""


def content(root):
    """Return the bytes of every file below a folder, by relative path."""
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def start(tmp_path, root, count):
    """Start processes that generate LONGER; once all have imported, let them off together."""
    go = tmp_path / "go"
    ready = [tmp_path / f"ready{i}" for i in range(count)]
    program = [sys.executable, "-c", PROGRAM.format(LONGER), str(root), str(go)]
    processes = [subprocess.Popen([*program, str(flag)]) for flag in ready]
    wait(lambda: all(flag.exists() for flag in ready), processes)
    go.touch()
    return processes


def wait(condition, processes):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        assert all(process.poll() in (None, 0) for process in processes)
        time.sleep(0.001)


def masks(case):
    return [cv2.imread(str(s.mask), cv2.IMREAD_UNCHANGED) for s in case.slices]


def test_the_same_recipe_gives_the_same_bytes_anywhere(tmp_path):
    phantom(tmp_path / "a", **SMALL)
    phantom(str(tmp_path / "b" / "c"), **SMALL)
    made = content(tmp_path / "a")
    assert len(made) == 2 * 5 * 3 + 1
    assert made == content(tmp_path / "b" / "c")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("patients", 6),
        ("slices_per_patient", 2),
        ("size", 25),
        ("empty_fraction", 0.2),
        ("noise", 0.06),
        ("seed", 1),
    ],
)
def test_another_recipe_lies_in_another_folder(tmp_path, key, value):
    phantom(tmp_path, **SMALL)
    (first,) = tmp_path.iterdir()
    before = content(first)
    phantom(tmp_path, **SMALL | {key: value})
    (second,) = set(tmp_path.iterdir()) - {first}
    assert content(first) == before
    assert content(second) != before


def test_another_seed_is_another_anatomy(tmp_path):
    first = phantom(tmp_path, **SMALL)
    second = phantom(tmp_path, **SMALL | {"seed": 1})
    assert not np.array_equal(masks(first[0]), masks(second[0]))


def test_the_cohort_has_the_asked_patients_slices_and_size(tmp_path):
    cases = phantom(tmp_path, **SMALL)
    assert [case.patient for case in cases] == ["p000", "p001", "p002", "p003", "p004"]
    assert all(case.identified and case.side is None for case in cases)
    for case in cases:
        assert [s.id for s in case.slices] == [f"{case.patient}_{k:02d}" for k in range(3)]
        assert {mask.shape for mask in masks(case)} == {(24, 24)}


def test_the_cohort_passes_the_check_and_its_masks_are_0_and_255(tmp_path):
    cases = phantom(tmp_path, **SMALL)
    verified(cases, 1, Classes(127))
    values = np.unique([masks(case) for case in cases])
    assert values.tolist() == [0, 255]


@pytest.mark.parametrize(
    ("patients", "fraction", "empty"),
    [(5, 0.0, 0), (5, 0.4, 2), (10, 0.1, 1), (10, 0.5, 5), (4, 0.75, 3), (4, 1.0, 4), (3, 1.0, 3)],
)
def test_the_asked_share_of_patients_has_no_target(tmp_path, patients, fraction, empty):
    recipe = SMALL | {"patients": patients, "empty_fraction": fraction}
    cases = phantom(tmp_path, **recipe)
    assert sum(not np.any(masks(case)) for case in cases) == empty


def test_a_second_call_writes_nothing_and_reads_the_same(tmp_path):
    cases = phantom(tmp_path, **SMALL)
    for path in (tmp_path, *tmp_path.rglob("*")):
        os.utime(path, (1, 1))
    assert phantom(tmp_path, **SMALL) == cases
    assert {path.stat().st_mtime for path in (tmp_path, *tmp_path.rglob("*"))} == {1}


def test_a_damaged_cohort_is_not_mended_in_silence(tmp_path):
    cases = phantom(tmp_path, **SMALL)
    cases[0].slices[0].mask.unlink()
    with pytest.raises(SegError, match=r"p000_00\.png: has no mask"):
        phantom(tmp_path, **SMALL)


def test_a_killed_run_leaves_no_half_cohort(tmp_path):
    root = tmp_path / "root"
    (process,) = start(tmp_path, root, 1)
    wait(lambda: any(root.glob("*/images/*.png")), [process])
    process.kill()
    process.wait()
    phantom(root, **LONGER)
    (made,) = root.glob("v*")
    phantom(tmp_path / "clean", **LONGER)
    (clean,) = (tmp_path / "clean").iterdir()
    assert content(made) == content(clean)


def test_two_runs_at_once_end_with_one_whole_cohort(tmp_path):
    root = tmp_path / "root"
    processes = start(tmp_path, root, 2)
    assert [process.wait(60) for process in processes] == [0, 0]
    (made,) = root.iterdir()
    phantom(tmp_path / "clean", **LONGER)
    (clean,) = (tmp_path / "clean").iterdir()
    assert content(made) == content(clean)


def test_no_grey_level_threshold_solves_the_default_cohort(tmp_path):
    text = (Path(conf_dir()) / "dataset" / "phantom.yaml").read_text()
    recipe = yaml.safe_load(text)["reader"]
    del recipe["_target_"]
    dice = []
    for case in phantom(tmp_path, **recipe):
        truth = np.array(masks(case)) > 0
        pixels = np.array([cv2.imread(str(s.image), cv2.IMREAD_UNCHANGED) for s in case.slices])
        if truth.any():
            above, hit = (
                np.bincount(values.ravel(), minlength=256)[::-1].cumsum()[::-1]
                for values in (pixels, pixels[truth])
            )
            dice.append(2 * hit / (above + truth.sum()))
    assert len(dice) == 36
    assert np.shape(dice)[1] == 256
    best = np.mean(dice, axis=0).max()
    assert 0.3 < best < 0.6


def test_of_two_classes_the_first_is_the_organ_of_one_class_and_the_second_the_spine(tmp_path):
    one, two = phantom(tmp_path, **SMALL), phantom(tmp_path, **SMALL, classes=2)
    assert len(list(tmp_path.iterdir())) == 2
    organs = spines = 0
    for before, case in zip(one, two, strict=True):
        for organ_HW, mask_HW, slice_ in zip(masks(before), masks(case), case.slices, strict=True):
            assert set(np.unique(mask_HW)) <= {0, 1, 2}
            np.testing.assert_array_equal(mask_HW == 1, organ_HW == 255)
            image_HW = cv2.imread(str(slice_.image), cv2.IMREAD_UNCHANGED)
            assert image_HW[mask_HW == 2].mean() > image_HW[mask_HW != 2].mean() + 60
            organs, spines = organs + (mask_HW == 1).any(), spines + (mask_HW == 2).any()
    assert organs <= 9
    assert spines == 15


def test_of_two_classes_the_images_are_those_of_one(tmp_path):
    one, two = phantom(tmp_path, **SMALL), phantom(tmp_path, **SMALL, classes=2)
    for before, case in zip(one, two, strict=True):
        for a, b in zip(before.slices, case.slices, strict=True):
            assert a.image != b.image
            assert a.image.read_bytes() == b.image.read_bytes()


def test_another_number_of_classes_is_refused(tmp_path):
    with pytest.raises(SegError, match=r"dataset\.reader\.classes must be 1 or 2\. Received: 3"):
        phantom(tmp_path, **SMALL, classes=3)
    assert not list(tmp_path.iterdir())
