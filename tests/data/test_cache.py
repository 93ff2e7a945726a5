"""Facts about `seg.data.cache`: the same slices wherever they are kept."""

import gc
import logging
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest

from seg.contracts import Case, Classes, SegError, Slice
from seg.data import cache, folder
from seg.data.cache import in_memory, load
from seg.data.images import fit_image, fit_mask, read_image, read_mask

KINDS = ["memory", "disk", "off"]
BINARY = Classes(127)
FULL_DISK = """
import resource, sys
from pathlib import Path
from seg.contracts import Case, Classes, Slice
from seg.data.cache import load
pictures, run = map(Path, sys.argv[1:])
case = Case("p", (Slice("a", pictures / "a.png", pictures / "a.png"),) * 40)
resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
load([case], (16, 16), 1, Classes(127), "disk", run)
"""


@pytest.fixture(scope="module")
def cases(cohort):
    return folder.read(cohort, r"^(p\d+)_")


@pytest.fixture
def picture(tmp_path):
    """A file of an 8x8 picture whose left half is black, and the case it is image and mask of."""
    path = tmp_path / "pictures" / "a.png"
    path.parent.mkdir()
    draw(path, left=0)
    return path, [Case("p", (Slice("a", path, path),))]


def draw(path, left):
    pixels = np.full((8, 8), 255, np.uint8)
    pixels[:, :4] = left
    cv2.imwrite(str(path), pixels)


def everything(slices):
    return [slices.read(i) for i in range(len(slices.ids))]


def nameless(under):
    """Return the sizes of the open files without a name in a folder."""
    opened = []
    for entry in os.listdir("/proc/self/fd"):
        path = f"/proc/self/fd/{entry}"
        if os.path.lexists(path) and os.readlink(path).startswith(f"{under}/"):
            assert os.readlink(path).endswith("(deleted)")
            opened.append(os.stat(path).st_size)
    return opened


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [1, 3])
def test_load_gives_16_bit_images_and_binary_masks_at_the_asked_size(
    cases, tmp_path, kind, channels
):
    slices = load(cases, (16, 24), channels, BINARY, kind, tmp_path)
    assert slices.shape_HWC == (16, 24, channels)
    assert len(slices.ids) == 24
    images, masks = map(np.stack, zip(*everything(slices), strict=True))
    assert (images.dtype, images.shape) == (np.uint16, (24, 16, 24, channels))
    assert images.max() > 40000
    assert (masks.dtype, masks.shape) == (np.uint8, (24, 16, 24, 1))
    assert np.unique(masks).tolist() == [0, 1]


@pytest.mark.parametrize("kind", KINDS)
def test_load_keeps_the_order_and_the_pairs_of_more_slices_than_are_decoded_at_a_time(
    cases, tmp_path, kind
):
    members = [s for case in cases for s in case.slices] * 3
    assert len(members) > cache.AHEAD
    slices = load(cases * 3, (16, 24), 1, BINARY, kind, tmp_path)
    assert slices.ids == tuple(s.id for s in members)
    for member, (image_HWC, mask_HW1) in zip(members, everything(slices), strict=True):
        expected = fit_image(read_image(member.image, 1), (16, 24))
        np.testing.assert_array_equal(image_HWC, expected)
        expected = fit_mask(read_mask(member.mask, BINARY), (16, 24))
        np.testing.assert_array_equal(mask_HW1[..., 0], expected)


@pytest.mark.parametrize("channels", [1, 3])
def test_memory_disk_and_off_give_the_same_bytes_also_to_several_threads(cases, tmp_path, channels):
    kept = {kind: load(cases, (15, 11), channels, BINARY, kind, tmp_path) for kind in KINDS}
    places = np.random.default_rng(0).integers(0, 24, 120).tolist()
    found = {}
    for kind, slices in kept.items():
        with ThreadPoolExecutor(8) as pool:
            pairs = pool.map(slices.read, places)
            found[kind] = [image.tobytes() + mask.tobytes() for image, mask in pairs]
    assert found["memory"] == found["disk"] == found["off"]
    assert found["memory"] == [b"".join(map(bytes, kept["memory"].read(i))) for i in places]
    assert len(set(found["memory"])) > 15


