"""Facts about `seg.data.pairs`: names of empty files in, cases and problems out."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seg.contracts import SegError
from seg.data import pairs

VOLUMES = (r"^img/(?P<patient>[^/]+?)\.nii(\.gz)?$", r"^lab/(?P<patient>[^/]+?)\.nii(\.gz)?$")
ANYWHERE = tuple(pattern[1:] for pattern in VOLUMES)
NNUNET = (
    r"imagesTr/(?P<patient>[^/]+?)(_(?P<channel>\d{4}))?\.nii(\.gz)?$",
    r"labelsTr/(?P<patient>[^/]+?)\.nii(\.gz)?$",
)
SLICES = (
    r"^(?P<patient>\w+)/(?P<slice>\d+)\.png$",
    r"^(?P<patient>\w+)/(?P<slice>\d+)_mask\.png$",
)


def pair(root, image_pattern, label_pattern):
    part = "slice" if "(?P<slice>" in image_pattern else "channel"
    return pairs.pair(root, image_pattern, label_pattern, part)


@pytest.fixture
def tree(tmp_path):
    """Make empty files: names -> root."""

    def make(*names):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return tmp_path

    return make


def names(cases):
    return [case.name for case in cases]


def relative(root, files):
    return [file.relative_to(root).as_posix() for file in files]


def both(*patients):
    return [f"{kind}/{patient}.nii.gz" for patient in patients for kind in ("img", "lab")]


def test_an_image_and_its_label_make_a_case(tree):
    root = tree(*both("a"))
    (case,), problems = pair(root, *VOLUMES)
    assert problems == {}
    assert (case.patient, case.volume, case.side, case.name) == ("a", "", None, "a")
    assert case.images == (root / "img/a.nii.gz",)
    assert case.labels == (root / "lab/a.nii.gz",)


def test_cases_are_in_natural_order(tree):
    root = tree(*both("p10", "p9", "p1", "p100", "q2", "p2"))
    cases, _ = pair(root, *VOLUMES)
    assert names(cases) == ["p1", "p2", "p9", "p10", "p100", "q2"]


def test_what_lacks_its_counterpart_is_a_problem_and_the_rest_goes_on(tree):
    root = tree(*both("a", "b"), "img/c.nii.gz", "lab/d.nii")
    cases, problems = pair(root, *VOLUMES)
    assert names(cases) == ["a", "b"]
    assert problems == {
        "c": f"{root}/img/c.nii.gz: has no label",
        "d": f"{root}/lab/d.nii: has no image",
    }


@pytest.mark.parametrize("kind", ["img", "lab"])
def test_two_files_for_one_case_are_a_problem(kind, tree):
    root = tree(*both("a", "b"), f"{kind}/a.nii")
    cases, problems = pair(root, *VOLUMES)
    assert names(cases) == ["b"]
    assert list(problems) == ["a"]
    assert f"{root}/{kind}/a.nii" in problems["a"]
    assert "a.nii.gz" in problems["a"]
    assert "keep one" in problems["a"]


def test_droppings_of_macos_and_hidden_files_are_passed_over(tree):
    root = tree(
        *both("a"),
        "img/._a.nii",
        "img/._a.nii.gz",
        "lab/.DS_Store",
        "__MACOSX/img/a.nii.gz",
        "__MACOSX/img/._a.nii.gz",
        ".git/img/b.nii.gz",
    )
    cases, problems = pair(root, *ANYWHERE)
    assert names(cases) == ["a"]
    assert problems == {}
    assert cases[0].images == (root / "img/a.nii.gz",)


def test_a_root_below_a_hidden_folder_is_read(tree):
    """Archives are unpacked into .unpacked-ID."""
    root = tree(*[f".unpacked-1/{name}" for name in both("a")]) / ".unpacked-1"
    assert names(pair(root, *VOLUMES)[0]) == ["a"]


def test_a_prepared_folder_inside_the_source_is_no_source(tree):
    ours = [f"prepared-12345678/{name}" for name in ("manifest.csv", "dataset.json")]
    root = tree(*both("a"), *(f"prepared-12345678/{name}" for name in both("a", "b")), *ours)
    cases, problems = pair(root, *ANYWHERE)
    assert names(cases) == ["a"]
    assert problems == {}


def test_a_publishers_dataset_json_or_manifest_alone_hides_no_folder(tree):
    for name in ("dataset.json", "manifest.csv"):
        root = tree(f"{name[0]}/{name}", *(f"{name[0]}/{file}" for file in both(f"a{name[0]}")))
    cases, _ = pair(root, *ANYWHERE)
    assert names(cases) == ["ad", "am"]


def test_a_case_behind_a_link_to_a_folder_is_not_lost(tree, tmp_path):
    root = tree(*(f"raw/{name}/{kind}.nii" for name in "ab" for kind in ("i", "l"))) / "raw"
    (root / "b").rename(tmp_path / "elsewhere")
    (root / "b").symlink_to(tmp_path / "elsewhere")
    cases, problems = pair(root, r"(?P<patient>\w+)/i\.nii", r"(?P<patient>\w+)/l\.nii")
    assert {*names(cases), *problems} == {"a", "b"}


def test_a_link_that_leads_back_to_the_root_ends(tree):
    root = tree(*both("a"))
    (root / "img/again").symlink_to(root)
    assert names(pair(root, *VOLUMES)[0]) == ["a"]


def test_nnunet_names_pair_with_and_without_a_channel(tree):
    root = tree(
        "t1/imagesTr/AHN_0000_0000.nii.gz",
        "t1/imagesTr/AHN_0001_0000.nii.gz",
        "t1/imagesTr/AHN_0002.nii.gz",
        "t1/imagesTr/AHN_0010.nii",
        *(f"t1/labelsTr/AHN_{n}.nii.gz" for n in ("0000", "0001", "0002", "0010")),
    )
    cases, problems = pair(root, *NNUNET)
    assert problems == {}
    assert names(cases) == ["AHN_0000", "AHN_0001", "AHN_0002", "AHN_0010"]
    assert relative(root / "t1/imagesTr", [image for case in cases for image in case.images]) == [
        "AHN_0000_0000.nii.gz",
        "AHN_0001_0000.nii.gz",
        "AHN_0002.nii.gz",
        "AHN_0010.nii",
    ]


def test_a_channel_belongs_to_the_patient_whose_label_is_there(tree):
    """p_0001 is channel 1 of p, which has a label, and not the patient p_0001, who has one too."""
    root = tree(
        *(f"imagesTr/{name}_{c}.nii.gz" for name in ("p", "p_0001") for c in ("0000", "0001")),
        *(f"labelsTr/{name}.nii.gz" for name in ("p", "p_0001")),
    )
    cases, problems = pair(root, *NNUNET)
    assert problems == {}
    assert {case.name: relative(root / "imagesTr", case.images) for case in cases} == {
        "p": ["p_0000.nii.gz", "p_0001.nii.gz"],
        "p_0001": ["p_0001_0000.nii.gz", "p_0001_0001.nii.gz"],
    }


def test_the_channels_of_a_case_without_label_are_one_problem(tree):
    channels = [f"imagesTr/{p}_{c}.nii.gz" for p in "ab" for c in ("0000", "0001")]
    cases, problems = pair(tree(*channels, "labelsTr/a.nii.gz"), *NNUNET)
    assert names(cases) == ["a"]
    assert list(problems) == ["b"]


def test_channels_are_in_order_and_the_label_has_none(tree):
    channels = ("0010", "0002", "0000")
    root = tree(*(f"imagesTr/p_1_{c}.nii.gz" for c in channels), "labelsTr/p_1.nii.gz")
    (case,), problems = pair(root, *NNUNET)
    assert problems == {}
    assert relative(root / "imagesTr", case.images) == [f"p_1_{c}.nii.gz" for c in sorted(channels)]
    assert len(case.labels) == 1


def test_channels_named_by_words_or_bare_numbers_are_in_natural_order(tree):
    patterns = (r"(?P<patient>\d+)/(?P<channel>t\d+)\.nii", r"(?P<patient>\d+)/lesion\.nii")
    root = tree("1/t10.nii", "1/t2.nii", "1/t1.nii", "1/lesion.nii")
    (case,), _ = pair(root, *patterns)
    assert relative(root, case.images) == ["1/t1.nii", "1/t2.nii", "1/t10.nii"]


def test_a_case_with_fewer_channels_than_the_others_is_a_problem(tree):
    complete = [f"imagesTr/{p}_{c}.nii.gz" for p in "abd" for c in ("0000", "0001")]
    labels = [f"labelsTr/{p}.nii.gz" for p in "abcde"]
    more = [f"imagesTr/e_{c}.nii.gz" for c in ("0000", "0001", "0002")]
    root = tree(*complete, "imagesTr/c_0000.nii.gz", *more, *labels)
    cases, problems = pair(root, *NNUNET)
    assert names(cases) == ["a", "b", "d"]
    assert problems == {
        "c": f"{root}/imagesTr/c_0000.nii.gz: has the channels 0000, other cases have 0000, 0001",
        "e": f"{root}/imagesTr/e_0000.nii.gz: has the channels 0000, 0001, 0002, "
        "other cases have 0000, 0001",
    }


def test_a_case_of_other_channels_than_the_others_is_a_problem(tree):
    """Two each, but the second channel of c is what is the third elsewhere."""
    files = [f"imagesTr/{p}_{c}.nii.gz" for p in "abc" for c in ("0000", "0001")]
    files.remove("imagesTr/c_0001.nii.gz")
    labels = [f"labelsTr/{p}.nii.gz" for p in "abc"]
    root = tree(*files, "imagesTr/c_0002.nii.gz", *labels)
    cases, problems = pair(root, *NNUNET)
    assert names(cases) == ["a", "b"]
    assert list(problems) == ["c"]


def test_slices_are_in_natural_order_each_with_its_label(tree):
    numbers = (1, 10, 2, 11, 9)
    root = tree(*(f"p/{k}{suffix}.png" for k in numbers for suffix in ("", "_mask")))
    (case,), problems = pair(root, *SLICES)
    assert problems == {}
    assert relative(root / "p", case.images) == [f"{k}.png" for k in sorted(numbers)]
    assert relative(root / "p", case.labels) == [f"{k}_mask.png" for k in sorted(numbers)]


@pytest.mark.parametrize(
    ("gone", "left", "other"), [("2_mask.png", "2.png", "label"), ("2.png", "2_mask.png", "image")]
)
def test_a_slice_without_counterpart_is_named(gone, left, other, tree):
    files = [f"{p}/{k}{suffix}.png" for p in "pq" for k in (1, 2) for suffix in ("", "_mask")]
    root = tree(*files)
    (root / "p" / gone).unlink()
    cases, problems = pair(root, *SLICES)
    assert names(cases) == ["q"]
    assert problems == {"p": f"{root}/p/{left}: has no {other}"}


def test_cases_may_differ_in_their_number_of_slices(tree):
    counts = {"a": 1, "b": 3, "c": 3}
    files = [f"{p}/{k}{s}.png" for p, n in counts.items() for k in range(n) for s in ("", "_mask")]
    cases, problems = pair(tree(*files), *SLICES)
    assert problems == {}
    assert {case.name: len(case.images) for case in cases} == counts


def test_volumes_of_one_patient_are_cases_of_their_own(tree):
    patterns = (
        r"(?P<patient>\d+)/(?P<volume>\w+)/image\.nii",
        r"(?P<patient>\d+)/(?P<volume>\w+)/label\.nii",
    )
    root = tree(*(f"7/{v}/{k}.nii" for v in ("week10", "week2") for k in ("image", "label")))
    cases, problems = pair(root, *patterns)
    assert problems == {}
    assert [(case.patient, case.volume, case.name) for case in cases] == [
        ("7", "week2", "7_week2"),
        ("7", "week10", "7_week10"),
    ]


SIDED = (
    r"^(?P<side>[^/]+)/img/(?P<patient>\w+)\.nii",
    r"^(?P<side>[^/]+)/lab/(?P<patient>\w+)\.nii",
)


@pytest.mark.parametrize(
    ("folder", "side"),
    [
        ("train", "train"),
        ("val", "valid"),
        ("valid", "valid"),
        ("validation", "valid"),
        ("test", "test"),
    ],
)
def test_the_publishers_side_has_one_of_three_names(folder, side, tree):
    (case,), _ = pair(tree(f"{folder}/img/a.nii", f"{folder}/lab/a.nii"), *SIDED)
    assert case.side == side


def test_a_side_of_another_name_is_not_taken_for_none(tree):
    """Without a side the cases would be split anew, the publisher's test cases trained on."""
    root = tree(*(f"holdout/{kind}/a.nii" for kind in ("img", "lab")))
    with pytest.raises(SegError) as caught:
        _, problems = pair(root, *SIDED)
        raise SegError("; ".join(problems.values()))
    assert "holdout" in str(caught.value)


