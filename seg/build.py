"""From a `_target_` of a YAML to the object: the replaceable parts, their arguments checked."""

from __future__ import annotations

import difflib
import importlib.metadata
import importlib.util
import inspect
import re
import textwrap
from collections.abc import Mapping
from dataclasses import make_dataclass
from typing import Any, get_type_hints

from hydra.errors import InstantiationException
from hydra.utils import get_method, instantiate
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from seg.contracts import SegError

PLAIN: list[Any] = [
    *(bool, int, float, str),
    *(bool | None, int | None, float | None, str | None),
    *(list[int], list[float], list[str]),
    *(list[int] | None, list[float] | None, list[str] | None),
]


def build(key: str, node: DictConfig | dict, **given: Any) -> Any:  # noqa: ANN401
    """Instantiate the replaceable part at `key`; `given` are the arguments that code supplies.

    A mapping of named parts becomes a dict without those set to null. A `name`, by which runs are
    called, does not reach a target that takes none.

    Raises:
        SegError: an argument is unknown, missing or mistyped, or the part refuses it.
    """
    node = OmegaConf.create(node) if isinstance(node, dict) else node
    try:
        _check_arguments(key, node, set(given))
        made = instantiate(_without_surplus_name(node), **given, _convert_="all")
    except InstantiationException as error:
        cause = error.__cause__ or error
        if isinstance(cause, SegError):
            raise cause from error
        kind = "" if isinstance(cause, ValueError) else f"{type(cause).__name__}: "
        part = re.search(rf"full_key: ({re.escape(key)}\S*)", str(error))
        raise SegError(f"{part[1] if part else key}: {kind}{_one_line(cause)}") from error
    is_mapping = isinstance(made, dict)
    return {name: part for name, part in made.items() if part is not None} if is_mapping else made


def _check_arguments(key: str, node: Any, given: set[str]) -> None:  # noqa: ANN401
    """Compare names and values with the signature of each `_target_`: it is the schema."""
    if not isinstance(node, Mapping | DictConfig):
        return
    made_by = target(key, node) if "_target_" in list(node) else None  # `in` skips missing values
    for name in node:
        if not OmegaConf.is_missing(node, name):
            _check_arguments(f"{key}.{name}", node[name], set())
    if made_by is None:
        return
    _check_names(key, node, made_by, given)
    hints = _hints(made_by)
    simple = {name: hint for name, hint in hints.items() if name in node and hint in PLAIN}
    schema = OmegaConf.structured(make_dataclass("Arguments", simple.items()))
    for name in simple:
        try:
            schema[name] = node[name]
        except OmegaConfBaseException as error:
            said = _one_line(error).partition(" full_key:")[0]
            if "is not a ListConfig" in said:
                said = f"must be a list, [a, b]. Received: {node[name]}"
            raise SegError(f"{key}.{name}: {said}") from error


def _hints(made_by: Any) -> dict[str, Any]:  # noqa: ANN401
    try:
        return get_type_hints(made_by.__init__ if inspect.isclass(made_by) else made_by)
    except (NameError, TypeError):  # imported for type checkers only, or no plain function
        return {}


def target(key: str, node: Any) -> Any:  # noqa: ANN401
    """Import what a `_target_` names.

    Raises:
        SegError: there is no such thing.
    """
    missing = OmegaConf.is_missing(node, "_target_")
    if missing or not re.fullmatch(r"[^\W\d]\w*(\.\w+)+", str(node["_target_"])):
        raise SegError(f"{key}._target_: must name a function or class, as my_package.my_function")
    package = node["_target_"].partition(".")[0]
    if importlib.util.find_spec(package) is None:
        how = f"pip install -e '.[{package}]'" if package in _extras() else "install it"
        raise SegError(
            f"{key}._target_={node['_target_']}: there is no package {package} here; {how}, "
            "or put the folder that holds it on PYTHONPATH"
        )
    _require_known(key, node["_target_"])
    try:
        return get_method(node["_target_"])
    except (ImportError, ValueError) as error:
        raise SegError(f"{key}._target_: {_one_line(error)}") from error


def _extras() -> list[str]:
    try:
        return importlib.metadata.metadata("seg").get_all("Provides-Extra") or []
    except importlib.metadata.PackageNotFoundError:  # run from a checkout
        return []


def _require_known(key: str, path: str) -> None:
    """Say what a module has instead of what it has not."""
    name, _, wanted = path.rpartition(".")
    try:
        module = importlib.import_module(name)
    except ImportError:
        return
    if not hasattr(module, wanted):
        close = difflib.get_close_matches(wanted, dir(module), n=1)
        hint = f"did you mean {name}.{close[0]}?" if close else "see what it defines"
        raise SegError(f"{key}._target_={path}: {name} has no {wanted}; {hint}")


def _check_names(key: str, node: Any, made_by: Any, given: set[str]) -> None:  # noqa: ANN401
    parameters = inspect.signature(made_by).parameters
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        return
    for name in sorted(given - set(parameters)):
        raise SegError(f"{key}: {node['_target_']} must take {name}, which it is called with")
    unknown = [name for name in node if name not in {*parameters, "name"} and name[0] != "_"]
    if unknown:
        takes = ", ".join(name for name in parameters if name not in given) or "nothing"
        raise SegError(
            f"{key}.{unknown[0]}: {node['_target_']} has no such argument; it takes {takes}"
        )
    needed = {
        name
        for name, p in parameters.items()
        if p.default is p.empty and p.kind is not p.VAR_POSITIONAL
    }
    if missing := sorted(needed - given - set(node)):
        wanted = f"{key}.{missing[0]}"
        raise SegError(f"{wanted}: {node['_target_']} cannot do without; add +{wanted}=VALUE")


def _without_surplus_name(node: Any) -> Any:  # noqa: ANN401
    """Leave out `name` where the target does not take it."""
    if not isinstance(node, DictConfig) or not {"_target_", "name"} <= set(node):
        return node
    parameters = inspect.signature(get_method(node._target_)).parameters
    if "name" in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return node
    return OmegaConf.masked_copy(node, [str(key) for key in node if key != "name"])


def _one_line(error: BaseException) -> str:
    return textwrap.shorten(str(error) or repr(error), width=400, placeholder=" ...")
