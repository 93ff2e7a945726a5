"""Facts about `seg.data.prepared`, and about `seg.data.prepare` where its input is bad."""

import json
import logging
import os
import subprocess
from pathlib import Path

import cv2
import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from seg.contracts import Classes, SegError
from seg.data import prepared
from seg.data.intensity import AsStored, Percentiles
from seg.data.nifti import NiftiPairs
from seg.data.pictures import PicturePairs
from seg.data.prepare import prepare
from seg.data.recipe import Recipe

READER = NiftiPairs(
    r"^(?P<patient>[^/]+)/((?P<volume>[^/]+)/)?image(?P<channel>\d)?\.nii$",
    r"^(?P<patient>[^/]+)/((?P<volume>[^/]+)/)?label\.nii$",
    "axial",
    None,
    0.1,
)
RECIPE = Recipe(Percentiles(0, 100), [0, 1], [1], True, 8)
SAID = {"raw": {"plane": "axial"}, "prepare": {"bits": 8, "intensity": {"low_percent": 0}}}
HINT = "; or leave such cases out with dataset.on_bad=skip"


def write(path, voxels, affine=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(voxels, np.diag([1, 1, 4, 1.0]) if affine is None else affine), path)


def case(root, name, slices=3):
    """Write image and label of 6 x 5 pixels; the first slice has 4 pixels of target."""
    rng = np.random.default_rng(len(name))
    label = np.zeros((5, 6, slices), np.uint8)
    label[1:3, 2:4, 0] = 1
    write(root / name / "image.nii", rng.integers(1, 200, label.shape).astype(np.int16))
    write(root / name / "label.nii", label)


@pytest.fixture
def raw(tmp_path):
    """Make a raw tree of these cases: names -> folder."""

    def tree(*names):
        for name in names:
            case(tmp_path / "raw", name)
        return tmp_path / "raw"

    return tree


@pytest.fixture
def root(tmp_path):
    return tmp_path / "data"


@pytest.fixture
def ready(raw, root):
    """Prepare cases: names -> prepared folder."""
    return lambda *names: do(raw(*names), root)


def do(source, root, on_bad="error", said=SAID, reader=READER, recipe=RECIPE):
    return prepare(source, root, reader, recipe, {"name": "t", "recipe": said}, on_bad)


def description(home):
    return json.loads((home / "dataset.json").read_text())


def refusal(use):
    """Return the one-line message of a refusal."""
    with pytest.raises(SegError) as caught:
        use()
    message = str(caught.value)
    assert "\n" not in message
    return message


# Bad input


def truncate(folder):
    file = folder / "image.nii"
    file.write_bytes(file.read_bytes()[:400])
    return file


def shrink_label(folder):
    write(folder / "label.nii", np.zeros((5, 6, 2), np.uint8))
    return folder / "label.nii"


def shift_label(folder):
    affine = np.diag([1, 1, 4, 1.0])
    affine[0, 3] = 1
    write(folder / "label.nii", np.zeros((5, 6, 3), np.uint8), affine)
    return folder / "label.nii"


def mislabel(folder):
    """Put an unknown value into the last slice."""
    label = np.zeros((5, 6, 3), np.uint8)
    label[0, 0, 2] = 7
    write(folder / "label.nii", label)
    return folder / "label.nii"


def blank(folder):
    write(folder / "image.nii", np.full((5, 6, 3), 9, np.int16))
    return folder / "image.nii"


def spoil(folder):
    voxels = np.ones((5, 6, 3), np.float32)
    voxels[0] = np.nan
    write(folder / "image.nii", voxels)
    return folder / "image.nii"


def drop_label(folder):
    (folder / "label.nii").unlink()
    return folder / "image.nii"


def drop_image(folder):
    (folder / "image.nii").unlink()
    return folder / "label.nii"


def unlink_to_nothing(folder):
    """Leave what DataLad leaves of a file that was not fetched."""
    (folder / "image.nii").unlink()
    (folder / "image.nii").symlink_to(folder / "annex")
    return folder / "image.nii"


