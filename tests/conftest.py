"""What every test shares: quiet TensorFlow, a tiny cohort, a tiny experiment."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
for variable in ("MLFLOW_TRACKING_URI", "SEG_DATA", "SEG_OUTPUTS"):
    os.environ.pop(variable, None)

TINY = (
    "dataset.reader.patients=8",
    "dataset.reader.slices_per_patient=4",
    "dataset.reader.size=32",
    "dataset.reader.empty_fraction=0.125",
    "dataset.image_size=32",
    "model.levels=2",
    "model.base_filters=4",
    "trainer.epochs=2",
    "trainer.batch_size=4",
    "trainer.epoch_images=1",
)


@pytest.fixture(scope="session")
def tiny():
    """Overrides that make a run of the phantom with a U-Net last a second or two."""
    return TINY


@pytest.fixture(scope="session")
def cohort(tmp_path_factory):
    """Folder with 6 patients of 4 slices, 32x32, one of them without target."""
    from seg.data.synthetic import phantom

    root = tmp_path_factory.mktemp("cohort")
    phantom(root, 6, 4, size=32, empty_fraction=0.17, noise=0.05, seed=0)
    return next(root.iterdir())


@pytest.fixture
def experiment(tmp_path):
    """Run a tiny experiment in this process: overrides in, (objective, run folder) out."""
    from hydra import compose, initialize_config_dir

    from seg.config import conf_dir, validate
    from seg.run import new_folder, run

    def start(*overrides):
        paths = (f"paths.outputs={tmp_path}/outputs", f"paths.data={tmp_path}/data")
        with initialize_config_dir(conf_dir(), version_base="1.3"):
            cfg = validate(compose("config", [*TINY, *paths, *overrides]))
        folder = new_folder(cfg)
        return run(cfg, folder), folder

    return start


@pytest.fixture
def command(tmp_path):
    """Run `python -m seg.run` in an empty working folder, as a user would."""

    def start(*overrides, **environment):
        return subprocess.run(
            [sys.executable, "-m", "seg.run", *overrides],
            cwd=tmp_path,
            env=os.environ | environment,
            capture_output=True,
            text=True,
            timeout=300,
        )

    return start


@pytest.fixture(scope="session")
def readme_runs(project):
    """Arguments of every `python -m seg.run` of README.md."""
    lines = re.findall(r"^python -m seg.run (.*)$", (project / "README.md").read_text(), re.M)
    return [shlex.split(line, comments=True) for line in lines]


@pytest.fixture(scope="session")
def project():
    """Folder of the checkout."""
    return Path(__file__).parents[1]
