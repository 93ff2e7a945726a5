"""A fingerprint that changes with the data, and with nothing else."""

import shutil

import cv2
import pytest

from seg.contracts import Classes
from seg.data import check, digest, folder


@pytest.fixture
def home(cohort, tmp_path):
    return shutil.copytree(cohort, tmp_path / "mine")


def read(home, pattern=r"^(p\d+)_"):
    return check.verified(folder.read(home, pattern), 1, Classes())


def test_it_counts_what_is_there(home, cohort):
    masks = [cv2.imread(str(path), 0) for path in (cohort / "masks").iterdir()]
    found = digest.contents(read(home))
    assert len(found.pop("digest")) == 36
    assert found == {
        "patients": 6,
        "cases": 6,
        "slices": 24,
        "slices_with_target": sum((mask > 127).any() for mask in masks),
    }


def test_the_same_data_elsewhere_and_in_another_order_has_the_same_digest(home, cohort):
    wanted = digest.contents(read(cohort))["digest"]
    assert digest.contents(read(home)[::-1])["digest"] == wanted


@pytest.mark.parametrize("kind", ["images", "masks"])
def test_one_other_pixel_is_another_digest(home, kind):
    before = digest.contents(read(home))["digest"]
    file = min((home / kind).iterdir())
    pixels = cv2.imread(str(file), 0)
    pixels[0, 0] ^= 255
    cv2.imwrite(str(file), pixels)
    assert digest.contents(read(home))["digest"] != before


def test_another_patient_is_another_digest(home):
    assert digest.contents(read(home)) != digest.contents(read(home, r"^p(\d+)_"))


def test_no_cases_are_counted_as_none():
    found = digest.contents([])
    assert (found["patients"], found["slices"]) == (0, 0)
