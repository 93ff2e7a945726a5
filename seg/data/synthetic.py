"""The phantom: a synthetic cohort for a first run and for tests, learnable but no threshold away.

A body holds one large lobed organ (the target) and decoys of the same grey level: smaller organs
with a dark core, vessels, a bright spine. Grey level alone cannot tell them apart.
Axes: H height, W width.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import cv2
import numpy as np
from scipy import ndimage

from seg.contracts import Case, SegError
from seg.data import folder

VERSION = 1
BODY, ORGAN, CORE, SPINE = 0.30, 0.52, 0.34, 0.80


def phantom(
    root: str | Path,
    patients: int,
    slices_per_patient: int,
    size: int,
    empty_fraction: float,
    noise: float,
    seed: int,
    classes: int = 1,
) -> list[Case]:
    """Generate the cohort under `root` unless it is there, and read it.

    Args:
        root: receives a folder for each recipe, with images/ and masks/ of 8-bit PNG in it.
        patients: number of cases.
        slices_per_patient: slices of each, from one end of the body to the other.
        size: height and width in pixels.
        empty_fraction: share of the patients that have no target, 0..1.
        noise: standard deviation of the Gaussian noise, of full scale.
        seed: of everything random in it.
        classes: 1: masks are 255 in the organ; 2: they are 1 in the organ and 2 in the spine, which
            no patient lacks, for `dataset.labels`.

    Raises:
        SegError: classes is neither 1 nor 2.
    """
    if classes not in (1, 2):
        raise SegError(f"dataset.reader.classes must be 1 or 2. Received: {classes}")
    recipe = {
        "version": VERSION,
        "patients": patients,
        "slices_per_patient": slices_per_patient,
        "size": size,
        "empty_fraction": empty_fraction,
        "noise": noise,
        "seed": seed,
        **({"classes": classes} if classes > 1 else {}),
    }
    target = Path(root) / (
        f"v{VERSION}-{patients}x{slices_per_patient}-{size}px"
        f"-empty{empty_fraction:g}-noise{noise:g}-seed{seed}"
        f"{f'-classes{classes}' if classes > 1 else ''}"
    )
    if not target.is_dir():
        _generate(target, recipe)
    return folder.read(target, patient_pattern=r"^(p\d+)_")


def _generate(target: Path, recipe: dict[str, float]) -> None:
    """Write aside, then rename: a killed or a parallel first run leaves no half cohort behind."""
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=".phantom-", dir=target.parent))
    for kind in ("images", "masks"):
        (aside / kind).mkdir()
    n_empty = round(recipe["empty_fraction"] * recipe["patients"])
    empty = {(j + 1) * recipe["patients"] // n_empty - 1 for j in range(n_empty)}
    for i in range(recipe["patients"]):
        rng = np.random.default_rng([recipe["seed"], i])
        anatomy = _anatomy(rng)
        if i in empty:
            anatomy["organ"] = None
        for k in range(recipe["slices_per_patient"]):
            height = (k + 0.5) / recipe["slices_per_patient"] * 2 - 1
            image_HW, mask_HW = _slice(anatomy, height, recipe["size"], rng, recipe["noise"])
            cv2.imwrite(str(aside / "images" / f"p{i:03d}_{k:02d}.png"), image_HW)
            if "classes" not in recipe:
                mask_HW = (mask_HW == 1).astype(np.uint8) * 255
            cv2.imwrite(str(aside / "masks" / f"p{i:03d}_{k:02d}.png"), mask_HW)
    (aside / "recipe.json").write_text(json.dumps(recipe, indent=2))
    aside.chmod(0o755)
    try:
        aside.rename(target)
    except OSError:
        shutil.rmtree(aside)
        if not target.is_dir():
            raise


def _anatomy(rng: np.random.Generator) -> dict:
    """Draw one patient: shapes as (y, x, radius_y, radius_x, reach along the body, lobes)."""

    def blob(y: float, x: float, radius: float, reach: float, lobes: float) -> dict:
        jitter = rng.uniform(-0.06, 0.06, 2)
        return {
            "centre": (y + jitter[0], x + jitter[1]),
            "radii": radius * rng.uniform(0.85, 1.15, 2),
            "middle": rng.uniform(-0.3, 0.3),
            "reach": reach * rng.uniform(0.85, 1.15),
            "lobes": rng.normal(0, lobes, (4, 2)) if lobes else [],
        }

    side = rng.choice([-1, 1])
    return {
        "body": blob(0, 0, 0.86, 4.0, 0.012),
        "organ": blob(rng.uniform(-0.25, 0.25), side * 0.38, 0.30, 0.95, 0.07),
        "decoys": [
            blob(rng.uniform(-0.35, 0.35), -side * 0.30, 0.20, 0.9, 0.03),
            blob(0.45, side * 0.15, 0.15, 0.9, 0.03),
            blob(-0.50, -side * 0.10, 0.17, 0.9, 0.03),
        ],
        "vessels": [
            blob(*rng.uniform(-0.55, 0.55, 2), rng.uniform(0.03, 0.06), 4.0, 0) for _ in range(5)
        ],
        "spine": blob(0.62, 0, 0.11, 4.0, 0.03),
        "bias": rng.uniform(-0.22, 0.22, 5),
    }


def _slice(
    anatomy: dict, height: float, size: int, rng: np.random.Generator, noise: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return one slice and its mask of organ (1) and spine (2), uint8 HW.

    `height` -1..1 runs along the body.
    """
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    image = np.zeros((size, size))
    image[_inside(anatomy["body"], height, y, x)] = BODY
    for vessel in anatomy["vessels"]:
        image[_inside(vessel, height, y, x) & (image > 0)] = ORGAN
    for decoy in anatomy["decoys"]:
        image[_inside(decoy, height, y, x)] = ORGAN
        image[_inside(decoy | {"radii": decoy["radii"] * 0.4}, height, y, x)] = CORE
    mask = np.zeros((size, size), np.uint8)
    for index, name, grey in ((1, "organ", ORGAN), (2, "spine", SPINE)):
        if anatomy[name]:
            inside = _inside(anatomy[name], height, y, x)
            image[inside], mask[inside] = grey, index
    image = ndimage.gaussian_filter(image, size / 200)
    b = anatomy["bias"]
    image *= 1 + b[0] * y + b[1] * x + b[2] * y * x + b[3] * (y**2 - 0.3) + b[4] * (x**2 - 0.3)
    image += rng.normal(0, noise, image.shape)
    return np.clip(image * 255, 0, 255).round().astype(np.uint8), mask


def _inside(blob: dict, height: float, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return where (y, x) lies in the blob's cross-section: an ellipse with harmonic lobes."""
    along = (height - blob["middle"]) / blob["reach"]
    if abs(along) >= 1:
        return np.zeros(y.shape, bool)
    dy = (y - blob["centre"][0]) / blob["radii"][0]
    dx = (x - blob["centre"][1]) / blob["radii"][1]
    turn = (dx + 1j * dy) / np.maximum(np.hypot(dx, dy), 1e-9)
    edge = 1.0
    for harmonic, (a, b) in enumerate(blob["lobes"], start=2):
        wave = turn**harmonic
        edge = edge + a * wave.real + b * wave.imag
    return dx**2 + dy**2 < edge**2 * (1 - along**2)
