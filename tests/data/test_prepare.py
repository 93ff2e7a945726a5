"""Facts about `seg.data.prepare`: raw trees in, folders of slices out, whatever interrupts it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from seg.data import folder, prepared
from seg.data.prepare import prepare

NAMES = ("spleen", "pancreas_t1", "ms_flair", "breastdm", "lgg")


def manifest(home: Path) -> pd.DataFrame:
    return pd.read_csv(home / "manifest.csv", dtype={"patient": str, "case": str, "volume": str})


def read(home: Path, row, kind: str) -> np.ndarray:
    return cv2.imread(str(home / row[kind]), cv2.IMREAD_UNCHANGED)


def stack(home: Path, case: str, kind: str) -> np.ndarray:
    rows = manifest(home).query("case == @case").sort_values("slice")
    return np.stack([read(home, row, kind) for _, row in rows.iterrows()])


@pytest.fixture
def raw(tmp_path, publisher):
    def tree(name):
        root = tmp_path / "raw" / name
        return root if root.exists() else publisher(name, root)

    return tree


@pytest.fixture
def prepared_from(tmp_path, raw, dataset):
    """Prepare a publisher's tree: name, overrides -> prepared folder."""

    def run(name, *overrides):
        return prepare(raw(name), tmp_path / "data", *dataset(name, *overrides))

    return run


COUNTS = {  # cases, slices of each, as the trees in conftest.py are made
    "spleen": {"2": 10, "3": 9, "6": 10, "10": 8},
    "pancreas_t1": {"AHN_0000": 8, "AHN_0001": 9, "AHN_0002": 10, "AHN_0003": 11},
    "ms_flair": {"1": 6, "2": 6, "10": 6, "11": 6},
    "breastdm": {f"BreaDM-Ma-{n}": 4 for n in (1802, 1803, 1901, 2001)},
    "lgg": {f"TCGA_{p}": 11 for p in ("CS_4941", "CS_4942", "DU_5849", "HT_A61A")},
}


@pytest.mark.parametrize("name", NAMES)
def test_every_case_of_a_publishers_tree_is_prepared_slice_by_slice(name, prepared_from):
    home = prepared_from(name)
    table = manifest(home)
    assert table.groupby("case", sort=False).size().to_dict() == COUNTS[name]
    for _, row in table.iterrows():
        image, mask = read(home, row, "image"), read(home, row, "mask")
        assert image.dtype == mask.dtype == np.uint8
        assert image.shape[:2] == mask.shape == (row.height, row.width)
        assert set(np.unique(mask)) <= {0, 255}
        assert np.count_nonzero(mask) == row.target_px
    description = json.loads((home / "dataset.json").read_text())
    assert description["counts"]["slices"] == sum(COUNTS[name].values())
    assert description["counts"]["slices_with_target"] == (table.target_px > 0).sum()
    assert description["licence"]
    assert description["citation"]
    assert description["left_out"] == {}


@pytest.mark.parametrize("name", NAMES)
def test_the_organ_is_bright_and_lies_to_the_right_above_the_middle(name, prepared_from):
    """Patient's left is the picture's right, and the front is up, as radiologists look at it."""
    home = prepared_from(name)
    for case in COUNTS[name]:
        images, masks = stack(home, case, "image"), stack(home, case, "mask") > 0
        grey = images if images.ndim == 3 else images[..., 2]  # OpenCV reads BGR
        _, rows, columns = np.nonzero(masks)
        assert columns.mean() > 0.6 * masks.shape[2]
        assert rows.mean() < 0.45 * masks.shape[1]
        assert grey[masks].mean() > grey[~masks].mean() + 60


@pytest.mark.parametrize("name", ["spleen", "pancreas_t1", "ms_flair"])
def test_the_organ_lies_in_the_upper_slices_of_a_volume(name, prepared_from):
    home = prepared_from(name)
    for case in COUNTS[name]:
        slices, *_ = np.nonzero(stack(home, case, "mask"))
        assert slices.mean() > (COUNTS[name][case] - 1) / 2


