"""The layers and fences of CONTRIBUTING.md, read off the source with ast."""

import ast
from pathlib import Path

import pytest

SEG = Path(__file__).parents[1] / "seg"
LAYERS = {
    "job": 7,
    "predict": 7,
    "run": 6,
    "assist": 5,
    "compare": 5,
    "export": 5,
    "sync": 5,
    "sweep": 5,
    "stages": 4,
    "exported": 4,
    "resume": 4,
    "which": 3,
    "rerun": 3,
    "finished": 3,
    "parts": 3,
    "train": 3,
    "evaluate": 3,
    "infer": 3,
    "describe": 3,
    "summary": 3,
    "page": 3,
    "params": 2,
    "devices": 2,
    "data": 2,
    "augment": 2,
    "models": 2,
    "losses": 2,
    "metrics": 2,
    "figures": 2,
    "reproduce": 2,
    "report": 2,
    "tables": 1,
    "track": 2,
    "jobs": 2,
    "runfolder": 2,
    "command": 2,
    "workers": 1,
    "config": 1,
    "build": 1,
    "contracts": 0,
}
FENCES = {
    "hydra": {"run", "predict", "jobs", "config", "build"},
    "omegaconf": {
        "run",
        "predict",
        "stages",
        "rerun",
        "sweep",
        "job",
        "assist",
        "parts",
        "config",
        "build",
        "params",
    },
    "mlflow": {"track"},
    "optuna": {"jobs"},
    "nibabel": {"data"},
    "tensorflow": {"data", "devices", "workers", "train", "summary", "exported"},
    "matplotlib": {"figures"},
    "jinja2": {"page"},
}
FILES = sorted(path for path in SEG.rglob("*.py") if path.name != "__init__.py")


def room(path: Path) -> str:
    return path.relative_to(SEG).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_every_file_has_a_layer():
    assert {room(path) for path in FILES} == set(LAYERS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SEG)))
def test_imports_point_down_and_never_to_a_sibling(path):
    own = room(path)
    others = {name.split(".")[1] for name in imports(path) if name.startswith("seg.")} - {own}
    assert all(LAYERS[other] < LAYERS[own] for other in others)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SEG)))
def test_libraries_stay_behind_their_fences(path):
    for library, rooms in FENCES.items():
        if room(path) not in rooms:
            used = {name for name in imports(path) if name.split(".")[0] == library}
            assert not used, f"{library} belongs to {rooms}"


def test_nothing_heavy_is_imported_at_the_top_of_the_command_line():
    reached, queue = set(), [SEG / "run.py"]
    while queue:
        tree = ast.parse(queue.pop().read_text())
        for node in tree.body:
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            for name in set(names) - reached:
                reached.add(name)
                home = SEG.parent / name.replace(".", "/")
                files = (home.with_suffix(".py"), home / "__init__.py")
                queue += [file for file in files if file.exists()]
    roots = {name.split(".")[0] for name in reached}
    assert "hydra" in roots
    assert not roots & {"tensorflow", "keras", "mlflow", "matplotlib", "pandas", "scipy"}
