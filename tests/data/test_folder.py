"""Facts about `seg.data.folder`: which files become which cases."""

import logging
from pathlib import Path

import pytest
import yaml

from seg.config import conf_dir
from seg.contracts import SegError
from seg.data.folder import read

PATTERN = r"^(p\d+)_"


def lay(folder, images, masks=None):
    """Create empty files; the masks are named as the images unless given."""
    for kind, names in (("images", images), ("masks", images if masks is None else masks)):
        (folder / kind).mkdir(parents=True)
        for name in names:
            (folder / kind / name).touch()
    return folder


def names(cases):
    return [(case.side, case.patient, [s.id for s in case.slices]) for case in cases]


def configured(choice):
    """Return the patient pattern of a YAML of conf/dataset."""
    text = (Path(conf_dir()) / "dataset" / f"{choice}.yaml").read_text()
    return yaml.safe_load(text)["reader"]["patient_pattern"]


def test_a_flat_folder_becomes_cases_without_side(tmp_path):
    lay(tmp_path, ["p2_1.png", "p1_1.png", "p1_0.png"])
    assert names(read(tmp_path, PATTERN)) == [
        (None, "p1", ["p1_0", "p1_1"]),
        (None, "p2", ["p2_1"]),
    ]


def test_the_root_may_be_a_string(tmp_path):
    lay(tmp_path, ["p1_0.png"])
    assert read(str(tmp_path), PATTERN) == read(tmp_path, PATTERN)


def test_a_ready_made_split_becomes_cases_with_sides(tmp_path):
    lay(tmp_path / "train", ["p1_0.png", "p1_1.png", "p2_0.png"])
    lay(tmp_path / "valid", ["p3_0.png"])
    lay(tmp_path / "test", ["p4_0.png"])
    assert names(read(tmp_path, PATTERN)) == [
        ("test", "p4", ["p4_0"]),
        ("train", "p1", ["p1_0", "p1_1"]),
        ("train", "p2", ["p2_0"]),
        ("valid", "p3", ["p3_0"]),
    ]


@pytest.mark.parametrize("alias", ["val", "validation"])
def test_the_valid_side_has_other_names(tmp_path, alias):
    lay(tmp_path / "train", ["p1_0.png"])
    lay(tmp_path / alias, ["p2_0.png"])
    assert names(read(tmp_path, PATTERN)) == [
        ("train", "p1", ["p1_0"]),
        ("valid", "p2", ["p2_0"]),
    ]


def test_two_folders_for_one_side_are_refused(tmp_path):
    lay(tmp_path / "val", ["p1_0.png"])
    lay(tmp_path / "valid", ["p2_0.png"])
    with pytest.raises(SegError, match=r"two folders for one side \(val, valid\)"):
        read(tmp_path, PATTERN)


def test_a_flat_folder_beside_a_ready_made_split_is_refused(tmp_path):
    lay(tmp_path, ["p1_0.png"])
    lay(tmp_path / "test", ["p2_0.png"])
    with pytest.raises(SegError, match="holds both images/ and test/"):
        read(tmp_path, PATTERN)


@pytest.mark.parametrize(("pattern", "said"), [("p[", "unterminated"), ("p1", "have a group")])
def test_a_pattern_that_cannot_name_a_patient_is_refused(tmp_path, pattern, said):
    lay(tmp_path, ["p1_0.png"])
    with pytest.raises(SegError, match=f"dataset.reader.patient_pattern.*{said}"):
        read(tmp_path, pattern)


def test_a_file_named_like_a_side_is_no_side(tmp_path):
    lay(tmp_path, ["p1_0.png"])
    (tmp_path / "test").touch()
    assert names(read(tmp_path, PATTERN)) == [(None, "p1", ["p1_0"])]


def test_a_slice_has_the_name_of_its_files_on_every_side(tmp_path):
    for side in ("train", "valid", "test"):
        lay(tmp_path / side, ["p1_0.png"])
    assert [s.id for case in read(tmp_path, PATTERN) for s in case.slices] == ["p1_0"] * 3


def test_a_slice_knows_its_two_files(tmp_path):
    lay(tmp_path, ["p1_0.jpg"], ["p1_0.png"])
    (case,) = read(tmp_path, PATTERN)
    assert case.slices[0].image == tmp_path / "images" / "p1_0.jpg"
    assert case.slices[0].mask == tmp_path / "masks" / "p1_0.png"


@pytest.mark.parametrize("suffix", ["png", "jpg", "jpeg", "bmp", "tif", "tiff", "PNG", "JPG"])
def test_every_listed_ending_is_taken_in_either_case(tmp_path, suffix):
    lay(tmp_path, [f"p1_0.{suffix}"])
    assert names(read(tmp_path, PATTERN)) == [(None, "p1", ["p1_0"])]


@pytest.mark.parametrize("stray", ["._p1_0.jpg", "._p9_9.jpg", ".DS_Store", "Thumbs.db", "p1.txt"])
def test_droppings_and_other_files_are_ignored(tmp_path, stray):
    lay(tmp_path, ["p1_0.jpg", stray], ["p1_0.jpg"])
    lay(tmp_path / "other", [])
    assert names(read(tmp_path, PATTERN)) == [(None, "p1", ["p1_0"])]