BAD = [
    truncate,
    shrink_label,
    shift_label,
    mislabel,
    blank,
    spoil,
    drop_label,
    drop_image,
    unlink_to_nothing,
]


@pytest.mark.parametrize("damage", BAD, ids=lambda damage: damage.__name__)
def test_a_bad_case_stops_the_preparation_with_a_hint(damage, raw, root):
    source = raw("a", "b", "c")
    file = damage(source / "b")
    message = refusal(lambda: do(source, root))
    assert message.startswith(f"{file}: ")
    assert message.endswith(HINT)
    assert not list(root.glob("prepared-*"))


@pytest.mark.parametrize("damage", BAD, ids=lambda damage: damage.__name__)
def test_a_bad_case_is_left_out_with_its_reason_and_all_of_its_files(damage, raw, root, caplog):
    source = raw("a", "b", "c")
    file = damage(source / "b")
    with caplog.at_level(logging.WARNING):
        home = do(source, root, "skip")
    assert f"left out: {file}: " in caplog.text
    table = pd.read_csv(home / "manifest.csv")
    assert table.case.unique().tolist() == ["a", "c"]
    made = description(home)
    assert list(made["left_out"]) == ["b"]
    assert made["left_out"]["b"].startswith(f"{file.relative_to(source)}: ")
    assert made["counts"] == {
        "cases": 2,
        "patients": 2,
        "slices": 6,
        "slices_with_target": 2,
    }
    assert [found.name for found in prepared.read(home, "skip")] == ["a", "c"]
    for kind in ("image", "mask"):
        files = {f"{kind}s/{path.name}" for path in (home / f"{kind}s").iterdir()}
        assert files == set(table[kind])


def test_what_was_left_out_is_refused_by_who_asked_for_all(raw, root):
    source = raw("a", "b", "c", "d")
    mislabel(source / "b")
    drop_label(source / "c")
    home = do(source, root, "skip")
    message = refusal(lambda: prepared.read(home, "error"))
    assert message.startswith(f"{home}: 2 cases were left out")
    assert "b" in message.split("(")[1]
    assert "c" in message.split("(")[1]
    assert "dataset.on_bad=skip" in message
    assert do(source, root, "error") == home
    refusal(lambda: prepared.read(home))


def test_a_warning_names_what_a_read_goes_on_without(raw, root, caplog):
    source = raw("a", "b")
    mislabel(source / "b")
    home = do(source, root, "skip")
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        prepared.read(home, "skip")
    assert f"1 cases were left out of {home}: b" in caplog.text


@pytest.mark.parametrize("damage", [mislabel, drop_label, truncate], ids=lambda d: d.__name__)
def test_a_source_without_a_usable_case_is_an_error_even_when_skipping(damage, raw, root):
    source = raw("a", "b")
    for name in "ab":
        damage(source / name)
    for _ in range(2):
        message = refusal(lambda: do(source, root, "skip"))
        assert message == f"dataset.source: no case under {source} can be used"
    assert not list(root.glob("prepared-*"))


def test_all_cases_bad_in_different_ways_is_an_error_too(raw, root):
    source = raw("a", "b", "c")
    mislabel(source / "a")
    drop_label(source / "b")
    truncate(source / "c")
    assert "no case under" in refusal(lambda: do(source, root, "skip"))


def test_a_repaired_source_is_prepared_anew_and_whole(raw, root):
    source = raw("a", "b")
    drop_label(source / "b")
    first = do(source, root, "skip")
    case(source, "b")
    second = do(source, root)
    assert second != first
    assert [found.name for found in prepared.read(second)] == ["a", "b"]


def test_a_file_of_another_size_is_another_source_though_its_time_is_the_same(raw, root):
    source = raw("a")
    file = source / "a/image.nii"
    first, then = do(source, root), file.stat()
    file.write_bytes(file.read_bytes() + b"\0")
    os.utime(file, ns=(then.st_atime_ns, then.st_mtime_ns))
    assert do(source, root) != first


