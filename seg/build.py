"""From a `_target_` of a YAML to the object: the replaceable parts, their arguments checked."""

from __future__ import annotations

import inspect
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


def build(key: str, node: DictConfig, **given: Any) -> Any:  # noqa: ANN401
    """Instantiate the replaceable part at `key`; `given` are the arguments that code supplies.

    A mapping of named parts becomes a dict without those set to null.

    Raises:
        SegError: an argument is unknown or mistyped, or the part refuses it.
    """
    try:
        _check_arguments(key, node)
        made = instantiate(node, **given, _convert_="all")
    except InstantiationException as error:
        cause = error.__cause__ or error
        if isinstance(cause, SegError):
            raise cause from error
        raise SegError(f"{key}: {_one_line(cause)}") from error
    is_mapping = isinstance(made, dict)
    return {name: part for name, part in made.items() if part is not None} if is_mapping else made


def _check_arguments(key: str, node: Any) -> None:  # noqa: ANN401
    """Compare values with the annotations of each `_target_`: the signature is the schema."""
    if not isinstance(node, Mapping | DictConfig):
        return
    for name, child in node.items():
        _check_arguments(f"{key}.{name}", child)
    if "_target_" not in node:
        return
    try:
        target = get_method(node["_target_"])
    except (ImportError, ValueError) as error:
        raise SegError(f"{key}._target_: {_one_line(error)}") from error
    hints = get_type_hints(target.__init__ if inspect.isclass(target) else target)
    simple = {name: hint for name, hint in hints.items() if name in node and hint in PLAIN}
    schema = OmegaConf.structured(make_dataclass("Arguments", simple.items()))
    for name in simple:
        try:
            schema[name] = node[name]
        except OmegaConfBaseException as error:
            raise SegError(f"{key}.{name}: {_one_line(error)}") from error


def _one_line(error: BaseException) -> str:
    return textwrap.shorten(str(error) or repr(error), width=400, placeholder=" ...")
