"""A sweep that goes on where it was: `sweep.resume=NAME`."""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from seg import rerun
from seg.contracts import SegError
from seg.jobs.record import STATE

PLAN = "sweep.json"
MAY_DIFFER = ("hydra", "paths.", "tracking.uri=", "sweep.", "-m", "--multirun")


def words(arguments: Sequence[str]) -> list[str]:
    """Put the words that a sweep was begun with before those given.

    Args:
        arguments: of the command line; returned as they are where no `sweep.resume=NAME` is among
            them.

    Raises:
        SegError: there is no such sweep, or a word would make its jobs others.
    """
    given = {rerun.key_of(word): word.partition("=")[2].strip("'\"") for word in arguments}
    name = given.get("sweep.resume", "null")
    if name == "null":
        return [*arguments]
    if others := [word for word in arguments if not word.startswith(MAY_DIFFER)]:
        raise SegError(
            f"{others[0]}: a sweep goes on with the jobs that it was begun with; leave it out "
            "beside sweep.resume, or begin another sweep"
        )
    folder = _folder(name, given)
    plan = json.loads((folder / PLAN).read_text())
    kept = [word for word in plan["words"] if rerun.key_of(word) not in given]
    here = [] if "hydra.sweep.dir" in given else [f"hydra.sweep.dir={folder}"]
    return ["-m", *kept, *(word for word in arguments if "=" in word), *here]


def plan(
    folder: Path, resumed: str | None, params: Mapping[str, str], jobs: Sequence[Sequence[str]]
) -> dict[str, Any]:
    """Return id, words, swept parameters and jobs of a sweep, which are written when it begins.

    Raises:
        SegError: the folder holds a sweep, and it is not resumed.
    """
    file = folder / PLAN
    (folder / STATE).mkdir(parents=True, exist_ok=True)
    if file.exists() and not resumed:
        raise SegError(f"hydra.sweep.dir: {folder} holds a sweep; sweep.resume={folder} goes on")
    if not file.exists():
        typed = [word for word in sys.argv[1:] if not word.startswith("hydra.sweep.dir=")]
        id_ = f"{folder.name}-{secrets.token_hex(4)}"
        begun = {
            "id": id_,
            "words": typed,
            "params": dict(params),
            "jobs": [[*job] for job in jobs],
        }
        file.write_text(json.dumps(begun, indent=1) + "\n")
    return json.loads(file.read_text())


def identity(folder: Path) -> str:
    """Return the name that a sweep shares with no other, whatever its folder is called."""
    file = folder / PLAN
    return json.loads(file.read_text())["id"] if file.exists() else folder.name


def swept(folder: Path, words: Sequence[str]) -> list[str]:
    """Return those of a job's words that make it another than its siblings."""
    params = json.loads((folder / PLAN).read_text())["params"]
    return [word for word in words if word.partition("=")[0] in params]


def _folder(name: str, given: Mapping[str, str]) -> Path:
    """Find a sweep by its folder, its name or its MLflow id."""
    from seg.track import find

    outputs = rerun.outputs(given)
    for folder in (Path(name), outputs / "sweeps" / name):
        if (folder / PLAN).exists():
            return folder
    folder = find.folder_of(name, rerun.uri(given))
    if folder is None or not (folder / PLAN).exists():
        raise SegError(
            f"sweep.resume: no sweep {name} in {outputs / 'sweeps'}, and no folder and no MLflow "
            "run of this name; give the name that its folder has there"
        )
    return folder
