"""Facts about `seg.data.nifti`: volumes written by nibabel or patched byte by byte."""

import gzip
import itertools
import json
import math
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from seg.contracts import SegError, Source
from seg.data.nifti import PLANES, NiftiPairs

PATTERNS = (
    r"imagesTr/(?P<patient>[^/]+?)(_(?P<channel>\d{4}))?\.nii(\.gz)?$",
    r"labelsTr/(?P<patient>[^/]+?)\.nii(\.gz)?$",
)
SPACING = np.array([1.5, 2.0, 2.5])  # along the patient's x, y, z
CODES = [
    "".join(axes)
    for order in itertools.permutations(("RL", "AP", "SI"))
    for axes in itertools.product(*order)
]
RAS = np.arange(3 * 4 * 5).reshape(3, 4, 5)  # every voxel another, x to the right, y front, z up
STACKS = {  # by hand: slices, rows and columns run as seg.data.nifti.PLANES says
    "axial": RAS[::-1, ::-1, :].transpose(2, 1, 0),
    "coronal": RAS[::-1, ::-1, ::-1].transpose(1, 2, 0),
    "sagittal": RAS[::-1, ::-1, ::-1].transpose(0, 2, 1),
}
SPACINGS = {"axial": (2.5, 2, 1.5), "coronal": (2, 2.5, 1.5), "sagittal": (1.5, 2.5, 2)}


def reader(plane="axial", time_point=None, tolerance=0.1):
    return NiftiPairs(*PATTERNS, plane, time_point, tolerance)


def turned(codes):
    """RAS as a scanner with these axes stores it, and its affine; worked out without nibabel."""
    affine = np.diag([0.0, 0, 0, 1])
    affine[:3, 3] = (-20.5, 7, 300)
    world = ["RL", "AP", "SI"]
    order = [next(i for i, pair in enumerate(world) if code in pair) for code in codes]
    voxels = RAS.transpose(order)
    for axis, (code, i) in enumerate(zip(codes, order, strict=True)):
        backwards = code in "LPI"
        affine[i, axis] = -SPACING[i] if backwards else SPACING[i]
        if backwards:
            voxels = np.flip(voxels, axis)
            affine[i, 3] += SPACING[i] * (RAS.shape[i] - 1)
    return voxels, affine


VOXELS, AFFINE = turned("RAS")


@pytest.fixture
def put(tmp_path):
    """Write a case: image and label as arrays, nibabel images or bytes -> Source."""

    def write(image=VOXELS, label=VOXELS, affine=AFFINE, ending=".nii", label_affine=None):
        paths = []
        for kind, content, grid in (
            ("imagesTr", image, affine),
            ("labelsTr", label, affine if label_affine is None else label_affine),
        ):
            path = tmp_path / "t" / kind / f"p{ending}"
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, np.ndarray):
                content = nib.Nifti1Image(small(content), grid)
            if isinstance(content, bytes):
                path.write_bytes(content)
            else:
                nib.save(content, path)
            paths.append(path)
        return Source("p", "", None, (paths[0],), (paths[1],))

    return write


def small(voxels):
    """Integers as int16, which every NIfTI reader knows."""
    return voxels.astype(np.int16) if voxels.dtype == np.int64 else voxels


def stored(voxels=VOXELS, affine=AFFINE, kind=nib.Nifti1Image):
    return kind(small(voxels), affine).to_bytes()


def patched(data, *fields):
    """Overwrite fields of a header: (offset, struct format, values...)."""
    data = bytearray(data)
    for offset, form, *values in fields:
        struct.pack_into("<" + form, data, offset, *values)
    return bytes(data)


def refusal(case, path, by=None):
    """Return the message of a refused case, one line that names the file."""
    with pytest.raises(SegError) as caught:
        (by or reader()).load(case)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


# What is read