def test_a_ct_window_is_exact(prepared_from, raw):
    """spleen: 50 +- 200 HU, so -150 HU is 0, 250 HU is 255, air is black without wrapping."""
    home = prepared_from("spleen")
    volume = nib.load(raw("spleen") / "Task09_Spleen/imagesTr/spleen_3.nii.gz")  # RAS
    hu_SHW = np.asarray(volume.dataobj)[::-1, ::-1].transpose(2, 1, 0).astype(float)
    expected = np.rint(np.clip((hu_SHW + 150) / 400, 0, 1) * 255)
    np.testing.assert_array_equal(stack(home, "3", "image"), expected)


def test_sixteen_bits_keep_every_hounsfield_unit_apart(prepared_from, raw):
    home = prepared_from("spleen", "dataset.prepare.bits=16")
    volume = nib.load(raw("spleen") / "Task09_Spleen/imagesTr/spleen_3.nii.gz")
    hu_SHW = np.asarray(volume.dataobj)[::-1, ::-1].transpose(2, 1, 0).astype(float)
    images = stack(home, "3", "image")
    assert images.dtype == np.uint16
    back = images / 65535 * 400 - 150
    np.testing.assert_allclose(back, np.clip(hu_SHW, -150, 250), atol=0.004)


def test_mr_is_scaled_between_percentiles_of_the_voxels_that_are_not_zero(prepared_from, raw):
    home = prepared_from("ms_flair")
    volume = nib.load(raw("ms_flair") / "Patient-2/2-Flair.nii")
    values = np.asarray(volume.dataobj)[::-1, ::-1].transpose(2, 1, 0).astype(float)
    low, high = np.percentile(values[values != 0], [0.5, 99.5])
    expected = np.clip((values - low) / (high - low), 0, 1) * 255
    np.testing.assert_allclose(stack(home, "2", "image"), expected, atol=0.51)


@pytest.mark.parametrize("case", COUNTS["spleen"])
def test_a_mask_put_back_together_equals_the_original_voxel_for_voxel(case, prepared_from, raw):
    home = prepared_from("spleen")
    label = nib.load(raw("spleen") / f"Task09_Spleen/labelsTr/spleen_{case}.nii.gz")
    masks_SHW = stack(home, case, "mask") > 0
    as_lps = nib.orientations.ornt_transform(
        nib.orientations.axcodes2ornt("LPS"), nib.io_orientation(label.affine)
    )
    back = nib.apply_orientation(masks_SHW.transpose(2, 1, 0), as_lps)
    np.testing.assert_array_equal(back, np.asarray(label.dataobj) == 1)


def test_a_resized_mask_agrees_with_the_original_to_half_a_pixel(prepared_from, raw):
    """pancreas_t1: 1.25 mm columns become 1 mm, the 48 columns 60."""
    home = prepared_from("pancreas_t1")
    label = nib.load(raw("pancreas_t1") / "t1/labelsTr/AHN_0000.nii.gz")
    original_SHW = np.asarray(label.dataobj).transpose(2, 1, 0) == 1
    masks_SHW = stack(home, "AHN_0000", "mask") > 0
    assert masks_SHW.shape == (8, 52, 60)
    nearest = np.floor((np.arange(60) + 0.5) / 1.25).astype(int)
    np.testing.assert_array_equal(masks_SHW, original_SHW[:, :, nearest])
    back = masks_SHW[:, :, np.rint(np.arange(48) * 1.25 + 0.125).astype(int)]
    np.testing.assert_array_equal(back, original_SHW)
    row = manifest(home).query("case == 'AHN_0000'").iloc[0]
    assert (row.source_height, row.source_width) == (52, 48)
    assert (row.slice_mm, row.row_mm, row.column_mm) == pytest.approx((3, 1, 1))


