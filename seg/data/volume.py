"""Reading of one NIfTI volume, with every doubt about it refused.

The voxels come in the order they are stored in; the affine says where they lie in the patient.
"""

from __future__ import annotations

import gzip
import math
import os
import zlib
from collections.abc import Iterable
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.affines import voxel_sizes
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from seg.contracts import SegError

UNREADABLE = (
    EOFError,
    OSError,
    OverflowError,
    ValueError,
    zlib.error,
    ImageFileError,
    HeaderDataError,
    WrapStructError,
)
MM = {"meter": 1000.0, "micron": 0.001}


def read_image(path: Path, time_point: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the intensities of a volume, float32, and its affine.

    Args:
        path: `.nii` or `.nii.gz`, NIfTI-1 or NIfTI-2.
        time_point: which volume of a 4-D file, from 0; None refuses a file of several.

    Raises:
        SegError: the file is damaged or no volume, or holds NaN or infinite voxels.
    """
    return _read(path, time_point, np.dtype(np.float32))


def read_label(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the labels of a volume in the smallest integer type, and its affine.

    Raises:
        SegError: as `read_image`; a label is no whole number, or beyond 32 bits.
    """
    voxels, affine = _read(path, None, None)
    whole = np.rint(voxels) if voxels.dtype.kind == "f" else voxels
    odd = np.abs(voxels - whole) > 1e-3 if voxels.dtype.kind == "f" else np.False_
    low, high = int(whole.min()), int(whole.max())
    if odd.any() or low < -(2**31) or high >= 2**31:
        wrong = voxels[odd][0] if odd.any() else max(low, high, key=abs)
        raise SegError(
            f"{path}: holds the label {wrong:.7g}; labels must be whole numbers below 2^31"
        )
    smallest = np.result_type(np.min_scalar_type(low), np.min_scalar_type(high))
    return whole.astype(smallest, copy=False), affine


def write_like(path: Path, voxels: np.ndarray, source: Path) -> None:
    """Write voxels in the grid of a volume: with its header, but their type, and no scaling.

    Args:
        path: `.nii` or `.nii.gz`.
        voxels: as they are stored in `source`, of its first three dimensions.
        source: volume whose affine, orientation, units and codes are kept.
    """
    header = nib.load(source).header.copy()
    header.set_data_dtype(voxels.dtype)
    header.set_slope_inter(1, 0)
    header["cal_min"] = header["cal_max"] = 0
    kind = nib.Nifti2Image if isinstance(header, nib.Nifti2Header) else nib.Nifti1Image
    nib.save(kind(voxels, None, header), path)


def _read(
    path: Path, time_point: int | None, dtype: np.dtype | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return finite voxels, of the stored type where `dtype` is None, and the affine in mm."""
    try:
        with gzip.open(path) if path.name.lower().endswith(".gz") else path.open("rb") as stream:
            kind = nib.Nifti2Image if b"\x1c" in stream.read(4) else nib.Nifti1Image
            stream.seek(0)
            image = kind.from_stream(stream)
            _check_header(path, image)
            voxels = np.asarray(_three_dimensional(path, image, time_point, dtype is None), dtype)
            while stream.read(1 << 20):  # gzip checks its checksum at the end of the file only
                pass
    except UNREADABLE as error:
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        raise SegError(
            f"{path}: no readable NIfTI volume ({reason}); get the file again"
        ) from error
    with np.errstate(invalid="ignore"):
        total = voxels.sum(dtype=np.float64)
    if not np.isfinite(total):
        bad = np.count_nonzero(~np.isfinite(voxels))
        raise SegError(f"{path}: {bad} voxels are NaN or infinite; repair the volume")
    mm = MM.get(image.header.get_xyzt_units()[0], 1.0)
    return voxels, np.diag([mm, mm, mm, 1]) @ image.affine


def _check_header(path: Path, image: nib.Nifti1Image) -> None:
    """Refuse what cannot be a volume, before its voxels are read."""
    if image.get_data_dtype().kind not in "iuf":
        raise SegError(f"{path}: voxels are {image.get_data_dtype()}, expected numbers")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    needed = 4 * math.prod(image.shape[:3])
    if needed > memory:
        raise SegError(
            f"{path}: declares {by(image.shape)} voxels, {needed / 2**30:.0f} GiB in memory, "
            f"of which this machine has {memory / 2**30:.0f}; its header may be damaged"
        )
    spacing = voxel_sizes(image.affine)
    if not (np.isfinite(image.affine).all() and (spacing > 0).all()):
        raise SegError(f"{path}: its affine has the voxel size {by(spacing)} mm; repair the header")


def _three_dimensional(
    path: Path, image: nib.Nifti1Image, time_point: int | None, is_label: bool
) -> object:
    shape = image.shape
    times = math.prod(shape[3:])
    if len(shape) < 3 or 0 in shape:
        raise SegError(f"{path}: is {by(shape)} voxels, expected a volume")
    if len(shape) == 3:
        return image.dataobj
    if len(shape) > 4 and times > 1:
        raise SegError(f"{path}: has {len(shape)} dimensions ({by(shape)}), expected 3")
    if times > 1 and time_point is None:
        mend = "a label must have one" if is_label else "choose one with dataset.raw.time_point=0"
        raise SegError(f"{path}: is 4-D with {times} time points ({by(shape)}); {mend}")
    if times > 1 and not 0 <= time_point < times:
        raise SegError(f"{path}: has no time point {time_point}, but 0 to {times - 1}")
    return np.asarray(image.dataobj[..., time_point if times > 1 else 0]).reshape(shape[:3])


def by(numbers: Iterable[float]) -> str:
    """Write a size as "512 x 512 x 90"."""
    return " x ".join(f"{number:g}" for number in numbers)