def test_a_file_name_in_another_encoding_stops_no_preparation(raw, root):
    """Archives made on old systems hold names in Latin-1, which are no UTF-8."""
    source = raw("a", "b")
    os.rename(source / "b", os.fsencode(source) + b"/M\xfcller")
    try:
        home = do(source, root)
    except SegError:
        home = do(source, root, "skip")
    assert "a" in [found.name for found in prepared.read(home, "skip")]


def test_a_preparation_stopped_by_a_bad_case_goes_on_when_that_is_skipped(raw, root):
    source = raw("a", "b", "c")
    mislabel(source / "b")
    refusal(lambda: do(source, root))
    home = do(source, root, "skip")
    assert [found.name for found in prepared.read(home, "skip")] == ["a", "c"]
    assert not list(root.glob(".preparing-*"))


@pytest.mark.parametrize("channels", [2, 4, 5])
def test_channels_that_a_png_cannot_hold_are_refused_in_words(channels, raw, root):
    """PNG has grey and colour; the fourth channel of 4 would be read as transparency."""
    source = raw("a")
    first = source / "a/image.nii"
    for k in range(channels):
        (source / f"a/image{k}.nii").write_bytes(first.read_bytes())
    first.unlink()
    assert "channel" in refusal(lambda: do(source, root)).replace(str(source), "")


def test_three_channels_become_red_green_blue(raw, root):
    source = raw("a")
    (source / "a/image.nii").unlink()
    for k in range(3):
        voxels = np.zeros((5, 6, 3), np.int16)
        voxels[k] = 100
        voxels[4] = 1
        write(source / f"a/image{k}.nii", voxels)
    home = do(source, root)
    rgb = cv2.imread(str(home / "images/a_000.png"))[..., ::-1]
    assert rgb.shape == (6, 5, 3)
    for k in range(3):  # the x axis runs to the right, the picture's columns to the left
        assert (rgb[:, 4 - k] == [255 * (c == k) for c in range(3)]).all()


def test_an_unknown_label_of_a_picture_is_named_by_its_own_file(tmp_path, root):
    reader = pictures(tmp_path / "raw")
    file = tmp_path / "raw/val/NA/label2.png"
    cv2.imwrite(str(file), np.full((4, 5), 7, np.uint8))
    recipe = Recipe(AsStored(), [0, 255], [255], True, 8)
    message = refusal(lambda: do(tmp_path / "raw", root, reader=reader, recipe=recipe))
    assert message.startswith(f"{file}: holds the label 7, known are 0, 255;")
    assert message.endswith(HINT)


def test_a_source_that_is_not_there_or_no_archive_is_named(tmp_path, root):
    assert f"no file or folder {tmp_path}/none" in refusal(lambda: do(tmp_path / "none", root))
    (tmp_path / "notes.txt").write_text("x")
    assert "neither a folder nor an archive" in refusal(lambda: do(tmp_path / "notes.txt", root))


# Reading


@pytest.mark.parametrize("kind", ["images", "masks"])
def test_a_changed_file_is_named(kind, ready):
    home = ready("a", "b")
    file = home / kind / "b_001.png"
    pixels = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
    pixels[0, 0] ^= 1
    cv2.imwrite(str(file), pixels)
    message = refusal(lambda: prepared.read(home))
    assert message.startswith(f"{file}: has changed since it was prepared;")


@pytest.mark.parametrize("kind", ["images", "masks"])
def test_a_missing_file_is_named(kind, ready):
    home = ready("a", "b")
    file = home / kind / "a_002.png"
    file.unlink()
    assert refusal(lambda: prepared.read(home)).startswith(f"{file}: is missing;")