@pytest.mark.parametrize("codes", CODES)
def test_every_order_of_axes_gives_the_same_stacks(codes, put):
    voxels, affine = turned(codes)
    case = put(voxels, voxels % 7, affine)
    for plane in PLANES:
        scan = reader(plane).load(case)
        np.testing.assert_array_equal(scan.image_SHWC[..., 0], STACKS[plane])
        np.testing.assert_array_equal(scan.label_SHW, STACKS[plane] % 7)
        assert scan.spacing_mm == pytest.approx(SPACINGS[plane])


def rotation(x_deg, z_deg):
    (cx, sx), (cz, sz) = ((math.cos(a), math.sin(a)) for a in map(math.radians, (x_deg, z_deg)))
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    whole = np.eye(4)
    whole[:3, :3] = about_z @ about_x
    return whole


@pytest.mark.parametrize("codes", ["RAS", "LPS", "PIR"])
@pytest.mark.parametrize("angles", [(15, 20), (-30, 10), (0, 44)])
def test_an_oblique_volume_goes_to_the_nearest_axes_unresampled(angles, codes, put):
    voxels, affine = turned(codes)
    scan = reader().load(put(voxels, voxels, rotation(*angles) @ affine))
    np.testing.assert_array_equal(scan.image_SHWC[..., 0], STACKS["axial"])
    assert scan.spacing_mm == pytest.approx(SPACINGS["axial"])


def test_a_volume_turned_by_more_than_45_degrees_goes_to_the_axis_it_is_near(put):
    """After 60 degrees about z the x axis is nearest to front, the y axis nearest to left."""
    scan = reader().load(put(affine=rotation(0, 60) @ AFFINE))
    np.testing.assert_array_equal(scan.label_SHW, RAS[::-1, :, :].transpose(2, 0, 1))
    assert scan.spacing_mm == pytest.approx((2.5, 1.5, 2))


def test_a_qform_alone_tells_the_axes(put):
    voxels, affine = turned("PIR")
    image = nib.Nifti1Image(small(voxels), None)
    image.set_qform(affine, 1)
    scan = reader().load(put(image, image))
    np.testing.assert_array_equal(scan.label_SHW, STACKS["axial"])
    assert scan.spacing_mm == pytest.approx(SPACINGS["axial"])


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("endian", "<>")
def test_both_versions_and_byte_orders_are_read_packed_or_not(ending, kind, endian, put):
    header = kind.header_class(endianness=endian)
    header.set_data_dtype(np.dtype(np.int16).newbyteorder(endian))
    case = put(*[kind(small(VOXELS), AFFINE, header)] * 2, ending=ending)
    data = case.images[0].read_bytes()
    start = gzip.decompress(data) if ending == ".nii.gz" else data
    size = 348 if kind is nib.Nifti1Image else 540
    assert struct.unpack(f"{endian}i", start[:4]) == (size,)
    scan = reader().load(case)
    np.testing.assert_array_equal(scan.image_SHWC[..., 0], STACKS["axial"])
    np.testing.assert_array_equal(scan.label_SHW, STACKS["axial"])


def test_images_are_float32_and_labels_integer(put):
    scan = reader().load(put())
    assert scan.image_SHWC.dtype == np.float32
    assert scan.image_SHWC.shape == (5, 4, 3, 1)
    assert scan.label_SHW.dtype.kind in "iu"
    assert scan.label_SHW.shape == (5, 4, 3)


def test_stored_values_are_scaled_to_hounsfield_units(put):
    """scl_slope and scl_inter lie at bytes 112 and 116: 0 becomes -1024, 1084 becomes 60."""
    raw = VOXELS * 17
    hu = stored(raw)
    for slope, inter in ((1, -1024), (0.5, 3)):
        scan = reader().load(put(patched(hu, (112, "ff", slope, inter))))
        np.testing.assert_array_equal(scan.image_SHWC[..., 0], STACKS["axial"] * 17 * slope + inter)


def test_a_slope_of_zero_means_no_scaling(put):
    scan = reader().load(put(patched(stored(), (112, "ff", 0, 5))))
    np.testing.assert_array_equal(scan.image_SHWC[..., 0], STACKS["axial"])


