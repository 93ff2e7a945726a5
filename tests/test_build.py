"""Facts about `seg.build`: parts from their YAML, and how a wrong argument is refused."""

import importlib.util
import sys
import textwrap

import pytest
from omegaconf import OmegaConf

from seg.build import build
from seg.contracts import SegError


@pytest.fixture(autouse=True)
def package(tmp_path, monkeypatch):
    """A user's own module, `mine`."""
    (tmp_path / "mine.py").write_text(
        textwrap.dedent(
            """
            def plain(input_shape, width: int = 3):
                return input_shape, width
            def named(input_shape, name):
                return input_shape, name
            def anything(**arguments):
                return arguments
            def demanding(input_shape, depth: int):
                return depth
            def hinted(input_shape: "NotImported", width: "NotImported" = 3):
                return width
            def unshaped(width=3):
                return width
            def failing(input_shape):
                raise KeyError("backbone")
            class Kind:
                def __init__(self, size: float | None = None):
                    if size and size < 0:
                        raise ValueError("size must be 0 or more")
                    self.size = size
            """
        )
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("mine", None)


def made(function, **arguments):
    node = OmegaConf.create({"_target_": f"mine.{function}", **arguments})
    return build("model", node, input_shape=(8, 8, 1))


def test_arguments_of_the_yaml_and_of_the_code_meet_in_the_target():
    assert made("plain", width=5) == ([8, 8, 1], 5)


def test_a_name_reaches_only_who_takes_it():
    assert made("plain", name="mine") == ([8, 8, 1], 3)
    assert made("named", name="mine") == ([8, 8, 1], "mine")
    assert made("anything", name="mine") == {"input_shape": [8, 8, 1], "name": "mine"}


def test_parts_by_name_become_a_dict_without_those_left_out():
    node = OmegaConf.create({"one": {"_target_": "mine.Kind", "size": 2}, "none": None})
    assert {name: part.size for name, part in build("parts", node).items()} == {"one": 2}


def test_a_part_that_refuses_its_value_is_named_by_its_key():
    node = OmegaConf.create({"augment": {"turn": {"_target_": "mine.Kind", "size": -1}}})
    with pytest.raises(SegError, match="^augment.turn: size must be 0 or more$"):
        build("augment", node.augment)


@pytest.mark.parametrize(
    ("function", "arguments", "sentence"),
    [
        ("plain", {"wdith": 5}, r"model.wdith: mine.plain has no such argument; it takes width$"),
        ("named", {"width": 5, "name": "x"}, "model.width: mine.named has no such .* takes name$"),
        ("plain", {"width": "broad"}, r"model.width: Value 'broad' .* could not be converted"),
        ("demanding", {}, r"model.depth: mine.demanding cannot do without; add \+model.depth="),
        ("plane", {}, "model._target_=mine.plane: mine has no plane; did you mean mine.plain"),
        ("unshaped", {}, "model: mine.unshaped must take input_shape, which it is called with"),
        ("failing", {}, "model: KeyError: 'backbone'"),
    ],
)
def test_what_does_not_fit_the_signature_is_refused(function, arguments, sentence):
    with pytest.raises(SegError, match=sentence):
        made(function, **arguments)


@pytest.mark.parametrize("target", ["???", None, 5, "", ".foo", "nodots", "a b.c"])
def test_a_target_that_names_nothing_is_asked_for(target):
    with pytest.raises(SegError, match="model._target_: must name a function or class"):
        build("model", OmegaConf.create({"_target_": target, "name": "custom"}))


def test_hints_that_cannot_be_resolved_check_nothing():
    assert made("hinted", width="broad") == "broad"


def test_a_package_of_an_extra_names_the_extra():
    if importlib.util.find_spec("medicai"):
        pytest.skip("medicai is installed")
    with pytest.raises(SegError, match=r"no package medicai here; pip install -e '.\[medicai\]'"):
        build("model", OmegaConf.create({"_target_": "medicai.models.UNet"}))


def test_a_package_that_is_not_installed_is_named():
    with pytest.raises(SegError, match="there is no package missing_package here; install it"):
        build("model", OmegaConf.create({"_target_": "missing_package.models.UNet"}))