def test_a_changed_manifest_is_named(ready):
    home = ready("a", "b")
    text = (home / "manifest.csv").read_text()
    (home / "manifest.csv").write_text(text.replace(",b,", ",c,"))
    assert refusal(lambda: prepared.read(home)).startswith(f"{home}/manifest.csv: has changed")


@pytest.mark.parametrize("name", ["manifest.csv", "dataset.json"])
def test_a_missing_manifest_or_description_is_named(name, ready):
    home = ready("a")
    (home / name).unlink()
    assert str(home / name) in refusal(lambda: prepared.read(home))


def test_a_manifest_without_one_row_is_refused(ready):
    home = ready("a", "b")
    lines = (home / "manifest.csv").read_text().splitlines(keepends=True)
    (home / "manifest.csv").write_text("".join(lines[:-1]))
    assert "manifest.csv: has changed" in refusal(lambda: prepared.read(home))


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"recipe": {}}', "null", "\xff"])
@pytest.mark.parametrize("use", ["read", "find"])
def test_an_edited_description_is_named(text, use, ready):
    home = ready("a")
    (home / "dataset.json").write_text(text, encoding="latin-1")
    message = refusal(
        lambda: prepared.read(home) if use == "read" else prepared.find(home.parent, SAID)
    )
    assert str(home) in message


def test_patients_keep_their_names_whatever_they_look_like(ready):
    names = ["07", "7", "NA", "None", "1e5", "True", "nan", "null", "-1", "1.50"]
    cases = prepared.read(ready(*names))
    assert {found.patient for found in cases} == set(names)
    for found in cases:
        assert found.name == found.patient
        assert [slice_.id for slice_ in found.slices] == [f"{found.name}_{k:03d}" for k in range(3)]
        assert all(path.is_file() for s in found.slices for path in (s.image, s.mask))
        assert found.spacing_mm == pytest.approx((4, 1, 1))
        assert found.volume == ""
        assert found.side is None
        assert found.identified


def test_volumes_of_a_patient_keep_their_names_too(ready):
    cases = prepared.read(ready("07/NA", "07/2", "07/10", "NA/1"))
    assert [(found.patient, found.volume, found.name) for found in cases] == [
        ("07", "2", "07_2"),
        ("07", "10", "07_10"),
        ("07", "NA", "07_NA"),
        ("NA", "1", "NA_1"),
    ]


def test_the_slices_of_a_long_case_stay_in_order(tmp_path, root):
    case(tmp_path / "raw", "a", slices=1002)
    (found,) = prepared.read(do(tmp_path / "raw", root))
    assert [slice_.id for slice_ in found.slices] == [f"a_{k:03d}" for k in range(1002)]


def test_spacing_is_of_each_case_and_after_preparation(tmp_path, root):
    for name, spacing in (("a", (1, 2, 5)), ("b", (0.75, 0.75, 3))):
        for kind, value in (("image", 3), ("label", 1)):
            voxels = np.full((4, 6, 2), value, np.int16)
            voxels[0] //= 2
            write(tmp_path / "raw" / name / f"{kind}.nii", voxels, np.diag([*spacing, 1.0]))
    first, second = prepared.read(do(tmp_path / "raw", root))
    assert first.spacing_mm == pytest.approx((5, 1, 1))
    assert second.spacing_mm == pytest.approx((3, 0.75, 0.75))
    assert cv2.imread(str(first.slices[0].image), -1).shape == (12, 4)
    assert cv2.imread(str(second.slices[0].mask), -1).shape == (6, 4)


def pictures(root):
    for side, patient in (("train", "07"), ("val", "NA"), ("test", "x")):
        for k in (1, 2):
            for kind in ("image", "label"):
                path = root / side / patient / f"{kind}{k}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(path), np.full((4, 5), 255 * (k - 1), np.uint8))
    return PicturePairs(
        r"^(?P<side>\w+)/(?P<patient>\w+)/image(?P<slice>\d)\.png$",
        r"^(?P<side>\w+)/(?P<patient>\w+)/label(?P<slice>\d)\.png$",
        1,
    )