def test_a_scaled_label_is_its_scaled_value(put):
    scan = reader().load(put(label=patched(stored(VOXELS % 2), (112, "ff", 2, 1))))
    np.testing.assert_array_equal(scan.label_SHW, STACKS["axial"] % 2 * 2 + 1)


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2", "i4", "u4", "f4", "f8"])
def test_every_type_of_number_is_read(dtype, put):
    volume = nib.Nifti1Image(VOXELS.astype(dtype), AFFINE)
    scan = reader().load(put(volume, volume))
    np.testing.assert_array_equal(scan.image_SHWC[..., 0], STACKS["axial"])
    np.testing.assert_array_equal(scan.label_SHW, STACKS["axial"])


@pytest.mark.parametrize("off", [0, 0.0005, -0.0005])
def test_float_labels_that_are_whole_numbers_are_read(off, put):
    """0.9995 is 1, not 0."""
    scan = reader().load(put(label=(VOXELS + off).astype(np.float32)))
    np.testing.assert_array_equal(scan.label_SHW, STACKS["axial"])


@pytest.mark.parametrize("odd", [0.5, 0.996, 1.01])
def test_a_label_between_two_numbers_is_refused(odd, put):
    label = (VOXELS % 2).astype(np.float32)
    label[1, 2, 3] = odd
    case = put(label=label)
    message = refusal(case, case.labels[0])
    assert f"holds the label {odd:g}; labels must be whole numbers" in message


@pytest.mark.parametrize(
    "label",
    [np.full(RAS.shape, 2**32 + 1), np.full(RAS.shape, 2**31 + 5, np.uint32), VOXELS * 3e9],
    ids=["int64", "uint32", "float64"],
)
def test_a_label_beyond_32_bits_does_not_become_another(label, put):
    volume = nib.Nifti1Image(label, AFFINE, dtype=label.dtype)
    case = put(label=volume)
    try:
        scan = reader().load(case)
    except SegError as error:
        assert str(case.labels[0]) in str(error)
        return
    assert scan.label_SHW.max() == label.max()
    assert scan.label_SHW.min() == label.min()


def test_channels_are_stacked_in_their_order(tmp_path):
    for channel in (10, 0, 2):
        path = tmp_path / f"imagesTr/p_{channel:04d}.nii.gz"
        path.parent.mkdir(exist_ok=True)
        nib.save(nib.Nifti1Image(small(VOXELS + 1000 * channel), AFFINE), path)
    (tmp_path / "labelsTr").mkdir()
    nib.save(nib.Nifti1Image(small(VOXELS), AFFINE), tmp_path / "labelsTr/p.nii.gz")
    (case,), problems = reader().find(tmp_path)
    assert problems == {}
    image = reader().load(case).image_SHWC
    assert image.shape == (5, 4, 3, 3)
    assert image.dtype == np.float32
    for k, channel in enumerate((0, 2, 10)):
        np.testing.assert_array_equal(image[..., k], STACKS["axial"] + 1000 * channel)


def test_a_channel_on_another_grid_is_refused(tmp_path, put):
    case = put()
    other = tmp_path / "other.nii"
    nib.save(nib.Nifti1Image(small(VOXELS), AFFINE), other)
    assert reader().load(Source("p", "", None, (*case.images, other), case.labels))
    nib.save(nib.Nifti1Image(small(VOXELS[:2]), AFFINE), other)
    with pytest.raises(SegError, match=r"other\.nii"):
        reader().load(Source("p", "", None, (*case.images, other), case.labels))


FOUR = np.stack([VOXELS, VOXELS + 100], axis=-1)


def test_a_time_point_is_chosen(put):
    case = put(FOUR)
    for time, shift in ((0, 0), (1, 100)):
        image = reader(time_point=time).load(case).image_SHWC
        np.testing.assert_array_equal(image[..., 0], STACKS["axial"] + shift)


def test_several_time_points_are_refused_unless_one_is_chosen(put):
    case = put(FOUR)
    message = refusal(case, case.images[0])
    assert "4-D with 2 time points (3 x 4 x 5 x 2)" in message
    assert "dataset.raw.time_point=0" in message