def test_a_label_on_another_side_is_not_the_images(tree):
    root = tree("train/img/a.nii", "test/lab/a.nii", "train/img/b.nii", "train/lab/b.nii")
    cases, problems = pair(root, *SIDED)
    assert names(cases) == ["b"]
    assert sorted(problems) == ["a_test", "a_train"]


def test_a_patient_on_two_sides_is_two_cases_of_one_patient(tree):
    """The split says that it is a leak; under one name its slices would overwrite each other."""
    twice = [f"{s}/{k}/a.nii" for s in ("train", "test") for k in ("img", "lab")]
    cases, problems = pair(tree(*twice, "test/img/b.nii", "test/lab/b.nii"), *SIDED)
    assert [(case.name, case.patient, case.side) for case in cases] == [
        ("a_test", "a", "test"),
        ("a_train", "a", "train"),
        ("b", "b", "test"),
    ]
    assert problems == {}


def test_a_tree_that_an_archive_holds_twice_is_read_once(tree):
    """Kaggle's LGG archive has kaggle_3m/ and lgg-mri-segmentation/kaggle_3m/."""
    root = tree(*both("a", "b"), *(f"again/{name}" for name in both("a", "b")))
    patterns = [f"(^|/){pattern.removeprefix('^')}" for pattern in VOLUMES]
    cases, problems = pair(root, *patterns)
    assert names(cases) == ["a", "b"]
    assert problems == {}
    (root / "again/img/a.nii.gz").write_bytes(b"other")
    cases, problems = pair(root, *patterns)
    assert names(cases) == ["b"]
    assert str(root / "img/a.nii.gz") in problems["a"]
    assert str(root / "again/img/a.nii.gz") in problems["a"]


