"""What a number can be traced to: seeds, commit, versions, command."""

from __future__ import annotations

import getpass
import importlib.metadata
import json
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import keras

PACKAGES = ("tensorflow", "keras", "numpy", "opencv-python-headless", "mlflow")


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy, TensorFlow and Keras, and forget the layers of an earlier job."""
    keras.utils.clear_session(free_memory=True)
    keras.utils.set_random_seed(seed)


def provenance(folder: Path, overrides: Sequence[str]) -> dict[str, str]:
    """Return tags that say which code ran where: commit, dirty, command, host, versions.

    They are left in provenance.json of the run's folder, with the overrides that compose its config
    again, beside changes.diff where the code is not the commit's.
    """
    tags = _tags()
    if text := changes():
        (folder / "changes.diff").write_text(text)
    again = [word for word in overrides if not word.startswith("rerun=")]
    content = {"overrides": again, "tags": tags}
    (folder / "provenance.json").write_text(json.dumps(content, indent=2) + "\n")
    return tags


def _tags() -> dict[str, str]:
    return {
        **_commit(),
        "mlflow.source.name": " ".join(["python", *sys.orig_argv[1:]]),
        "mlflow.user": _user(),
        "host": platform.node(),
        "python": platform.python_version(),
        **{f"version.{name}": importlib.metadata.version(name) for name in PACKAGES},
    }


def changes() -> str:
    """Return what is not committed of this package's checkout, as `git diff` shows it.

    Files that git does not know are there in full if they lie in seg/ or conf/; others do not run.
    """
    tracked = _git("diff", "HEAD", "--", ":/")
    unknown = _git("ls-files", "--others", "--exclude-standard", "--full-name", ":/seg", ":/conf")
    if tracked is None or unknown is None or not _is_checkout():
        return ""
    top = Path(__file__).parents[1]
    new = [
        f"+++ new file {name}\n{(top / name).read_text(errors='replace')}"
        for name in unknown.splitlines()
    ]
    return "\n".join(part for part in (tracked, *new) if part)


def requirements() -> list[str]:
    """Return what a saved model needs, as pip requirements; MLflow's guess forgets tensorflow."""
    return [f"{name}=={importlib.metadata.version(name)}" for name in ("tensorflow", "keras")]


def _commit() -> dict[str, str]:
    """Return the commit of this package's own checkout; an installed wheel has a version only."""
    version = {"version.seg": importlib.metadata.version("seg")}
    if not _is_checkout():
        return version
    return version | {
        "mlflow.source.git.commit": _git("rev-parse", "HEAD") or "none",
        "git.dirty": str(bool(_git("status", "--porcelain"))).lower(),
    }


def _is_checkout() -> bool:
    return _git("ls-files", "--error-unmatch", Path(__file__).name) is not None


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
