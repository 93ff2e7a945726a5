"""What a person wants predicted: pictures and volumes, found, read and written back.

Axes: S slices, H height, W width, C channels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

from seg.contracts import Scan, SegError
from seg.data import nifti
from seg.data.images import SUFFIXES, read_pixels
from seg.figures.pictures import write_png
from seg.models.manual import Manual

VOLUMES = (".nii.gz", ".nii")


@dataclass(frozen=True)
class Input:
    """A file to predict.

    Attributes:
        path: of the file.
        name: below the folder that was given, without ending; names what is written of it.
        is_volume: NIfTI, else a picture.
    """

    path: Path
    name: str
    is_volume: bool


@dataclass(frozen=True)
class Loaded:
    """A file that was read.

    Attributes:
        scan: its voxels or pixels, without label.
        write: writes an array SHW as a file of its kind, given the file's path without ending;
            returns the file.
    """

    scan: Scan
    write: Callable[[Path, np.ndarray], Path]


def find(given: Path) -> tuple[list[Input], dict[Path, str]]:
    """Return the files to predict, in the order of their names, and what is wrong with others.

    Args:
        given: a file, or a folder whose pictures and volumes are taken, at any depth; hidden files
            are passed over.

    Raises:
        SegError: there is none.
    """
    if given.is_dir():
        files = sorted(
            path
            for path in given.rglob("*")
            if path.is_file()
            and _ending(path)
            and not any(part.startswith(".") for part in path.relative_to(given).parts)
        )
    else:
        files = [given] if given.is_file() and _ending(given) else []
    if not files:
        known = ", ".join((*SUFFIXES, *VOLUMES))
        there = "holds no" if given.is_dir() else "is no"
        raise SegError(f"input: {given} {there} picture and no volume ({known})")
    found: dict[str, Input] = {}
    problems = {}
    for path in files:
        below = path.relative_to(given) if given.is_dir() else Path(path.name)
        name = below.as_posix().removesuffix(_ending(path))
        if name in found:
            problems[path] = f"shares its name with {found[name].path.name}; rename one of them"
        else:
            found[name] = Input(path, name, _ending(path).lower() in VOLUMES)
    return list(found.values()), problems


def batches(sources: Sequence[Input], size: int) -> Iterator[list[Input]]:
    """Yield the files in their order: each volume by itself, pictures `size` at once."""
    for is_volume, run in groupby(sources, key=lambda source: source.is_volume):
        members, n = list(run), 1 if is_volume else size
        yield from (members[start : start + n] for start in range(0, len(members), n))


def load_all(
    sources: Sequence[Input], manual: Manual
) -> tuple[list[tuple[Input, Loaded]], dict[Path, str]]:
    """Return the files that can be read, and what is wrong with the others."""

    def attempt(source: Input) -> tuple[Loaded | None, str]:
        try:
            return load(source, manual), ""
        except (SegError, OSError) as error:
            return None, str(error).removeprefix(f"{source.path}: ")

    with ThreadPoolExecutor() as pool:
        found = list(zip(sources, pool.map(attempt, sources), strict=True))
    return (
        [(source, loaded) for source, (loaded, _) in found if loaded],
        {source.path: why for source, (loaded, why) in found if not loaded},
    )


def load(source: Input, manual: Manual) -> Loaded:
    """Read a file as a model wants it.

    Raises:
        SegError: it cannot be read, or the model has not learned from such.
    """
    if not source.is_volume:
        pixels = read_pixels(source.path)
        image_HWC = pixels[..., None] if pixels.ndim == 2 else pixels
        return Loaded(Scan(image_HWC[None], None), _write_picture)
    if not manual.of_volumes:
        raise SegError(
            f"{source.path}: is a volume, and the model has learned from pictures, so that nothing "
            "says which of its intensities are black and white; give pictures made as those were"
        )
    if manual.sequences > 1:
        raise SegError(
            f"{source.path}: is one volume, and the model has learned from {manual.sequences} of "
            "each case; prepare them as pictures, see dataset.source"
        )
    scan, back = nifti.read(source.path, manual.raw["plane"], manual.raw["time_point"])
    ending = _ending(source.path).lower()

    def write(path: Path, slices_SHW: np.ndarray) -> Path:
        file = path.with_name(path.name + ending)
        nifti.write(file, slices_SHW, back, source.path)
        return file

    return Loaded(scan, write)


def _write_picture(path: Path, slices_SHW: np.ndarray) -> Path:
    file = path.with_name(f"{path.name}.png")
    write_png(file, slices_SHW[0])
    return file


def _ending(path: Path) -> str:
    """Return the ending of a picture or volume, as it is written; nothing for another file."""
    name = path.name.lower()
    known = next((ending for ending in (*VOLUMES, *SUFFIXES) if name.endswith(ending)), "")
    return path.name[len(name) - len(known) :] if known else ""