@pytest.mark.parametrize("time", [2, -1])
def test_a_time_point_that_is_not_there_is_refused(time, put):
    case = put(FOUR)
    message = refusal(case, case.images[0], reader(time_point=time))
    assert f"has no time point {time}, but 0 to 1" in message


@pytest.mark.parametrize("extra", [(1,), (1, 1)])
@pytest.mark.parametrize("time", [None, 0])
def test_a_volume_in_more_dimensions_of_one_is_a_volume(extra, time, put):
    deep = VOXELS.reshape(*VOXELS.shape, *extra)
    scan = reader(time_point=time).load(put(deep, deep))
    np.testing.assert_array_equal(scan.image_SHWC[..., 0], STACKS["axial"])
    np.testing.assert_array_equal(scan.label_SHW, STACKS["axial"])


def test_a_time_point_is_scaled_as_the_whole_is(put):
    scan = reader(time_point=1).load(put(patched(stored(FOUR), (112, "ff", 2, -5))))
    np.testing.assert_array_equal(scan.image_SHWC[..., 0], (STACKS["axial"] + 100) * 2 - 5)


@pytest.mark.parametrize("shape", [(12,), (3, 4)])
def test_what_has_fewer_than_three_axes_is_no_volume(shape, put):
    case = put(np.zeros(shape, np.int16))
    assert "expected a volume" in refusal(case, case.images[0])


def test_five_dimensions_are_refused(put):
    case = put(np.stack([FOUR, FOUR], axis=-1))
    assert "has 5 dimensions" in refusal(case, case.images[0], reader(time_point=0))


def test_a_label_of_several_time_points_is_not_told_to_choose_one(put):
    """`time_point` is of the image: choosing one never mends the label."""
    case = put(label=FOUR)
    for time in (None, 0):
        message = refusal(case, case.labels[0], reader(time_point=time))
        assert "choose one with dataset.raw.time_point" not in message


def test_an_unknown_plane_is_refused():
    with pytest.raises(SegError, match="axial, coronal, sagittal. Received: oblique"):
        reader("oblique")


# Grids


def moved(by, affine=AFFINE):
    shifted = affine.copy()
    shifted[:3, 3] += by
    return shifted


def test_a_rounding_difference_of_affines_is_accepted(put):
    exact = rotation(17, 23) @ AFFINE
    noise = np.random.default_rng(0).normal(0, 1e-5, (4, 4)) * [[1], [1], [1], [0]]
    scan = reader().load(put(affine=exact, label_affine=exact.astype(np.float32) + noise))
    np.testing.assert_array_equal(scan.label_SHW, scan.image_SHWC[..., 0])


@pytest.mark.parametrize(("shift", "fits"), [(0.14, True), (0.16, False), (1, False)])
def test_a_shift_is_measured_in_voxels_of_the_finest_direction(shift, fits, put):
    """Of 1.5 mm, a tenth of a voxel is 0.15 mm."""
    case = put(label_affine=moved([0, 0, shift]))
    if fits:
        reader().load(case)
    else:
        message = refusal(case, case.labels[0])
        assert f"lies up to {shift:.3g} mm away from its image p.nii" in message
        assert "dataset.raw.grid_tolerance_voxels" in message


def test_the_tolerance_is_an_option(put):
    case = put(label_affine=moved([0, 0, 1]))
    reader(tolerance=0.7).load(case)
    refusal(case, case.labels[0], reader(tolerance=0.6))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_label_with_a_flipped_axis_is_refused_though_it_fills_the_same_box(axis, put):
    flipped = AFFINE.copy()
    flipped[axis, axis] *= -1
    flipped[axis, 3] += SPACING[axis] * (RAS.shape[axis] - 1)
    case = put(label_affine=flipped)
    far = SPACING[axis] * (RAS.shape[axis] - 1)
    assert f"lies up to {far:g} mm away" in refusal(case, case.labels[0])


