"""Errors of Hydra and OmegaConf in a sentence each."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

from hydra.errors import HydraException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException

from seg.config import schema
from seg.config.read import conf_dir

CONFIG_ERRORS = (HydraException, OmegaConfBaseException)


def explain(error: BaseException) -> str:
    """Turn an error of Hydra or OmegaConf into one sentence that says what to type."""
    lines = [line.strip() for e in _chain(error) for line in str(e).splitlines() if line.strip()]
    if isinstance(error, OverrideParseException):
        return (
            f"{error.override}: cannot be understood ({lines[0]}); put the argument in quotes, "
            "and a value with spaces or signs in its own: 'stages=[train,evaluate]', "
            "'key=\"a value\"'"
        )
    text = " ".join(lines)
    several = re.search(r"Ambiguous value for argument '([^']+)'", text)
    if several:
        return f"{several[1]}: several values are a sweep, -m is to be added; a list is [a,b]"
    unknown = re.search(r"Key '([^']+)' (?:is )?not in '?(\w+)'?", text)
    choice = re.search(r"Could not find '([\w/]+)/([^'/]+)'", text)
    if choice and choice[1] == "hydra/launcher":
        return (
            f"hydra/launcher={choice[2]}: no such launcher is installed; joblib is, and "
            "pip install -e '.[slurm]' brings submitit_slurm and submitit_local"
        )
    if choice:
        group, name = choice.groups()
        options = sorted(path.stem for path in Path(conf_dir(), group).glob("*.yaml"))
        return f"{group}={name}: no such choice; take one of {', '.join(options)}"
    if unknown:
        return _unknown_key(unknown[1], unknown[2], text)
    full_key = re.search(r"full_key: (\S+)", text)
    said = next((line for line in lines if not line.startswith("Error merging override")), text)
    return f"{full_key[1]}: {said}" if full_key else said


def _unknown_key(name: str, owner: str, text: str) -> str:
    full_key = re.search(r"full_key: (\S+)", text)
    key = full_key[1] if full_key else name
    typed = getattr(schema, owner, None)
    files = Path(conf_dir()).glob(f"{key.partition('.')[0]}/*.yaml")
    in_files = {k for file in files for k in re.findall(r"^ *(\w+):", file.read_text(), re.M)}
    known = list(typed.__dataclass_fields__) if typed else sorted(in_files)
    close = difflib.get_close_matches(name, known, n=1)
    prefix = key[: -len(name)] if key.endswith(name) else ""
    hint = f"did you mean {prefix}{close[0]}?" if close else "see --help for the keys there are"
    if close == [name] or (not typed and not close):
        hint = f"this choice has it not, see --help; +{key}=VALUE adds it for a part of your own"
    return f"{key}: no such key; {hint}"


def _chain(error: BaseException | None) -> list[BaseException]:
    return [] if error is None else [error, *_chain(error.__cause__)]
