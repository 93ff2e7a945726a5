"""The config of an earlier run, composed again: `rerun=RUN`."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from seg.contracts import SegError

FILES = ("config.yaml", "provenance.json", "data.json")
PLACES = ("sweep", "paths", "tracking.uri", "dataset.root", "dataset.source")
_ABSENT = object()

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Earlier:
    """What an earlier run has written of itself.

    Attributes:
        config: resolved.
        overrides: words of its command line.
        tags: its provenance.
        data: what it learned from, by side of the split; empty where it read none.
    """

    config: DictConfig
    overrides: tuple[str, ...]
    tags: Mapping[str, str]
    data: Mapping[str, Mapping]


_read_before: dict[str, Earlier] = {}


def earlier(name: str, uri: str) -> Earlier:
    """Read an earlier run, once in a process.

    Args:
        name: path of a run's folder, or an MLflow run id.
        uri: of the tracking server or store.

    Raises:
        SegError: there is no such run, or it is of a version that could not be repeated.
    """
    if name not in _read_before:
        _read_before[name] = _find(name, uri)
    return _read_before[name]


def words(arguments: Sequence[str]) -> list[str]:
    """Put the words of the earlier run's command before those given, which win.

    Args:
        arguments: of the command line; returned as they are where no `rerun=RUN` is among them.

    Raises:
        SegError: there is no such run, or a word cannot stand beside it.
    """
    given = values(arguments)
    if given.get("rerun", "null") == "null":
        return [*arguments]
    if not given["rerun"]:
        raise SegError("rerun= names no run; give a run's folder or its MLflow id")
    if "experiment" in given:
        raise SegError(
            "experiment= sets what the earlier run has set: leave out either it or rerun="
        )
    was = earlier(given["rerun"], uri(given))
    return [*(word for word in was.overrides if not _replaced(word, arguments)), *arguments]


def uri(given: Mapping[str, str]) -> str:
    """Return where runs are looked for, as the words of a command line say."""
    from seg.track import find

    return given.get("tracking.uri") or find.default_uri(outputs(given))


def outputs(given: Mapping[str, str]) -> Path:
    """Return where runs lie, as the words of a command line say."""
    return Path(given.get("paths.outputs") or os.environ.get("SEG_OUTPUTS") or "outputs")


def merged(
    before: DictConfig, base: DictConfig, now: DictConfig, typed: Sequence[str]
) -> DictConfig:
    """Return the earlier config with what differs between two of today.

    Args:
        before: of the earlier run.
        base: what its command line composes today.
        now: the same with the words that were added; what they do not change is as `before`, also
            where a file of conf/ has changed since; only a key that is new since is as today, and
            where data and results lie.
        typed: these words; what they name is as in `now` even where it is as in `base`.
    """
    plain = (OmegaConf.to_container(cfg, enum_to_str=True) for cfg in (before, base, now))
    cfg = OmegaConf.create(_merged(*plain))
    for key in (*PLACES, *map(key_of, typed)):
        if (value := OmegaConf.select(now, key, default=_ABSENT)) is not _ABSENT:
            OmegaConf.update(cfg, key, value, merge=False, force_add=True)
    return cfg


def warn_of_differences(name: str, was: Earlier, tags: Mapping, data: Mapping) -> None:
    """Say in the log what keeps a rerun's numbers from being those of the earlier run."""
    sides = [side for side in was.data if was.data[side] != data.get(side)]
    if sides and data:
        log.warning("rerun: the data is not that of %s (%s)", name, ", ".join(sides))
    commits = [tags_.get("mlflow.source.git.commit", "unknown") for tags_ in (was.tags, tags)]
    if commits[0] != commits[1]:
        log.warning("rerun: the code of %s was commit %s, this is %s", name, *commits)
    elif "true" in (was.tags.get("git.dirty"), tags.get("git.dirty")):
        log.warning("rerun: the code has changes that are not committed, see changes.diff of both")


def _merged(before: Any, base: Any, now: Any) -> Any:  # noqa: ANN401  what YAML can say
    if not all(isinstance(value, dict) for value in (before, base, now)):
        return before if base == now and before is not _ABSENT else now
    keys = dict.fromkeys([*before, *now])
    values = {key: _merged(*(d.get(key, _ABSENT) for d in (before, base, now))) for key in keys}
    return {key: value for key, value in values.items() if value is not _ABSENT}


def values(arguments: Sequence[str]) -> dict[str, str]:
    """Return what the words of a command line set, by key."""
    return {key_of(word): word.partition("=")[2].strip("'\"") for word in arguments}


def key_of(word: str) -> str:
    """Return what a word of a command line sets."""
    return word.lstrip("+~").partition("=")[0]


def _replaced(word: str, arguments: Sequence[str]) -> bool:
    """Say whether an earlier word is said anew, or is of a part that is replaced."""
    key = key_of(word)
    # What + has added is still to be there when another value is set.
    anew = [key_of(one) for one in arguments if not word.startswith("+") or one.startswith("+")]
    return key in anew or any(key.startswith(f"{key_of(one)}.") for one in arguments)


def _find(name: str, uri: str) -> Earlier:
    if Path(name, FILES[0]).exists():
        return _read(Path(name))
    from seg.track import find

    with tempfile.TemporaryDirectory() as folder:
        find.fetch_files(name, "rerun", FILES, uri, Path(folder))
        return _read(Path(folder))


def _read(folder: Path) -> Earlier:
    try:
        provenance = json.loads((folder / "provenance.json").read_text())
    except FileNotFoundError as error:
        raise SegError(
            f"rerun: {folder} has no provenance.json; runs before version 0.2 are repeated by the "
            "command in their tag mlflow.source.name"
        ) from error
    data = folder / "data.json"
    return Earlier(
        OmegaConf.load(folder / "config.yaml"),
        tuple(provenance["overrides"]),
        provenance["tags"],
        json.loads(data.read_text()) if data.exists() else {},
    )
