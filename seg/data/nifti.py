"""Reader of NIfTI volumes, an image file (or one per channel) and a label file for each case.

Axes: S slices, H height, W width, C channels.
"""

from __future__ import annotations

import gzip
import json
import math
import os
import zlib
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel import orientations
from nibabel.affines import apply_affine, voxel_sizes
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from seg.contracts import Scan, SegError, Source
from seg.data.pairs import listings, pair

# Directions in which slices, rows and columns run, patient's left and head as in radiology:
# rows of an axial slice go from anterior to posterior, its columns from right to left.
PLANES = {"axial": "SPL", "coronal": "PIL", "sagittal": "LIP"}
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


@dataclass(frozen=True)
class NiftiPairs:
    """Volumes in `.nii` and `.nii.gz` (MSD, nnU-Net, or any other layout that patterns tell).

    Args:
        image_pattern: see `seg.data.pairs`.
        label_pattern: see `seg.data.pairs`.
        plane: axial, coronal or sagittal; volumes are turned to it by their affine, whatever the
            order of their axes, without resampling (an oblique one to the nearest axes).
        time_point: which of a 4-D image to take, from 0; None refuses 4-D images of several.
        grid_tolerance_voxels: how far the label's corners may lie from the image's.
    """

    image_pattern: str
    label_pattern: str
    plane: str
    time_point: int | None
    grid_tolerance_voxels: float

    def __post_init__(self) -> None:
        """Refuse an unknown plane."""
        if self.plane not in PLANES:
            raise SegError(f"plane must be one of {', '.join(PLANES)}. Received: {self.plane}")

    def find(self, root: Path) -> tuple[list[Source], dict[str, str]]:
        """Pair the files, and compare them with the publisher's dataset.json where there is one."""
        cases, problems = pair(root, self.image_pattern, self.label_pattern)
        for listing in listings(root):
            for file in _missing(listing):
                name = Path(file).name.partition(".nii")[0]
                problems[name] = f"{listing}: lists {file}, which is not there"
        return [case for case in cases if case.name not in problems], problems

    def load(self, source: Source) -> Scan:
        """Read image and label of a case, turned to the plane.

        Raises:
            SegError: a file is damaged or no volume, holds what it must not, or the grids differ.
        """
        label, affine = _read(source.labels[0], None, np.int32)
        turn = self._turn(source.labels[0], affine)
        channels = []
        for path in source.images:
            voxels, image_affine = _read(path, self.time_point, np.float32)
            self._check_grid(path, voxels.shape, image_affine, source.labels[0], label, affine)
            channels.append(orientations.apply_orientation(voxels, turn))
        spacing = np.empty(3)
        spacing[turn[:, 0].astype(int)] = voxel_sizes(affine)
        return Scan(
            channels[0][..., None] if len(channels) == 1 else np.stack(channels, axis=-1),
            orientations.apply_orientation(label, turn),
            tuple(spacing.tolist()),
            _publishers_labels(source.labels[0]),
        )

    def _turn(self, path: Path, affine: np.ndarray) -> np.ndarray:
        """Return the orientation transform from a grid to the plane's slices, rows and columns."""
        try:
            return orientations.ornt_transform(
                orientations.io_orientation(affine), orientations.axcodes2ornt(PLANES[self.plane])
            )
        except ValueError as error:
            raise SegError(
                f"{path}: two of its axes run the same way (its affine is "
                f"{np.round(affine[:3, :3], 3).tolist()}); repair the header"
            ) from error

    def _check_grid(
        self,
        path: Path,
        shape: tuple[int, ...],
        affine: np.ndarray,
        label_path: Path,
        label: np.ndarray,
        label_affine: np.ndarray,
    ) -> None:
        if shape != label.shape:
            raise SegError(
                f"{label_path}: is {_by(label.shape)} voxels but its image {path.name} is "
                f"{_by(shape)}; take the label of this image"
            )
        corners = np.array(np.meshgrid(*[(0, n - 1) for n in shape])).reshape(3, -1).T
        apart = apply_affine(affine, corners) - apply_affine(label_affine, corners)
        worst = np.linalg.norm(apart, axis=1).max()
        if worst > self.grid_tolerance_voxels * voxel_sizes(affine).min():
            raise SegError(
                f"{label_path}: lies up to {worst:.3g} mm away from its image {path.name} (their "
                "affines differ); take the label of this image, or raise "
                "dataset.raw.grid_tolerance_voxels"
            )


def _read(path: Path, time_point: int | None, dtype: type) -> tuple[np.ndarray, np.ndarray]:
    """Return the voxels of a 3-D volume and its affine."""
    try:
        with gzip.open(path) if path.name.endswith(".gz") else path.open("rb") as stream:
            kind = nib.Nifti2Image if b"\x1c" in stream.read(4) else nib.Nifti1Image
            stream.seek(0)
            image = kind.from_stream(stream)
            _check_header(path, image)
            is_label = dtype is np.int32
            proxy = _three_dimensional(path, image, time_point, is_label)
            voxels = np.asarray(proxy, None if is_label else dtype)
            while stream.read(1 << 20):  # gzip checks its checksum at the end of the file only
                pass
    except UNREADABLE as error:
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        raise SegError(
            f"{path}: no readable NIfTI volume ({reason}); get the file again"
        ) from error
    mm = MM.get(image.header.get_xyzt_units()[0], 1.0)
    return _clean(path, voxels, dtype), np.diag([mm, mm, mm, 1]) @ image.affine


