"""What a number can be traced to."""

import json
import os
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow

from seg import reproduce


def test_provenance_names_commit_command_and_versions(project, tmp_path):
    tags = reproduce.provenance(tmp_path, ["rerun=a", "seed=1"])
    written = json.loads((tmp_path / "provenance.json").read_text())
    assert written == {"overrides": ["seed=1"], "tags": tags}
    assert (tmp_path / "changes.diff").exists() == (tags.get("git.dirty") == "true")
    assert tags["version.tensorflow"] == tensorflow.__version__
    assert tags["mlflow.source.name"].startswith("python")
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=project, capture_output=True, text=True)
    if head.returncode == 0:
        assert tags["mlflow.source.git.commit"] == head.stdout.strip()
        assert tags["git.dirty"] in ("true", "false")


def test_changes_are_those_that_a_commit_lacks(project, tmp_path):
    """In a clone, where a file is changed, one is new, and one lies where no code is."""
    clone = tmp_path / "clone"
    done = subprocess.run(["git", "clone", "--quiet", project, clone], capture_output=True)
    if done.returncode:
        pytest.skip("the project is not a git checkout")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a", "-C", clone]
    (clone / "seg" / "latin.txt").write_bytes(b"caf\xe9\n\n\n")
    shutil.copy(reproduce.__file__, clone / "seg")
    subprocess.run([*git, "add", "seg"], check=True)
    subprocess.run([*git, "commit", "--quiet", "--message", "latin"], check=True)
    subprocess.run([*git, "config", "color.ui", "always"], check=True)
    ask = "import sys; from seg import reproduce; sys.stdout.buffer.write(reproduce.changes())"

    with (clone / "seg" / "build.py").open("a") as file:
        file.write("# mine\n")
    (clone / "seg" / "latin.txt").write_bytes(b"caf\xe9s\n\n\n")
    (clone / "conf" / "loss" / "é.yaml").write_text("name: mine\n")
    (clone / "conf" / "weights.bin").write_bytes(bytes(range(256)))
    (clone / "conf" / "nowhere.yaml").symlink_to("gone")
    (clone / "notes.txt").write_text("private\n")
    environment = os.environ | {"PYTHONPATH": str(clone)}
    patch = subprocess.run(
        [sys.executable, "-c", ask], cwd=clone, env=environment, stdout=-1, check=True
    ).stdout
    assert b"private" not in patch
    again = tmp_path / "again"
    subprocess.run(["git", "clone", "--quiet", clone, again], check=True)
    subprocess.run(["git", "-C", again, "apply", "-"], input=patch, check=True)
    for name in ("seg/build.py", "seg/latin.txt", "conf/loss/é.yaml", "conf/weights.bin"):
        assert (again / name).read_bytes() == (clone / name).read_bytes()


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