def test_pictures_have_no_spacing_and_keep_their_side(tmp_path, root):
    reader = pictures(tmp_path / "raw")
    recipe = Recipe(AsStored(), [0, 255], [255], True, 8)
    cases = prepared.read(do(tmp_path / "raw", root, reader=reader, recipe=recipe))
    assert {found.patient: (found.side, found.spacing_mm) for found in cases} == {
        "07": ("train", None),
        "NA": ("valid", None),
        "x": ("test", None),
    }
    assert {len(found.slices) for found in cases} == {2}


def test_a_manifest_names_the_source_of_each_slice(tmp_path, root):
    reader = pictures(tmp_path / "raw")
    recipe = Recipe(AsStored(), [0, 255], [255], True, 8)
    home = do(tmp_path / "raw", root, reader=reader, recipe=recipe)
    table = pd.read_csv(home / "manifest.csv", dtype=str, keep_default_na=False)
    for kind in ("image", "label"):
        assert table[f"source_{kind}"].tolist() == [
            f"{side}/{patient}/{kind}{k}.png"
            for side, patient in (("train", "07"), ("val", "NA"), ("test", "x"))
            for k in (1, 2)
        ]


def test_cases_stay_in_natural_order(ready):
    names = ["10", "9", "1", "2"]
    assert [found.name for found in prepared.read(ready(*names))] == ["1", "2", "9", "10"]


# Finding


def test_there_is_nothing_to_find_where_nothing_was_prepared(tmp_path):
    (tmp_path / "images").mkdir()
    assert prepared.find(tmp_path, SAID) is None
    assert prepared.find(tmp_path / "none", SAID) is None


@pytest.mark.parametrize("missing", ["manifest.csv", "dataset.json"])
def test_a_folder_without_manifest_or_description_is_not_prepared(missing, ready):
    home = ready("a")
    assert prepared.is_prepared(home)
    (home / missing).unlink()
    assert not prepared.is_prepared(home)
    assert prepared.find(home.parent, SAID) is None


def test_a_root_is_or_holds_the_dataset(ready):
    home = ready("a")
    assert prepared.find(home.parent, SAID) == home
    assert prepared.find(home, SAID) == home


OTHER = {"raw": {"plane": "axial"}, "prepare": {"bits": 16, "intensity": {"low_percent": 2}}}


def test_another_recipe_is_told_apart_by_the_keys_that_differ(ready):
    home = ready("a")
    message = refusal(lambda: prepared.find(home.parent, OTHER))
    assert message.startswith(f"{home} was prepared otherwise (")
    told = message.split("(")[1].split(")")[0]
    assert told == "dataset.prepare.bits=8, dataset.prepare.intensity.low_percent=0"
    assert "dataset.source=PATH" in message
    assert refusal(lambda: prepared.find(home, OTHER)) == message


@pytest.mark.parametrize(
    ("wanted", "told"),
    [
        (SAID | {"raw": {"plane": "axial", "time_point": 1}}, "dataset.raw.time_point=null"),
        (SAID | {"raw": {}}, 'dataset.raw.plane="axial"'),
        (SAID | {"raw": {"plane": None}}, 'dataset.raw.plane="axial"'),
        (SAID | {"raw": "x"}, 'dataset.raw={"plane": "axial"}'),
        (SAID | {"raw": {"plane": "axial", "time_point": None}}, "dataset.raw.time_point"),
    ],
)
def test_keys_that_only_one_recipe_has_are_told_too(wanted, told, ready):
    home = ready("a")
    assert f"otherwise ({told}" in refusal(lambda: prepared.find(home.parent, wanted))


def test_the_fitting_one_of_several_is_taken(raw, root):
    source = raw("a")
    first, second = do(source, root), do(source, root, said=OTHER)
    assert first != second
    assert prepared.find(root, SAID) == first
    assert prepared.find(root, OTHER) == second


