"""What every test shares: quiet TensorFlow, a deterministic tiny cohort."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.pop("MLFLOW_TRACKING_URI", None)

import pytest


@pytest.fixture(scope="session")
def cohort(tmp_path_factory):
    """Folder with 6 patients of 4 slices, 32x32, one of them without target."""
    from seg.data.synthetic import phantom

    root = tmp_path_factory.mktemp("cohort")
    phantom(root, 6, 4, size=32, empty_fraction=0.17, noise=0.05, seed=0)
    return next(root.iterdir())