def test_a_missing_folder_names_the_setting_and_the_phantom(tmp_path):
    with pytest.raises(SegError, match=r"dataset\.root: no folder .*nowhere.*dataset=phantom"):
        read(tmp_path / "nowhere", None)


@pytest.mark.parametrize("missing", ["images", "masks"])
def test_a_folder_without_images_or_masks_is_refused_by_name(tmp_path, missing):
    lay(tmp_path, ["a.png"])
    (tmp_path / missing / "a.png").unlink()
    (tmp_path / missing).rmdir()
    with pytest.raises(SegError, match=f"{missing}: no such folder"):
        read(tmp_path, None)


def test_an_empty_images_folder_is_refused_by_name(tmp_path):
    lay(tmp_path, ["a.txt"])
    with pytest.raises(SegError, match=r"images: no \.png.*dataset\.root"):
        read(tmp_path, None)


def test_an_image_without_mask_is_named(tmp_path):
    lay(tmp_path, ["a.png", "b.png", "c.png"], ["a.png"])
    with pytest.raises(SegError, match=r"images/b\.png: has no mask .*masks \(2 such\)"):
        read(tmp_path, None)


def test_a_mask_without_image_is_named(tmp_path):
    lay(tmp_path, ["a.png"], ["a.png", "b.png"])
    with pytest.raises(SegError, match=r"masks/b\.png: has no image .*images \(1 such\)"):
        read(tmp_path, None)


@pytest.mark.parametrize("twice", ["images", "masks"])
def test_two_files_of_one_name_are_refused(tmp_path, twice):
    lay(tmp_path, ["a.png"])
    (tmp_path / twice / "a.jpg").touch()
    with pytest.raises(SegError, match=rf"{twice}/a\.png: shares its name with a\.jpg"):
        read(tmp_path, None)


@pytest.mark.parametrize(
    ("choice", "name", "patient"),
    [
        ("spleen", "10003_spleen_26", "26"),
        ("pancreas_t1", "10055_12", "10055"),
        ("ms_flair", "105006", "5"),
        ("lgg", "TCGA_CS_4942_19970222_14", "TCGA_CS_4942"),
    ],
)
def test_a_shipped_pattern_finds_the_patient(tmp_path, choice, name, patient):
    lay(tmp_path, [f"{name}.png"])
    (case,) = read(tmp_path, configured(choice))
    assert (case.patient, case.identified) == (patient, True)


@pytest.mark.parametrize(
    ("choice", "stems"),
    [
        ("spleen", ["10003_spleen_26", "10044_spleen_26"]),
        ("pancreas_t1", ["10055_9", "10055_12"]),
        ("ms_flair", ["105006", "105017"]),
        ("lgg", ["TCGA_CS_4942_19970222_2", "TCGA_CS_4942_19970222_14"]),
    ],
)
def test_a_shipped_pattern_gathers_the_slices_of_a_patient(tmp_path, choice, stems):
    lay(tmp_path, [f"{stem}.png" for stem in stems])
    (case,) = read(tmp_path, configured(choice))
    assert [s.id for s in case.slices] == stems


@pytest.mark.parametrize(
    ("choice", "stems"),
    [
        ("spleen", ["10003_spleen_26", "10003_spleen_29"]),
        ("pancreas_t1", ["10055_12", "10056_12"]),
        ("ms_flair", ["105006", "106006"]),
        ("lgg", ["TCGA_CS_4942_19970222_14", "TCGA_DU_4942_19970222_14"]),
    ],
)
def test_a_shipped_pattern_tells_patients_apart(tmp_path, choice, stems):
    lay(tmp_path, [f"{stem}.png" for stem in stems])
    assert len(read(tmp_path, configured(choice))) == 2


def test_a_known_patient_gives_no_warning(tmp_path, caplog):
    lay(tmp_path, ["p1_0.png"])
    read(tmp_path, PATTERN)
    assert not caplog.records


def test_without_a_pattern_each_slice_is_a_patient_and_the_log_warns(tmp_path, caplog):
    lay(tmp_path, ["b.png", "a.png"])
    cases = read(tmp_path, configured("breastdm"))
    assert names(cases) == [(None, "a", ["a"]), (None, "b", ["b"])]
    assert not any(case.identified for case in cases)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "2 of 2 slices name no patient" in record.getMessage()


def test_slices_that_miss_the_pattern_are_counted_in_the_log(tmp_path, caplog):
    lay(tmp_path, ["p1_0.png", "p1_1.png", "odd.png"])
    cases = read(tmp_path, PATTERN)
    assert [(c.patient, c.identified) for c in cases] == [("odd", False), ("p1", True)]
    assert "1 of 3 slices name no patient" in caplog.text


def test_a_slice_named_exactly_as_a_patient_belongs_to_that_patient(tmp_path):
    lay(tmp_path, ["p1.png", "p1_0.png", "p2_0.png"])
    assert names(read(tmp_path, PATTERN)) == [
        (None, "p1", ["p1", "p1_0"]),
        (None, "p2", ["p2_0"]),
    ]
