"""What a number can be traced to."""

import subprocess

import keras
import numpy as np
import tensorflow

from seg import reproduce


def test_provenance_names_commit_command_and_versions(project):
    tags = reproduce.provenance()
    assert tags["version.tensorflow"] == tensorflow.__version__
    assert tags["mlflow.source.name"].startswith("python")
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=project, capture_output=True, text=True)
    if head.returncode == 0:
        assert tags["mlflow.source.git.commit"] == head.stdout.strip()
        assert tags["git.dirty"] in ("true", "false")


def test_a_seed_fixes_initial_weights():
    def weights(seed):
        reproduce.seed_everything(seed)
        layer = keras.layers.Dense(3)
        layer.build((None, 4))
        return np.array(layer.kernel)

    np.testing.assert_array_equal(weights(1), weights(1))
    assert not np.array_equal(weights(1), weights(2))


def test_a_model_needs_the_versions_it_was_trained_with():
    assert f"tensorflow=={tensorflow.__version__}" in reproduce.requirements()
