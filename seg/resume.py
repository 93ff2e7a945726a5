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
from seg.jobs.record import STATE, write_whole

PLAN = "sweep.json"
MAY_DIFFER = (
    *("hydra/launcher=", "hydra.launcher.", "hydra.sweeper."),
    *("paths.", "sweep.", "-m", "--multirun"),
)


def words(arguments: Sequence[str]) -> list[str]:
    """Put the words that a sweep was begun with before those given.

    Args:
        arguments: of the command line; returned as they are where no `sweep.resume=NAME` is among
            them.

    Raises:
        SegError: there is no such sweep, or a word would make its jobs others.
    """
    given = rerun.values(arguments)
    name = given.get("sweep.resume", "null")
    if name == "null":
        return [*arguments]
    if others := [word for word in arguments if not word.startswith(MAY_DIFFER)]:
        raise SegError(
            f"{others[0]}: a sweep goes on with the jobs that it was begun with; leave it out "
            "beside sweep.resume, or begin another sweep"
        )
    folder = _folder(name, given)
    plan = _read(folder)
    # A folder of today must not lead its jobs elsewhere than those before.
    places = {**plan["places"], "hydra.sweep.dir": str(folder.resolve())}
    typed = [word for word in arguments if "=" in word]
    kept = [word for word in plan["words"] if rerun.key_of(word) not in {*given, *places}]
    if "hydra/launcher" in given:
        kept = [word for word in kept if not word.startswith("hydra.launcher.")]
    here = [f"{key}={_quoted(value)}" for key, value in places.items() if key not in given]
    return ["-m", *kept, *typed, *here]


def plan(
    folder: Path,
    resumed: str | None,
    places: Mapping[str, str],
    params: Mapping[str, str],
    jobs: Sequence[Sequence[str]],
) -> dict[str, Any]:
    """Return what makes a sweep what it is, which is written when it begins.

    Args:
        folder: of the sweep.
        resumed: the sweep that goes on, None where one begins.
        places: by key of the config, what its jobs share whatever folder it goes on from.
        params: what is swept.
        jobs: of a grid, the words of each that they do not share.

    Returns:
        id, words of the command line, places, params and jobs.

    Raises:
        SegError: the folder holds a sweep, and it is not resumed; or the other way round.
    """
    file = folder / PLAN
    (folder / STATE).mkdir(parents=True, exist_ok=True)
    if resumed and not file.exists():
        raise SegError(f"sweep.resume: {folder} holds no sweep")
    if file.exists() and not resumed:
        raise SegError(f"hydra.sweep.dir: {folder} holds a sweep; sweep.resume={folder} goes on")
    if not file.exists():
        typed = [word for word in sys.argv[1:] if not word.startswith("hydra.sweep.dir=")]
        id_ = f"{folder.name}-{secrets.token_hex(4)}"
        begun = {"id": id_, "words": typed, "places": dict(places), "params": dict(params)}
        write_whole(file, json.dumps({**begun, "jobs": [[*job] for job in jobs]}, indent=1) + "\n")
    return _read(folder)


def _read(folder: Path) -> dict[str, Any]:
    return json.loads((folder / PLAN).read_text())


def identity(folder: Path) -> str:
    """Return the name that a sweep shares with no other, whatever its folder is called."""
    return _read(folder)["id"]


def swept(folder: Path, words: Sequence[str]) -> list[str]:
    """Return those of a job's words that make it another than its siblings."""
    params = _read(folder)["params"]
    return [word for word in words if rerun.key_of(word) in params]


def _quoted(value: str) -> str:
    """Write a value so that Hydra reads it as it is."""
    return '"{}"'.format(value.replace("\\", "\\\\").replace('"', '\\"'))


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
