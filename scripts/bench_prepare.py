"""Measure preparation: slices per second, peak memory against the volume's size, the second run.

Generates CT-like volumes of several sizes, prepares four of each size with dataset=spleen's recipe
in a process of its own, and prints a table. `python scripts/bench_prepare.py`
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np

SIZES = ((256, 256, 60), (512, 512, 60), (512, 512, 120), (512, 512, 240))
CASES = 4
ONE_RUN = """
import json, sys, time
from pathlib import Path
from seg.data import prepare, prepared
from seg.data.intensity import Window
from seg.data.nifti import NiftiPairs
from seg.data.recipe import Recipe

def peak_mib():
    status = Path("/proc/self/status").read_text()  # getrusage would count the parent's memory
    return int(status.split("VmHWM:")[1].split()[0]) / 1024

patterns = [f"{kind}Tr/(?P<patient>.+).nii.gz$" for kind in ("images", "labels")]
reader = NiftiPairs(*patterns, "axial", None, 0.1)
recipe = Recipe(Window(50, 400), None, [1], True, 8)
before, wall, cpu = peak_mib(), time.perf_counter(), time.process_time()
home = prepare.prepare(Path(sys.argv[1]), Path(sys.argv[2]), reader, recipe, {"recipe": {}})
prepared_s, cpu_s = time.perf_counter() - wall, time.process_time() - cpu
wall = time.perf_counter()
slices = sum(len(case.slices) for case in prepared.read(home))
print(json.dumps([slices, prepared_s, cpu_s, peak_mib() - before, time.perf_counter() - wall]))
"""


def write(root: Path, shape: tuple[int, int, int]) -> None:
    """Write CASES volumes of int16 HU with a body, an organ and noise."""
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n, dtype=np.float32) for n in shape), indexing="ij")
    organ = (x + 0.3) ** 2 + (y - 0.2) ** 2 + z**2 < 0.05
    body = np.where(x**2 + y**2 < 0.7, 40, -1000) + np.where(organ, 80, 0)
    rng = np.random.default_rng(0)
    for n in range(CASES):
        image = (body + rng.normal(0, 12, shape)).astype(np.int16)
        for kind, voxels in (("imagesTr", image), ("labelsTr", organ.astype(np.uint8))):
            (root / kind).mkdir(parents=True, exist_ok=True)
            affine = np.diag([-0.8, -0.8, 3, 1])
            nib.save(nib.Nifti1Image(voxels, affine), root / kind / f"case{n}.nii.gz")


def measure(source: Path, into: Path) -> list[float]:
    """Prepare in a new process: slices, seconds, CPU-seconds, peak MiB, seconds to read again."""
    done = subprocess.run(
        [sys.executable, "-c", ONE_RUN, str(source), str(into)],
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(done.stdout)


def main() -> None:
    """Print the table."""
    head = (
        "volume",
        "float32 MiB",
        "slices/s",
        "CPU-ms a slice",
        "peak MiB",
        "2nd run s",
        "checked s",
    )
    sys.stdout.write("| " + " | ".join(head) + " |\n" + "|---" * len(head) + "|\n")
    for shape in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            source, into = Path(folder, "raw"), Path(folder, "data")
            write(source, shape)
            slices, wall_s, cpu_s, peak_mib, _ = measure(source, into)
            _, second_s, _, _, checked_s = measure(source, into)
        row = (
            "x".join(map(str, shape)),
            f"{4 * np.prod(shape) / 2**20:.0f}",
            f"{slices / wall_s:.0f}",
            f"{1000 * cpu_s / slices:.1f}",
            f"{peak_mib:.0f}",
            f"{second_s:.3f}",
            f"{checked_s:.2f}",
        )
        sys.stdout.write("| " + " | ".join(row) + " |\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