def test_two_that_fit_are_refused_and_named(raw, root):
    first = do(raw("a"), root)
    second = do(raw("b"), root)
    message = refusal(lambda: prepared.find(root, SAID))
    assert str(first) in message
    assert str(second) in message
    assert "name one of them" in message
    assert prepared.find(second, SAID) == second


@pytest.mark.parametrize("beside", ["images", "train", "valid", "val", "test"])
def test_image_folders_beside_a_prepared_dataset_are_refused(beside, ready):
    home = ready("a")
    (home.parent / beside).mkdir()
    message = refusal(lambda: prepared.find(home.parent, SAID))
    assert str(home) in message
    assert message.split("(")[1].split(")")[0].endswith(f", {beside}")
    assert prepared.find(home, SAID) == home


def test_an_unfinished_preparation_is_not_found(raw, root):
    source = raw("a", "b")
    mislabel(source / "b")
    refusal(lambda: do(source, root))
    assert list(root.glob(".preparing-*"))
    assert prepared.find(root, SAID) is None


def test_a_source_that_holds_its_own_prepared_folder_is_prepared_once(raw):
    source = raw("a")
    home = do(source, source)
    assert do(source, source) == home
    assert [path.name for path in source.glob("prepared-*")] == [home.name]
    assert len(prepared.read(home)) == 1


def test_checksums_are_those_of_the_tool(ready, tmp_path):
    home = ready("a")
    line = pd.read_csv(home / "manifest.csv", dtype=str).iloc[1]
    for kind in ("image", "mask"):
        said = subprocess.run(
            ["sha256sum", home / line[kind]], capture_output=True, text=True, check=True
        )
        assert (
            said.stdout.split()[0]
            == line[f"{kind}_sha256"]
            == prepared.sha256(Path(home, line[kind]))
        )


# Several classes


def test_labels_that_are_not_merged_stay_in_the_masks_and_all_count_as_target(raw, root):
    source = raw("a")
    label = np.zeros((5, 6, 3), np.uint8)
    label[1:3, 2:4, 0], label[0, 0, 0], label[0, 0, 1] = 1, 3, 3
    write(source / "a" / "label.nii", label)
    kept = Recipe(Percentiles(0, 100), [0, 1, 3], None, True, 8, merge_labels=False)
    said = SAID | {"prepare": {"merge_labels": False}}
    (found,) = prepared.read(do(source, root, said=said, recipe=kept), classes=NAMED)
    stored = [cv2.imread(str(s.mask), cv2.IMREAD_UNCHANGED) for s in found.slices]
    # A slice may be turned or mirrored, its values stay as many.
    assert [np.bincount(mask.ravel(), minlength=4).tolist() for mask in stored] == [
        [25, 4, 0, 1],
        [29, 0, 0, 1],
        [30, 0, 0, 0],
    ]
    assert [slice_.target_px for slice_ in found.slices] == [5, 1, 0]


def test_a_dataset_from_before_labels_could_be_kept_apart_fits_where_they_are_merged(ready, root):
    home = ready("a")
    merged, kept = (
        SAID | {"prepare": SAID["prepare"] | {"merge_labels": m}} for m in (True, False)
    )
    assert prepared.find(root, merged) == prepared.find(root, SAID) == home
    message = refusal(lambda: prepared.find(root, kept))
    assert "was prepared otherwise (dataset.prepare.merge_labels=true): set the same" in message


NAMED = Classes(127, {"lesion": 1, "scar": 3})


def test_masks_whose_labels_were_merged_have_no_classes_to_name(ready):
    home = ready("a")
    message = refusal(lambda: prepared.read(home, classes=NAMED))
    assert message.startswith(f"{home} was prepared with dataset.prepare.merge_labels=true")
    assert "take dataset.prepare.merge_labels=false and give dataset.source=PATH" in message
    assert prepared.read(home, classes=Classes(127, {"lesion": 255})) == prepared.read(home)