def test_an_alias_of_a_patients_folder_hides_nobody(tree):
    root = tree("Patient-1/image.nii", "Patient-1/label.nii")
    for alias in ("Aexample", "latest"):
        (root / alias).symlink_to("Patient-1")
    patterns = [rf"Patient-(?P<patient>\d+)/{kind}\.nii$" for kind in ("image", "label")]
    cases, problems = pair(root, *patterns)
    assert names(cases) == ["1"]
    assert problems == {}


def test_a_file_is_an_image_or_a_label(tree):
    with pytest.raises(SegError, match="a file is one or the other"):
        pair(tree(*both("a")), VOLUMES[1], VOLUMES[1])


def test_sides_are_for_all_cases_or_for_none(tree):
    patterns = [rf"((?P<side>train|test)/)?{k}/(?P<patient>\w+)\.nii" for k in ("img", "lab")]
    with pytest.raises(SegError, match="has no side"):
        pair(tree("train/img/a.nii", "train/lab/a.nii", "img/b.nii", "lab/b.nii"), *patterns)


def test_a_format_has_groups_of_its_own(tree):
    by_slice = [pattern.replace("(?P<patient>", "(?P<slice>x)?(?P<patient>") for pattern in VOLUMES]
    with pytest.raises(SegError, match="of the others only channel, side, volume"):
        pairs.pair(tree(*both("a")), *by_slice, "channel")