def test_pixels_stay_oblong_where_square_ones_are_not_asked_for(prepared_from):
    home = prepared_from("pancreas_t1", "dataset.prepare.square_pixels=false")
    row = manifest(home).iloc[0]
    assert (row.height, row.width) == (52, 48)
    assert (row.row_mm, row.column_mm) == pytest.approx((1, 1.25))


@pytest.mark.parametrize(
    ("plane", "shape", "spacing"),
    [
        ("axial", (9, 52, 64), (5, 1, 1)),
        ("coronal", (52, 9, 64), (1, 5, 1)),
        ("sagittal", (64, 9, 52), (1, 5, 1)),
    ],
)
def test_the_plane_is_an_option(plane, shape, spacing, prepared_from):
    home = prepared_from(
        "spleen", f"dataset.raw.plane={plane}", "dataset.prepare.square_pixels=false"
    )
    masks = stack(home, "3", "mask")
    assert masks.shape == shape
    row = manifest(home).query("case == '3'").iloc[0]
    assert (row.slice_mm, row.row_mm, row.column_mm) == spacing
    slices, rows, columns = (
        axis.mean() / n for axis, n in zip(np.nonzero(masks), shape, strict=True)
    )
    high_is_up = {"axial": slices > 0.5, "coronal": rows < 0.5, "sagittal": rows < 0.5}
    left_is_right = {"axial": columns > 0.5, "coronal": columns > 0.5, "sagittal": slices > 0.5}
    front = {"axial": rows < 0.5, "coronal": slices < 0.5, "sagittal": columns < 0.5}
    assert high_is_up[plane]
    assert left_is_right[plane]
    assert front[plane]


def test_pictures_are_kept_pixel_for_pixel(prepared_from, raw):
    home = prepared_from("lgg")
    stored = cv2.imread(str(raw("lgg") / "kaggle_3m/TCGA_HT_A61A_2/TCGA_HT_A61A_2_7.tif"), -1)
    np.testing.assert_array_equal(stack(home, "TCGA_HT_A61A", "image")[6], stored)


def test_slices_are_ordered_by_number_not_by_letter(prepared_from):
    home = prepared_from("lgg")
    sources = manifest(home).query("case == 'TCGA_CS_4941'").source_image
    assert [int(Path(s).stem.split("_")[-1]) for s in sources] == list(range(1, 12))


def test_the_publishers_split_is_kept(prepared_from):
    cases = prepared.read(prepared_from("breastdm"))
    assert {case.patient: case.side for case in cases} == {
        "BreaDM-Ma-1802": "train",
        "BreaDM-Ma-1803": "train",
        "BreaDM-Ma-1901": "valid",
        "BreaDM-Ma-2001": "test",
    }


def test_a_person_or_the_folder_reader_can_open_a_prepared_dataset(prepared_from):
    home = prepared_from("ms_flair")
    cases = folder.read(home, r"^(\d+)_\d+$")
    assert {case.patient: len(case.slices) for case in cases} == COUNTS["ms_flair"]


def test_a_prepared_case_knows_its_spacing_and_its_slices(prepared_from):
    cases = prepared.read(prepared_from("ms_flair"))
    assert [case.name for case in cases] == ["1", "2", "10", "11"]
    assert cases[0].spacing_mm == pytest.approx((6, 0.9, 0.9))
    assert [slice_.id for slice_ in cases[0].slices] == [f"1_{k:03d}" for k in range(6)]


def test_a_second_preparation_touches_nothing(prepared_from):
    home = prepared_from("ms_flair")
    before = {path: path.stat().st_mtime_ns for path in home.rglob("*")}
    assert prepared_from("ms_flair") == home
    assert {path: path.stat().st_mtime_ns for path in home.rglob("*")} == before


def test_another_recipe_or_source_goes_into_another_folder(prepared_from, raw):
    first = prepared_from("ms_flair")
    second = prepared_from("ms_flair", "dataset.prepare.bits=16")
    file = raw("ms_flair") / "Patient-2/2-Flair.nii"
    os.utime(file, (1, 1))
    third = prepared_from("ms_flair")
    assert len({first, second, third}) == 3
    assert all(prepared.is_prepared(home) for home in (first, second, third))


