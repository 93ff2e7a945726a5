"""What a number can be traced to: seeds, commit, versions, command."""

from __future__ import annotations

import getpass
import importlib.metadata
import platform
import subprocess
import sys
from pathlib import Path

import keras

PACKAGES = ("tensorflow", "keras", "numpy", "opencv-python-headless", "mlflow")


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy, TensorFlow and Keras, and forget the layers of an earlier job."""
    keras.utils.clear_session(free_memory=True)
    keras.utils.set_random_seed(seed)


def provenance() -> dict[str, str]:
    """Return tags that say which code ran where: commit, dirty, command, host, versions."""
    return {
        **_commit(),
        "mlflow.source.name": " ".join(["python", *sys.orig_argv[1:]]),
        "mlflow.user": _user(),
        "host": platform.node(),
        "python": platform.python_version(),
        **{f"version.{name}": importlib.metadata.version(name) for name in PACKAGES},
    }


def requirements() -> list[str]:
    """Return what a saved model needs, as pip requirements; MLflow's guess forgets tensorflow."""
    return [f"{name}=={importlib.metadata.version(name)}" for name in ("tensorflow", "keras")]


def _commit() -> dict[str, str]:
    """Return the commit of this package's own checkout; an installed wheel has a version only."""
    here = Path(__file__).resolve()
    version = {"version.seg": importlib.metadata.version("seg")}
    if _git("ls-files", "--error-unmatch", here.name) is None:
        return version
    return version | {
        "mlflow.source.git.commit": _git("rev-parse", "HEAD") or "none",
        "git.dirty": str(bool(_git("status", "--porcelain"))).lower(),
    }


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user id without a name
        return "unknown"


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True
        )
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None