def test_patient_and_volume_that_spell_another_patient_are_found_out(tree):
    """Patient 1_2, and volume 2 of patient 1, would share the file names 1_2_000.png."""
    patterns = (
        r"^(?P<patient>\w+?)(-(?P<volume>\d))?-image\.nii",
        r"^(?P<patient>\w+?)(-(?P<volume>\d))?-label\.nii",
    )
    files = [f"{name}-{kind}.nii" for name in ("1_2", "1-2", "3") for kind in ("image", "label")]
    cases, problems = pair(tree(*files), *patterns)
    assert names(cases) == ["3"]
    assert list(problems) == ["1_2"]


def test_names_are_made_safe_for_file_names(tree):
    root = tree(*both("Müller, Anna (2)*", "a b"))
    cases, problems = pair(root, *VOLUMES)
    assert problems == {}
    assert names(cases) == ["Müller%2C%20Anna%20%282%29%2A", "a%20b"]
    assert relative(root, cases[1].images) == ["img/a b.nii.gz"]
    slashes = (r"^img/(?P<patient>.+)\.nii", r"^lab/(?P<patient>.+)\.nii")
    (deep,), _ = pair(tree("x/img/c/d.nii", "x/lab/c/d.nii") / "x", *slashes)
    assert deep.name == "c%2Fd"


