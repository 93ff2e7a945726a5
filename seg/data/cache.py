"""Slices at the model's size, decoded once: kept in memory, on disk, or decoded at each look.

Axes: N slices, H height, W width, C channels.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil

from seg.contracts import Case, Classes
from seg.data.images import FULL_SCALE, fit_image, fit_mask, read_image, read_mask

log = logging.getLogger(__name__)

CGROUP, OWN_GROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
LIMITS = (
    ("memory.max", "memory.current"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes"),
)
SHARE = 0.5  # of what is free, for "auto": a training needs room of its own
AHEAD = 64  # slices decoded at a time: what a cache on disk holds in memory while it is written

Pair = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Slices:
    """Images and masks at the model's size, by number.

    Attributes:
        ids: N names.
        shape_HWC: of the images.
        read: from a number to (image uint16 HWC over 0..65535, mask uint8 HW1: the index of each
            pixel's class, 0 the background). May be called by several threads at a time.
        has_target: whether a slice has any pixel of it.
    """

    ids: tuple[str, ...]
    shape_HWC: tuple[int, int, int]
    read: Callable[[int], Pair]
    has_target: tuple[bool, ...]

    def sample(self, i: int) -> Pair:
        """Return slice i as trained on: image float32 over 0..1, mask uint8."""
        image_HWC, mask_HW1 = self.read(i)
        return image_HWC.astype(np.float32) / np.float32(FULL_SCALE), mask_HW1

    def samples(self, places: Sequence[int]) -> Pair:
        """Return some slices, stacked: float32 both."""
        pairs = [self.sample(i) for i in places]
        images = np.array([image for image, _ in pairs]).reshape(-1, *self.shape_HWC)
        masks = np.array([mask for _, mask in pairs], np.float32)
        return images, masks.reshape(-1, *self.shape_HWC[:2], 1)


def in_memory(ids: Sequence[str], images_NHWC: np.ndarray, masks_NHW1: np.ndarray) -> Slices:
    """Return slices that lie in two arrays, uint16 and uint8."""
    has_target = tuple(masks_NHW1.any(axis=(1, 2, 3)).tolist())
    shape_HWC = images_NHWC.shape[1:]
    return Slices(tuple(ids), shape_HWC, lambda i: (images_NHWC[i], masks_NHW1[i]), has_target)


def load(
    cases: Sequence[Case],
    size: tuple[int, int],
    channels: int,
    classes: Classes,
    cache: str,
    folder: Path,
) -> Slices:
    """Return the slices of some cases, in order.

    Args:
        cases: as `seg.data.check.verified` returns them.
        size: (height, width) of the model's input.
        channels: 1 to read grey, 3 to read RGB.
        classes: what the masks' pixels say.
        cache: "memory"; "disk", a file without a name in `folder`, which goes with the process
            however that ends; "off" decodes at each look; "auto" takes the first of them for
            which there is room.
        folder: of the run.
    """
    members = [slice_ for case in cases for slice_ in case.slices]
    ids, shape_HWC = tuple(slice_.id for slice_ in members), (*size, channels)

    def decode(i: int) -> Pair:
        image_HWC = fit_image(read_image(members[i].image, channels), size)
        mask_HW = fit_mask(read_mask(members[i].mask, classes), size)
        return image_HWC, mask_HW[..., None].astype(np.uint8)

    need = len(members) * _bytes_of(shape_HWC)
    kept = _kind(need, _free_memory(), shutil.disk_usage(folder).free) if cache == "auto" else cache
    log.info("cache: %d slices, %.1f MiB, %s", len(members), need / 2**20, kept)
    if (cache, kept) == ("auto", "off"):
        log.warning("dataset.cache=auto: neither memory nor disk has room, slices are decoded anew")
    decoded = _in_parallel(decode, len(members))
    if kept == "memory":
        read = _in_memory(decoded, shape_HWC, len(members))
    elif kept == "disk":
        read = _on_disk(decoded, shape_HWC, folder)
    else:
        read = decode
    return Slices(ids, shape_HWC, read, tuple(bool(slice_.target_px) for slice_ in members))


def _in_memory(decoded: Iterator[Pair], shape_HWC: tuple, n: int) -> Callable[[int], Pair]:
    images_NHWC = np.empty((n, *shape_HWC), np.uint16)
    masks_NHW1 = np.empty((n, *shape_HWC[:2], 1), np.uint8)
    for i, (image_HWC, mask_HW1) in enumerate(decoded):
        images_NHWC[i], masks_NHW1[i] = image_HWC, mask_HW1
    return lambda i: (images_NHWC[i], masks_NHW1[i])


def _on_disk(decoded: Iterator[Pair], shape_HWC: tuple, folder: Path) -> Callable[[int], Pair]:
    file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  # open as long as it is read
    try:
        for image_HWC, mask_HW1 in decoded:
            file.write(image_HWC.tobytes() + mask_HW1.tobytes())
        file.flush()
    except OSError as error:
        error.add_note(f"the cache needs room in {folder}, dataset.cache=off needs none")
        raise
    per_slice, n = _bytes_of(shape_HWC), int(np.prod(shape_HWC))

    def read(i: int) -> Pair:
        found = os.pread(file.fileno(), per_slice, i * per_slice)
        image_HWC = np.frombuffer(found, np.uint16, n).reshape(shape_HWC)
        return image_HWC, np.frombuffer(found, np.uint8, offset=2 * n).reshape(*shape_HWC[:2], 1)

    return read


def _in_parallel(decode: Callable[[int], Pair], n: int) -> Iterator[Pair]:
    with ThreadPoolExecutor() as pool:
        for start in range(0, n, AHEAD):
            yield from pool.map(decode, range(start, min(start + AHEAD, n)))


def _bytes_of(shape_HWC: tuple[int, int, int]) -> int:
    height, width, channels = shape_HWC
    return height * width * (2 * channels + 1)


def _kind(need: int, memory: float, disk: float) -> str:
    """Choose where `need` bytes are kept, of what is free."""
    if need <= SHARE * memory:
        return "memory"
    return "disk" if need <= SHARE * disk else "off"


def _free_memory() -> int:
    """Return the bytes that this process may still use: a cluster's job has a limit of its own."""
    free = psutil.virtual_memory().available
    for folder in _control_groups():
        for most, used in LIMITS:
            try:
                limit, now = (int((folder / name).read_text()) for name in (most, used))
                stat = (folder / "memory.stat").read_text()
            except (OSError, ValueError):  # no such limit, or "max"
                continue
            # Pages of files that were read count as used, and are given up for the asking.
            given_up = re.findall(r"^(?:total_)?inactive_file (\d+)$", stat, re.M)
            free = min(free, limit - now + max(map(int, given_up), default=0))
    return free


def _control_groups() -> list[Path]:
    """Return the folders of this process' control groups (cgroups v2 and v1) and of those above."""
    folders = {CGROUP, CGROUP / "memory"}
    for line in OWN_GROUPS.read_text().splitlines() if OWN_GROUPS.exists() else []:
        _, kinds, path = line.split(":", 2)
        if kinds in ("", "memory"):
            inside = (CGROUP / kinds).joinpath(path.lstrip("/"))
            folders |= {inside, *(p for p in inside.parents if p.is_relative_to(CGROUP / kinds))}
    return sorted(folders)
