"""What a number can be traced to: seeds, commit, versions, command."""

from __future__ import annotations

import getpass
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

CODE = (":/seg", ":/conf")
PACKAGES = ("tensorflow", "keras", "numpy", "opencv-python-headless", "mlflow")


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy, TensorFlow and Keras, and forget the layers of an earlier run."""
    import keras  # here, since a sweep tells its provenance without TensorFlow

    keras.utils.clear_session(free_memory=True)
    keras.utils.set_random_seed(seed)


def provenance(folder: Path, overrides: Sequence[str]) -> dict[str, str]:
    """Return tags that say which code ran where: commit, dirty, command, host, versions.

    They are left in provenance.json of the run's folder, with the overrides that compose its config
    again, beside changes.diff where the code is not the commit's.
    """
    tags = _tags()
    if patch := changes():
        (folder / "changes.diff").write_bytes(patch)
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


def changes() -> bytes:
    """Return what is not committed of this package's checkout, as a patch that `git apply` takes.

    Of files that git does not know those in seg/ and conf/; others do not run.
    """
    if not _is_checkout():
        return b""
    how = ("--no-color", "--no-ext-diff", "--binary")
    unknown = _git("ls-files", "-z", "--others", "--exclude-standard", "--full-name", *CODE)
    new = [
        _git("diff", *how, "--no-index", "--", "/dev/null", name, cwd=Path(__file__).parents[1])
        for name in os.fsdecode(unknown or b"").split("\0")
        if name
    ]
    return b"".join(part for part in (_git("diff", *how, "HEAD", "--", ":/"), *new) if part)


def requirements() -> list[str]:
    """Return what a saved model needs, as pip requirements; MLflow's guess forgets tensorflow."""
    return [f"{name}=={importlib.metadata.version(name)}" for name in ("tensorflow", "keras")]


def _commit() -> dict[str, str]:
    """Return the commit of this package's own checkout; an installed wheel has a version only."""
    version = {"version.seg": importlib.metadata.version("seg")}
    if not _is_checkout():
        return version
    return version | {
        "mlflow.source.git.commit": _line("rev-parse", "HEAD") or "none",
        "git.dirty": str(bool(_line("status", "--porcelain"))).lower(),
    }


def _is_checkout() -> bool:
    return _git("ls-files", "--error-unmatch", Path(__file__).name) is not None


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user id without a name
        return "unknown"


def _git(*arguments: str, cwd: Path = Path(__file__).parent) -> bytes | None:
    """Return what git says; None where it fails, or is not there."""
    try:
        done = subprocess.run(["git", *arguments], cwd=cwd, capture_output=True)
    except FileNotFoundError:
        return None
    # 1 is a difference.
    failed = done.returncode > ("--no-index" in arguments)
    return None if failed else done.stdout


def _line(*arguments: str) -> str | None:
    """Return what git says in a line of text."""
    said = _git(*arguments)
    return None if said is None else said.decode(errors="replace").strip()