def test_a_label_of_another_spacing_is_refused_by_its_far_corner(put):
    """Along z the origins agree, the far end of 4 steps of 2.6 mm is 0.4 mm off."""
    wide = AFFINE.copy()
    wide[2, 2] = 2.6
    case = put(label_affine=wide)
    assert "lies up to 0.4 mm away" in refusal(case, case.labels[0])


@pytest.mark.parametrize("shape", [(3, 4, 6), (4, 3, 5), (3, 4, 4)])
def test_a_label_of_another_shape_is_refused(shape, put):
    case = put(label=np.zeros(shape, np.int16))
    message = refusal(case, case.labels[0])
    assert f"is {' x '.join(map(str, shape))} voxels but its image p.nii is 3 x 4 x 5" in message


# dataset.json


def listing(case, content):
    path = case.labels[0].parents[1] / "dataset.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.mark.parametrize(
    ("labels", "known"),
    [
        ({"0": "background", "1": "liver", "2": "tumour"}, (0, 1, 2)),
        ({"background": 0, "liver": 1, "tumour": 2}, (0, 1, 2)),
        ({"background": 0, "whole": [1, 2], "core": [2], "ignore": 3}, (0, 1, 2, 3)),
        ({"10": "b", "2": "a", "0": "c"}, (0, 2, 10)),
        ({"background": "0", "liver": "1"}, (0, 1)),
    ],
    ids=["MSD", "nnU-Net", "regions", "order", "text"],
)
def test_the_publishers_labels_are_known(labels, known, put):
    case = put()
    listing(case, {"labels": labels})
    assert reader().load(case).known_labels == known


@pytest.mark.parametrize("content", [None, {}, {"labels": ["a", "b"]}, {"labels": None}])
def test_labels_are_unknown_where_the_publisher_says_nothing(content, put):
    case = put()
    if content is not None:
        listing(case, content)
    assert reader().load(case).known_labels is None


@pytest.mark.parametrize("labels", [{"liver": "one"}, {"liver": None}, {"liver": {}}])
def test_labels_that_are_no_numbers_are_an_error_that_names_the_listing(labels, put):
    case = put()
    path = listing(case, {"labels": labels})
    with pytest.raises(SegError, match="dataset.json"):
        reader().load(case)
    assert path.exists()


@pytest.mark.parametrize("content", ["{", "", "\x00", '{"labels": '])
def test_a_listing_that_is_no_json_is_named(content, put):
    case = put()
    path = listing(case, content)
    for use in (lambda: reader().load(case), lambda: reader().find(path.parent)):
        with pytest.raises(SegError) as caught:
            use()
        assert str(caught.value).startswith(f"{path}: no readable JSON")


@pytest.mark.parametrize(
    "content",
    [
        [],
        [{"image": "imagesTr/p.nii"}],
        {"training": None},
        {"training": ["imagesTr/p.nii"]},
        {"training": [{"image": "imagesTr/p.nii", "label": "labelsTr/p.nii", "fold": 0}]},
        {"training": [{"image": ["imagesTr/p.nii"], "label": "labelsTr/p.nii"}]},
        {"training": [{"image": "./imagesTr/p.nii", "label": "./labelsTr/p.nii"}]},
    ],
    ids=["list", "list-of-pairs", "null", "names", "MONAI-folds", "MONAI-channels", "MSD"],
)
def test_a_listing_of_another_style_neither_stops_nor_accuses(content, put):
    case = put()
    path = listing(case, content)
    for root in (path.parent, path.parents[1]):
        cases, problems = reader().find(root)
        assert [found.images for found in cases] == [case.images]
        assert problems == {}
    assert reader().load(case).label_SHW.shape == (5, 4, 3)


def entry(name):
    return {"image": f"./imagesTr/{name}.nii", "label": f"./labelsTr/{name}.nii"}