def test_two_patients_whose_safe_names_agree_are_not_merged(tree):
    """Two people in one case would be on one side of no split, and one of them misnamed."""
    patterns = (
        r"^(?P<patient>[^/]+)/(?P<slice>\d+)\.png$",
        r"^(?P<patient>[^/]+)/(?P<slice>\d+)_mask\.png$",
    )
    people = {"a b": (1, 2), "a+b": (3, 4), "c": (1, 2)}
    root = tree(*(f"{p}/{k}{s}.png" for p, ks in people.items() for k in ks for s in ("", "_mask")))
    cases, problems = pair(root, *patterns)
    for case in cases:
        assert len({image.parent for image in case.images}) == 1
    assert problems or len(cases) == 3


@pytest.mark.parametrize("pattern", ["(", r"(?P<patient>\w+", "[", "*.nii"])
def test_a_pattern_that_is_none_is_refused_with_its_key(pattern, tree):
    root = tree(*both("a"))
    for key, patterns in (("image", (pattern, VOLUMES[1])), ("label", (VOLUMES[0], pattern))):
        with pytest.raises(SegError, match=rf"^dataset\.raw\.{key}_pattern: ") as caught:
            pair(root, *patterns)
        assert str(caught.value).endswith(f"Received: {pattern}")


@pytest.mark.parametrize(
    "pattern",
    [r"(?P<patient>\w+)_(?P<visit>\d)\.nii", r"(\w+)\.nii", r"(?P<Patient>\w+)\.nii"],
)
def test_a_group_that_is_unknown_or_missing_is_refused_with_those_there_are(pattern, tree):
    root = tree(*both("a"))
    for key, patterns in (("image", (pattern, VOLUMES[1])), ("label", (VOLUMES[0], pattern))):
        with pytest.raises(SegError) as caught:
            pair(root, *patterns)
        message = str(caught.value)
        assert message.startswith(f"dataset.raw.{key}_pattern: ")
        assert "of the others only channel, side, volume" in message
        assert message.endswith(f"Received: {pattern}")


def test_an_image_pattern_that_nothing_matches_is_shown_what_there_is(tree):
    root = tree("deep/down/scan-7.mha", "lab/a.nii.gz")
    with pytest.raises(SegError) as caught:
        pair(root, *VOLUMES)
    message = str(caught.value)
    assert "none of the 2 files" in message
    assert "deep/down/scan-7.mha" in message
    assert VOLUMES[0] in message


def test_an_empty_folder_is_said_to_hold_nothing(tree):
    with pytest.raises(SegError, match="for instance, nothing"):
        pair(tree(), *VOLUMES)


def test_digits_that_are_no_numbers_do_not_stop_the_sorting(tree):
    """Python's str.isdigit holds for a superscript, which int refuses."""
    patterns = [rf"^(?P<patient>\w+)/(?P<slice>.+)\.{ending}$" for ending in ("png", "tif")]
    root = tree(*(f"p/{k}.{e}" for k in ("1", "1²", "²") for e in ("png", "tif")))
    (case,), problems = pair(root, *patterns)
    assert problems == {}
    assert len(case.images) == 3


ORDER = """
import sys
from pathlib import Path
from seg.data.pairs import pair
print([case.name for case in pair(Path(sys.argv[1]), sys.argv[2], sys.argv[3], "channel")[0]])
"""


def test_the_order_is_the_same_in_every_process(tree):
    """1 and 01 are equal numbers; Python's sets are shuffled in each process."""
    root = tree(*both("1", "01", "001", "0001", "00001"))
    said = {
        subprocess.run(
            [sys.executable, "-c", ORDER, root, *VOLUMES],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(said) == 1, said


@given(st.permutations(both("1", "2", "10", "a b", "ä")))
@settings(derandomize=True, deadline=None, max_examples=10)
def test_the_order_of_creation_does_not_matter(files):
    with tempfile.TemporaryDirectory() as root:
        for name in files:
            path = Path(root, name)
            path.parent.mkdir(exist_ok=True)
            path.touch()
        assert names(pair(Path(root), *VOLUMES)[0]) == ["1", "2", "10", "a%20b", "ä"]