def test_an_archive_gives_what_its_folder_gives(tmp_path, raw, dataset):
    source = raw("spleen")
    subprocess.run(["tar", "-cf", tmp_path / "t.tar", "-C", source, "Task09_Spleen"], check=True)
    from_folder = prepare(source, tmp_path / "a", *dataset("spleen"))
    from_archive = prepare(tmp_path / "t.tar", tmp_path / "b", *dataset("spleen"))
    first, second = manifest(from_folder), manifest(from_archive)
    pd.testing.assert_frame_equal(first, second)
    assert [path.name for path in (tmp_path / "b").iterdir() if path.is_dir()] == [
        from_archive.name
    ]


PREPARE = """
import sys, logging
from pathlib import Path
from seg.data.intensity import Percentiles
from seg.data.nifti import NiftiPairs
from seg.data.prepare import prepare
from seg.data.recipe import Recipe
logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
reader = NiftiPairs(r"Patient-(?P<patient>\\d+)/\\d+-Flair.nii",
                    r"Patient-(?P<patient>\\d+)/\\d+-LesionSeg-Flair.nii", "axial", None, 0.1)
recipe = Recipe(Percentiles(0.5, 99.5), [0, 1], [1], True, 8)
prepare(Path(sys.argv[1]), Path(sys.argv[2]), reader, recipe, {"recipe": {}})
"""


@pytest.fixture
def many(tmp_path, volumes):
    """60 cases of ms_flair's layout: some seconds of work."""
    affine = volumes.affine_of("RAS", (0.9, 0.9, 6.0))
    image, label = volumes.scan(affine, (192, 192, 24), (0, 120, 250), 1)
    first = (
        tmp_path / "many/Patient-1/1-Flair.nii",
        tmp_path / "many/Patient-1/1-LesionSeg-Flair.nii",
    )
    for path, voxels in zip(first, (image, label), strict=True):
        volumes.save_nifti(path, voxels, affine, "int16")
    for n in range(2, 61):
        for path in first:
            link = Path(str(path).replace("Patient-1/1-", f"Patient-{n}/{n}-"))
            link.parent.mkdir(exist_ok=True)
            link.hardlink_to(path)
    return tmp_path / "many"


def test_a_killed_preparation_goes_on_and_ends_with_the_same_files(tmp_path, many):
    command = [sys.executable, "-c", PREPARE, str(many)]
    victim = subprocess.Popen([*command, str(tmp_path / "a")], stdout=subprocess.DEVNULL)
    while len(list(tmp_path.glob("a/.preparing-*/cases/*.csv"))) < 3:
        assert victim.poll() is None, "it ended before it could be killed"
        time.sleep(0.005)
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    assert not list(tmp_path.glob("a/prepared-*"))
    done = len(list(tmp_path.glob("a/.preparing-*/cases/*.csv")))
    again = subprocess.run([*command, str(tmp_path / "a")], capture_output=True, text=True)
    assert f"{done} of 60 cases are there already" in again.stdout, again.stderr
    subprocess.run([*command, str(tmp_path / "b")], check=True, capture_output=True)
    (resumed,), (whole,) = tmp_path.glob("a/prepared-*"), tmp_path.glob("b/prepared-*")
    files = {path.relative_to(whole) for path in whole.rglob("*")}
    assert {path.relative_to(resumed) for path in resumed.rglob("*")} == files
    pd.testing.assert_frame_equal(manifest(resumed), manifest(whole))


def test_two_processes_prepare_the_same_dataset_once(tmp_path, many):
    command = [sys.executable, "-c", PREPARE, str(many), str(tmp_path / "a")]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sum("prepared 60 cases" in text for text in said) == 1
    (home,) = tmp_path.glob("a/prepared-*")
    assert len(prepared.read(home)) == 60