def test_a_file_that_is_listed_but_missing_is_a_problem(put):
    case = put()
    path = listing(case, {"training": [entry("p"), entry("q")]})
    for root in (path.parent, path.parents[1]):
        cases, problems = reader().find(root)
        assert len(cases) == 1
        (problem,) = problems.values()
        assert str(path) in problem
        assert "q.nii, which is not there" in problem


def test_a_case_of_which_one_listed_file_is_missing_is_one_problem(put):
    case = put()
    path = listing(case, {"training": [entry("p"), entry("q")]})
    nib.save(nib.Nifti1Image(small(VOXELS), AFFINE), path.parent / "imagesTr/q.nii")
    cases, problems = reader().find(path.parent)
    assert len(cases) == 1
    assert list(problems) == ["q"]


def test_nnunets_first_version_lists_images_without_their_channel(put):
    """Its generator writes ./imagesTr/p.nii.gz for p_0000.nii.gz, p_0001.nii.gz."""
    case = put()
    path = listing(case, {"training": [entry("p")]})
    case.images[0].rename(case.images[0].with_name("p_0000.nii"))
    cases, problems = reader().find(path.parent)
    assert len(cases) == 1
    assert problems == {}


# What is refused


def cut(data, share=0.5):
    return data[: int(len(data) * share)]


def flipped_byte(data, at):
    data = bytearray(data)
    data[at] ^= 0xFF
    return bytes(data)