def test_load_applies_the_mask_threshold(cases, tmp_path):
    slices = load(cases, (16, 16), 1, Classes(255), "memory", tmp_path)
    assert max(mask.max() for _, mask in everything(slices)) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_labels_are_loaded_as_indices_at_the_asked_size(tmp_path, kind):
    stripes = np.zeros((8, 8), np.uint8)
    stripes[:, 2:4], stripes[:, 4:] = 40, 7
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
        cv2.imwrite(str(tmp_path / part / "a.png"), stripes)
    labelled = Classes(0, {"x": 7, "y": 40})
    slices = load(folder.read(tmp_path, None), (4, 4), 1, labelled, kind, tmp_path)
    mask_HW1 = slices.read(0)[1]
    assert mask_HW1.dtype == np.uint8
    assert mask_HW1[..., 0].tolist() == [[0, 2, 1, 1]] * 4


@pytest.mark.parametrize("kind", [*KINDS, "auto"])
def test_no_cases_are_no_slices(tmp_path, kind):
    slices = load([], (4, 6), 3, BINARY, kind, tmp_path)
    assert slices.ids == ()
    assert [part.shape for part in slices.samples([])] == [(0, 4, 6, 3), (0, 4, 6, 1)]


def test_a_sample_spans_exactly_0_to_1():
    images = np.array([0, 13107, 65535], np.uint16).reshape(1, 1, 3, 1)
    slices = in_memory(("a",), images, np.array([0, 1, 3], np.uint8).reshape(1, 1, 3, 1))
    image_HWC, mask_HW1 = slices.sample(0)
    assert (image_HWC.dtype, mask_HW1.dtype) == (np.float32, np.uint8)
    np.testing.assert_allclose(image_HWC.ravel(), [0, 0.2, 1], rtol=1e-6)
    assert image_HWC.max() == 1
    assert mask_HW1.ravel().tolist() == [0, 1, 3]


