"""Reader of NIfTI volumes, an image file (or one per channel) and a label file for each case.

Axes: S slices, H height, W width, C channels.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from nibabel import orientations
from nibabel.affines import apply_affine, voxel_sizes

from seg.contracts import Scan, SegError, Source
from seg.data import volume
from seg.data.pairs import listings, pair

# Directions in which slices, rows and columns run, patient's left and head as in radiology:
# rows of an axial slice go from anterior to posterior, its columns from right to left.
PLANES = {"axial": "SPL", "coronal": "PIL", "sagittal": "LIP"}


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
        """Refuse an unknown plane and a negative tolerance."""
        if self.grid_tolerance_voxels < 0:
            raise SegError(
                "dataset.raw.grid_tolerance_voxels must be 0 or more. "
                f"Received: {self.grid_tolerance_voxels:g}"
            )
        if self.plane not in PLANES:
            raise SegError(
                f"dataset.raw.plane must be one of {', '.join(PLANES)}. Received: {self.plane}"
            )

    def find(self, root: Path) -> tuple[list[Source], dict[str, str]]:
        """Pair the files, and compare them with the publisher's dataset.json where there is one."""
        cases, problems = pair(root, self.image_pattern, self.label_pattern, "channel")
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
        label, affine = volume.read_label(source.labels[0])
        turn, _ = turns(source.labels[0], affine, self.plane)
        channels = []
        for path in source.images:
            voxels, image_affine = volume.read_image(path, self.time_point)
            self._check_grid(path, voxels.shape, image_affine, source.labels[0], label, affine)
            channels.append(orientations.apply_orientation(voxels, turn))
        return Scan(
            channels[0][..., None] if len(channels) == 1 else np.stack(channels, axis=-1),
            orientations.apply_orientation(label, turn),
            _spacing_mm(affine, turn),
            _publishers_labels(source.labels[0]),
        )

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
                f"{label_path}: is {volume.by(label.shape)} voxels but its image {path.name} is "
                f"{volume.by(shape)}; take the label of this image"
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


def read(path: Path, plane: str, time_point: int | None) -> tuple[Scan, np.ndarray]:
    """Return a volume without label, turned to a plane, and the turn that leads back to its grid.

    Raises:
        SegError: the file is damaged or no volume.
    """
    voxels, affine = volume.read_image(path, time_point)
    there, back = turns(path, affine, plane)
    image_SHW = orientations.apply_orientation(voxels, there)
    return Scan(image_SHW[..., None], None, _spacing_mm(affine, there)), back


def write(path: Path, slices_SHW: np.ndarray, back: np.ndarray, source: Path) -> None:
    """Write slices as a volume in the grid of the one that they were read from."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".part-{path.name}")
    try:
        volume.write_like(aside, orientations.apply_orientation(slices_SHW, back), source)
        aside.rename(path)
    finally:
        aside.unlink(missing_ok=True)


def turns(path: Path, affine: np.ndarray, plane: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the orientation transforms from a grid to a plane's slices, rows, columns, and back.

    Raises:
        SegError: two axes of the grid run the same way.
    """
    try:
        grid, slices = orientations.io_orientation(affine), orientations.axcodes2ornt(PLANES[plane])
        return orientations.ornt_transform(grid, slices), orientations.ornt_transform(slices, grid)
    except ValueError as error:
        raise SegError(
            f"{path}: two of its axes run the same way (its affine is "
            f"{np.round(affine[:3, :3], 3).tolist()}); repair the header"
        ) from error


def _spacing_mm(affine: np.ndarray, turn: np.ndarray) -> tuple[float, float, float]:
    spacing = np.empty(3)
    spacing[turn[:, 0].astype(int)] = voxel_sizes(affine)
    return tuple(spacing.tolist())


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