def _check_header(path: Path, image: nib.Nifti1Image) -> None:
    """Refuse what cannot be a volume, before its voxels are read."""
    if image.get_data_dtype().kind not in "iuf":
        raise SegError(f"{path}: voxels are {image.get_data_dtype()}, expected numbers")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    needed = 4 * math.prod(image.shape[:3])
    if needed > memory:
        raise SegError(
            f"{path}: declares {_by(image.shape)} voxels, {needed / 2**30:.0f} GiB in memory, "
            f"of which this machine has {memory / 2**30:.0f}; its header may be damaged"
        )
    spacing = voxel_sizes(image.affine)
    if not (np.isfinite(image.affine).all() and (spacing > 0).all()):
        raise SegError(
            f"{path}: its affine has the voxel size {_by(spacing)} mm; repair the header"
        )


def _three_dimensional(
    path: Path, image: nib.Nifti1Image, time_point: int | None, is_label: bool
) -> object:
    shape = image.shape
    times = math.prod(shape[3:])
    if len(shape) < 3 or 0 in shape:
        raise SegError(f"{path}: is {_by(shape)} voxels, expected a volume")
    if len(shape) == 3:
        return image.dataobj
    if len(shape) > 4 and times > 1:
        raise SegError(f"{path}: has {len(shape)} dimensions ({_by(shape)}), expected 3")
    if times > 1 and time_point is None:
        mend = "a label must have one" if is_label else "choose one with dataset.raw.time_point=0"
        raise SegError(f"{path}: is 4-D with {times} time points ({_by(shape)}); {mend}")
    if times > 1 and not 0 <= time_point < times:
        raise SegError(f"{path}: has no time point {time_point}, but 0 to {times - 1}")
    return np.asarray(image.dataobj[..., time_point if times > 1 else 0]).reshape(shape[:3])


def _clean(path: Path, voxels: np.ndarray, dtype: type) -> np.ndarray:
    """Return voxels of the wanted type: intensities as they are, labels as whole numbers."""
    with np.errstate(invalid="ignore"):
        total = voxels.sum(dtype=np.float64)
    if not np.isfinite(total):
        bad = np.count_nonzero(~np.isfinite(voxels))
        raise SegError(f"{path}: {bad} voxels are NaN or infinite; repair the volume")
    if dtype is np.int32:
        whole = np.rint(voxels) if voxels.dtype.kind == "f" else voxels
        limits = np.iinfo(np.int32)
        odd = (np.abs(voxels - whole) > 1e-3) | (whole < limits.min) | (whole > limits.max)
        if odd.any():
            raise SegError(
                f"{path}: holds the label {voxels[odd][0]:.7g}; labels must be whole numbers "
                "below 2^31"
            )
        voxels = whole
    return voxels.astype(dtype, copy=False)


def _missing(listing: Path) -> list[str]:
    """Return the training files that a dataset.json lists and that are not there.

    The first nnU-Net lists p.nii.gz where the file is p_0000.nii.gz.
    """
    training = _described(listing).get("training")
    entries = [entry for entry in training or [] if isinstance(entry, dict)]
    files = [entry.get(kind) for entry in entries for kind in ("image", "label")]
    return [
        file
        for file in files
        if isinstance(file, str)
        and not (listing.parent / file).exists()
        and not list(
            (listing.parent / file).parent.glob(Path(file).name.replace(".nii", "_????.nii"))
        )
    ]


def _publishers_labels(path: Path) -> tuple[int, ...] | None:
    """Return the label values of the dataset.json in the folder above the label's, if any."""
    listing = path.parent.parent / "dataset.json"
    labels = _described(listing).get("labels") if listing.is_file() else None
    if not isinstance(labels, dict):
        return None
    # MSD has {"1": "spleen"}, nnU-Net {"spleen": 1} or {"whole": [1, 2]}.
    numbers = [key if key.isdecimal() else value for key, value in labels.items()]
    values = [n for number in numbers for n in (number if isinstance(number, list) else [number])]
    try:
        return tuple(sorted({int(value) for value in values}))
    except (ValueError, TypeError) as error:
        raise SegError(
            f"{listing}: its labels are not numbers ({labels}); set dataset.prepare.known_labels"
        ) from error


def _described(listing: Path) -> dict:
    try:
        content = json.loads(listing.read_text())
    except (ValueError, OSError) as error:
        raise SegError(f"{listing}: no readable JSON ({error}); get the file again") from error
    return content if isinstance(content, dict) else {}


def _by(numbers: object) -> str:
    return " x ".join(f"{number:g}" for number in numbers)