def test_samples_gives_the_slices_at_the_places_in_their_order_as_floats():
    number = np.arange(5).reshape(5, 1, 1, 1)
    images = np.broadcast_to(number * 257, (5, 2, 3, 3)).astype(np.uint16)
    masks = np.broadcast_to(number % 2, (5, 2, 3, 1)).astype(np.uint8)
    slices = in_memory([f"s{i}" for i in range(5)], images, masks)
    assert (slices.ids, slices.shape_HWC) == (("s0", "s1", "s2", "s3", "s4"), (2, 3, 3))
    images_BHWC, masks_BHW1 = slices.samples([3, 0, 3])
    assert images_BHWC.dtype == masks_BHW1.dtype == np.float32
    assert (images_BHWC.shape, masks_BHW1.shape) == ((3, 2, 3, 3), (3, 2, 3, 1))
    np.testing.assert_allclose(images_BHWC[:, 1, 2, 0], [3 / 255, 0, 3 / 255], rtol=1e-6)
    assert masks_BHW1[:, 1, 2, 0].tolist() == [1, 0, 1]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_the_file_on_disk_has_no_name_and_goes_with_its_slices(cases, tmp_path):
    slices = load(cases, (16, 24), 3, BINARY, "disk", tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert nameless(tmp_path) == [24 * 16 * 24 * (3 * 2 + 1)]
    assert slices.read(23)[0].any()
    del slices
    gc.collect()
    assert nameless(tmp_path) == []


@pytest.mark.parametrize("kind", ["memory", "off"])
def test_memory_and_off_write_nothing(cases, tmp_path, kind):
    slices = load(cases, (16, 24), 1, BINARY, kind, tmp_path)
    assert slices.read(0)[0].any()
    assert list(tmp_path.iterdir()) == []
    if Path("/proc/self/fd").exists():
        assert nameless(tmp_path) == []


@pytest.mark.parametrize("kind", KINDS)
def test_only_off_sees_a_file_that_changes(picture, tmp_path, kind):
    path, case = picture
    slices = load(case, (8, 8), 1, BINARY, kind, tmp_path)
    assert slices.read(0)[0][0, :, 0].tolist() == [0] * 4 + [65535] * 4
    draw(path, left=255)
    image_HWC, mask_HW1 = slices.read(0)
    seen = 65535 if kind == "off" else 0
    assert image_HWC[0, :, 0].tolist() == [seen] * 4 + [65535] * 4
    assert mask_HW1[0, :, 0].tolist() == [seen == 65535] * 4 + [1] * 4


@pytest.mark.parametrize("kind", KINDS)
def test_only_off_needs_the_files_afterwards(picture, tmp_path, kind):
    path, case = picture
    slices = load(case, (8, 8), 1, BINARY, kind, tmp_path)
    path.unlink()
    if kind == "off":
        with pytest.raises(SegError, match="a.png: cannot be read"):
            slices.read(0)
    else:
        assert slices.read(0)[0].max() == 65535


@pytest.mark.parametrize("kind", ["memory", "disk"])
def test_a_broken_picture_is_named_and_leaves_nothing_behind(picture, tmp_path, kind):
    path, case = picture
    path.write_bytes(b"no picture")
    run = tmp_path / "run"
    run.mkdir()
    with pytest.raises(SegError, match="a.png: not a readable image"):
        load(case, (8, 8), 1, BINARY, kind, run)
    assert list(run.iterdir()) == []


def test_a_full_disk_is_an_os_error_that_leaves_nothing_behind(picture, tmp_path):
    """A limit on the size of files stands in for the disk's end: the same write fails."""
    run = tmp_path / "run"
    run.mkdir()
    filled = subprocess.run(
        [sys.executable, "-c", FULL_DISK, picture[0].parent, run],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert filled.returncode == 1
    error, note = filled.stderr.splitlines()[-2:]
    assert error == "OSError: [Errno 27] File too large"
    assert note.endswith("dataset.cache=off needs none")
    assert list(run.iterdir()) == []


@pytest.mark.parametrize(
    ("need", "memory", "disk", "kept"),
    [
        (0, 0, 0, "memory"),
        (50, 100, 0, "memory"),
        (51, 100, 102, "disk"),
        (50, 99, 100, "disk"),
        (50, 99, 99, "off"),
        (51, 100, 101, "off"),
        (10**15, 10**10, 10**12, "off"),
    ],
)
def test_auto_takes_at_most_half_of_the_free_memory_or_else_of_the_free_disk(
    need, memory, disk, kept
):
    assert cache._kind(need, memory, disk) == kept


def limited(tmp_path, monkeypatch, most, used, given_up=0):
    (tmp_path / "memory.max").write_text(f"{most}\n")
    (tmp_path / "memory.current").write_text(f"{used}\n")
    (tmp_path / "memory.stat").write_text(f"anon 5\ninactive_file {given_up}\nactive_file 7\n")
    monkeypatch.setattr(cache, "CGROUP", tmp_path)


def test_the_free_memory_is_the_machines_where_nothing_limits_it(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "CGROUP", tmp_path / "none")
    assert cache._free_memory() == pytest.approx(psutil.virtual_memory().available, rel=0.1)


@pytest.mark.parametrize("most", ["max", 2**60])
def test_a_limit_beyond_the_machine_limits_nothing(tmp_path, monkeypatch, most):
    limited(tmp_path, monkeypatch, most, 10**6)
    assert cache._free_memory() == pytest.approx(psutil.virtual_memory().available, rel=0.1)


def test_the_free_memory_of_a_limited_job_is_what_is_left_of_its_limit(tmp_path, monkeypatch):
    limited(tmp_path, monkeypatch, 10**7, 4 * 10**6)
    assert cache._free_memory() == 6 * 10**6


def test_pages_of_files_that_were_read_are_free_for_the_asking(tmp_path, monkeypatch):
    limited(tmp_path, monkeypatch, 10**7, 9 * 10**6, given_up=5 * 10**6)
    assert cache._free_memory() == 6 * 10**6


@pytest.mark.parametrize("of_job", ["", "slurm", "slurm/job_1", "slurm/job_1/step_0"])
def test_the_limit_of_a_clusters_job_holds_for_the_groups_below_it(tmp_path, monkeypatch, of_job):
    own = tmp_path / "own"
    own.write_text("5:cpu:/elsewhere\n4:memory:/slurm/job_1/step_0\n")
    group = tmp_path / "memory" / of_job
    group.mkdir(parents=True)
    (group / "memory.limit_in_bytes").write_text("7000000\n")
    (group / "memory.usage_in_bytes").write_text("5000000\n")
    (group / "memory.stat").write_text("inactive_file 1\ntotal_inactive_file 500000\n")
    monkeypatch.setattr(cache, "CGROUP", tmp_path)
    monkeypatch.setattr(cache, "OWN_GROUPS", own)
    assert cache._free_memory() == 2_500_000


@pytest.mark.parametrize(("most", "kept"), [(2 * 32256, "memory"), (2 * 32256 - 1, "disk")])
def test_auto_counts_the_bytes_of_all_slices_and_says_what_it_took(
    cases, tmp_path, monkeypatch, caplog, most, kept
):
    """24 slices of 16x28 with 2 bytes of grey and 1 of mask are 32256 bytes."""
    limited(tmp_path, monkeypatch, most, 0)
    with caplog.at_level(logging.INFO, "seg.data.cache"):
        slices = load(cases, (16, 28), 1, BINARY, "auto", tmp_path)
    assert caplog.messages == [f"cache: 24 slices, 0.0 MiB, {kept}"]
    assert slices.read(0)[0].any()