LARGE = np.random.default_rng(0).integers(0, 2, (40, 40, 40)).astype(np.int16)  # hardly packs
LARGE_GZ = gzip.compress(stored(LARGE))
GZ = {
    "cut-in-the-middle": cut(LARGE_GZ),
    "without-its-trailer": LARGE_GZ[:-8],
    "half-a-trailer": LARGE_GZ[:-4],
    "bad-byte": flipped_byte(LARGE_GZ, len(LARGE_GZ) // 2),
    "bad-block": LARGE_GZ[:10] + b"\x07" + LARGE_GZ[11:],  # a type of block that deflate lacks
    "wrong-checksum": flipped_byte(LARGE_GZ, -8),
    "wrong-length": flipped_byte(LARGE_GZ, -4),
    "packed-when-cut": gzip.compress(cut(stored(LARGE))),
    "packed-when-cut-in-header": gzip.compress(stored(LARGE)[:200]),
    "packed-nothing": gzip.compress(b""),
    "unpacked": stored(LARGE),
    "zero-bytes": b"",
    "text": b"404: Not Found\n",
    "packed-text": gzip.compress(b"404: Not Found\n" * 100),
}
PLAIN = {
    "cut-in-the-middle": cut(stored(LARGE)),
    "one-byte-short": stored(LARGE)[:-1],
    "cut-in-header": stored(LARGE)[:200],
    "cut-after-header": stored(LARGE)[:352],
    "cut-after-four-bytes": stored(LARGE)[:4],
    "zero-bytes": b"",
    "text": b"404: Not Found\n",
    "long-text": b"404: Not Found\n" * 100,
    "packed": LARGE_GZ,
}
DAMAGED = [
    pytest.param(ending, data, id=f"{name}{ending}")
    for ending, group in ((".nii.gz", GZ), (".nii", PLAIN))
    for name, data in group.items()
]


@pytest.mark.parametrize("which", ["image", "label"])
@pytest.mark.parametrize(("ending", "data"), DAMAGED)
def test_a_damaged_file_is_named(ending, data, which, put):
    parts = {"image": LARGE, "label": LARGE} | {which: data}
    case = put(**parts, ending=ending)
    path = (case.images if which == "image" else case.labels)[0]
    assert "no readable NIfTI volume" in refusal(case, path)


def test_the_whole_files_of_those_tests_are_read(put):
    for ending, data in ((".nii.gz", LARGE_GZ), (".nii", stored(LARGE))):
        scan = reader().load(put(data, data, ending=ending))
        assert scan.label_SHW.sum() == LARGE.sum()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("which", ["image", "label"])
def test_voxels_that_are_no_numbers_are_counted(bad, which, put):
    voxels = VOXELS.astype(np.float32)
    voxels[0, 1, 2] = voxels[2, 3, 4] = bad
    case = put(**{which: voxels})
    path = (case.images if which == "image" else case.labels)[0]
    assert "2 voxels are NaN or infinite" in refusal(case, path)


def test_opposite_infinities_do_not_cancel(put):
    voxels = VOXELS.astype(np.float32)
    voxels[0, 0, :2] = np.inf, -np.inf
    case = put(voxels)
    assert "2 voxels are NaN or infinite" in refusal(case, case.images[0])


@pytest.mark.parametrize(
    "dtype", [[("R", "u1"), ("G", "u1"), ("B", "u1")], np.complex64], ids=["RGB", "complex"]
)
def test_voxels_of_other_kinds_are_refused(dtype, put):
    case = put(nib.Nifti1Image(np.zeros(RAS.shape, dtype), AFFINE))
    assert "expected numbers" in refusal(case, case.images[0])


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("shape", [(32767, 32767, 32767), (30000, 30000, 30001)])
def test_a_header_that_declares_a_giant_is_refused_before_memory_is_taken(ending, shape, put):
    data = patched(stored(), (42, "hhh", *shape))
    case = put(gzip.compress(data) if ending == ".nii.gz" else data, ending=ending)
    message = refusal(case, case.images[0])
    assert f"declares {shape[0]} x {shape[1]} x {shape[2]} voxels" in message
    assert "its header may be damaged" in message


def test_a_giant_of_64_bit_numbers_is_refused(put):
    """NIfTI-2 has int64 extents, at byte 24; their product does not fit in 64 bits."""
    data = patched(stored(kind=nib.Nifti2Image), (24, "qqq", 2**40, 2**40, 2**40))
    case = put(data)
    assert "declares " in refusal(case, case.images[0])


@pytest.mark.parametrize("shape", [(-3, 4, 5), (3, -4, -5), (0, 4, 5)])
def test_a_header_that_declares_nothing_or_less_is_refused(shape, put):
    case = put(patched(stored(), (42, "hhh", *shape)))
    refusal(case, case.images[0])


NAN = float("nan")
SROW = 280  # of srow_x; srow_y and srow_z follow, 4 float32 each


@pytest.mark.parametrize(
    "fields",
    [
        [(SROW, "f", 0.0)],
        [(SROW + 20, "f", 0.0)],
        [(SROW, "f", NAN)],
        [(SROW + 12, "f", NAN)],
        [(SROW + 44, "f", float("inf"))],
        [(SROW, "12f", *[0] * 12)],
        [(252, "hh", 1, 0), (256, "f", NAN)],
        [(252, "hh", 1, 0), (80, "f", NAN)],
    ],
    ids=[
        "no-x",
        "no-y",
        "nan",
        "nan-origin",
        "infinite-origin",
        "all-zero",
        "quaternion-nan",
        "pixdim-nan",
    ],
)
@pytest.mark.parametrize("which", ["image", "label"])
def test_an_affine_that_is_none_is_refused(fields, which, put):
    case = put(**{which: patched(stored(), *fields)})
    refusal(case, (case.images if which == "image" else case.labels)[0])


def test_an_affine_of_two_equal_axes_is_refused(put):
    """x and y both run to the right: the voxels have sizes, but no volume."""
    flat = patched(stored(), (SROW, "ff", 1.5, 1.5), (SROW + 16, "ff", 0, 0))
    case = put(flat, flat)
    with pytest.raises(SegError) as caught:
        reader().load(case)
    assert "p.nii: " in str(caught.value)


HEADER = [
    *range(0, 4),  # its size
    *range(40, 56),  # extents
    *range(70, 74),  # type
    *range(76, 92),  # voxel size
    *range(108, 120),  # offset and scaling
    *range(252, 328),  # orientation
    *range(344, 352),  # magic and extensions
]


def test_a_damaged_byte_of_the_header_is_survived_or_named(put):
    """Of an image and of its label alike; no other exception than SegError, and one line."""
    whole, wrong = stored(), {}
    for at, value in itertools.product(HEADER, (0x00, 0x1C, 0x7F, 0x80, 0xFF)):
        data = patched(whole, (at, "B", value))
        case = put(data, data)
        try:
            scan = reader().load(case)
            if not all(math.isfinite(mm) and mm > 0 for mm in scan.spacing_mm):
                wrong[at, value] = f"was read with spacing {scan.spacing_mm}"
            if not np.isfinite(scan.image_SHWC).all():
                wrong[at, value] = "was read with voxels that are no numbers"
        except SegError as error:
            named = str(error).startswith((f"{case.images[0]}: ", f"{case.labels[0]}: "))
            if not named or "\n" in str(error):
                wrong[at, value] = str(error)
        except Exception as error:  # noqa: BLE001
            wrong[at, value] = f"{type(error).__name__}: {error}"
    assert not wrong, "\n".join(f"byte {byte}: {what}" for byte, what in wrong.items())


def test_a_link_to_nothing_is_named(tmp_path, put):
    case = put()
    case.images[0].unlink()
    case.images[0].symlink_to(tmp_path / "annex")
    assert "No such file" in refusal(case, case.images[0])


AS_NOBODY = """
import os, sys
from pathlib import Path
import numpy as np
from seg.contracts import SegError, Source
from seg.data.nifti import NiftiPairs
from seg.data.pictures import PicturePairs

root = Path(sys.argv[1])
nifti = NiftiPairs(r"(?P<patient>\\w+)/i.nii", r"(?P<patient>\\w+)/l.nii", "axial", None, 0.1)
picture = PicturePairs(r"(?P<patient>\\w+)/i.png", r"(?P<patient>\\w+)/l.png", 1)
def case(name, end):
    return Source(name, "", None, (root / name / f"i.{end}",), (root / name / f"l.{end}",))
both = ((nifti, "nii"), (picture, "png"))
for reader, end in both:
    reader.load(case("open", end))
if os.getuid() == 0:
    os.setuid(65534)
for reader, end in both:
    reader.load(case("open", end))
    try:
        reader.load(case("closed", end))
        print(end, "was read")
    except Exception as error:
        print(end, type(error).__name__, error)
try:
    cases, problems = nifti.find(root)
    print("folder problems", problems)
except Exception as error:
    print("folder", type(error).__name__, error)
"""


@pytest.fixture(scope="module")
def said_by_nobody():
    """What a reader without permissions says, by kind, and the folder of the files."""
    from cv2 import imwrite

    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders are closed to others
        root = Path(folder)
        root.chmod(0o755)
        for name in ("open", "closed", "locked"):
            (root / name).mkdir()
            for kind in "il":
                nib.save(nib.Nifti1Image(small(VOXELS), AFFINE), root / name / f"{kind}.nii")
                imwrite(str(root / name / f"{kind}.png"), np.zeros((3, 3), np.uint8))
        for file in (root / "closed").glob("i.*"):
            file.chmod(0)
        (root / "locked").chmod(0)
        run = subprocess.run(
            [sys.executable, "-c", AS_NOBODY, root], capture_output=True, text=True
        )
        (root / "locked").chmod(0o755)  # so that it can be taken away
    assert run.returncode == 0, run.stderr
    lines = dict(line.split(" ", 1) for line in run.stdout.splitlines())
    if lines["nii"] == "was read":
        pytest.skip("this user reads files without permission")
    return root, lines


@pytest.mark.parametrize("ending", ["nii", "png"])
def test_a_file_without_permission_is_named(ending, said_by_nobody):
    root, lines = said_by_nobody
    assert lines[ending].startswith(f"SegError {root}/closed/i.{ending}: ")


def test_a_folder_without_permission_is_not_passed_over(said_by_nobody):
    """A patient whose folder cannot be opened would be missing without a word."""
    root, lines = said_by_nobody
    assert lines["folder"].startswith(("problems", "SegError"))
    assert f"{root}/locked" in lines["folder"]
