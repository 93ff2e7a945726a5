"""Every command of README.md runs, as it stands there, on a tiny cohort."""

import re
import shlex
import shutil
from pathlib import Path

import pytest

README = (Path(__file__).parents[1] / "README.md").read_text()
BLOCKS = re.findall(r"^```\n(.*?)^```", README, re.M | re.S)
LINES = [line.split("#")[0].strip() for block in BLOCKS for line in block.splitlines()]
RUNS = [line for line in LINES if line.startswith("python -m seg.run")]
MAKES = [line for line in LINES if line.startswith("make ")]


def test_the_first_two_commands_are_run_and_test():
    assert LINES[:2] == ["make run", "make test"]


@pytest.mark.parametrize("line", MAKES)
def test_a_make_target_exists(line, project):
    assert re.search(rf"^{line.split()[1]}:", (project / "Makefile").read_text(), re.M)


@pytest.mark.parametrize("line", [line for line in RUNS if "stages=" not in line])
def test_a_command_runs(line, command, tmp_path, cohort, tiny):
    arguments = shlex.split(line.removeprefix("python -m seg.run"))
    for kind in ("images", "masks"):
        folder = tmp_path / "data" / "spleen" / kind
        folder.mkdir(parents=True)
        for path in (cohort / kind).iterdir():
            patient, number = re.match(r"p(\d+)_(\d+)", path.stem).groups()
            shutil.copy(path, folder / f"100{number}_spleen_{patient}.png")
    options = [o for o in tiny if "reader" not in o or "dataset=spleen" not in arguments]
    options = [o for o in options if o.split("=")[0] not in " ".join(arguments)]
    done = command(*arguments, *options, "trainer.steps_per_epoch=2")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / done.stdout.splitlines()[-1]
    assert (folder / "summary.json").exists()


def test_a_trained_model_is_used_again(command, tmp_path, tiny):
    (line,) = [line for line in RUNS if "stages=" in line]
    first = command(*tiny).stdout.splitlines()[-1]
    arguments = shlex.split(line.removeprefix("python -m seg.run"))
    arguments = [a.replace("outputs/phantom/unet/TIME-ID", first) for a in arguments]
    assert first in " ".join(arguments)
    done = command(*arguments, *tiny)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / done.stdout.splitlines()[-1]
    assert (folder / "cases.csv").read_text() == (tmp_path / first / "cases.csv").read_text()


def test_every_choice_is_in_the_table(project):
    for group in ("dataset", "model", "loss", "augment", "optimizer"):
        (row,) = [line for line in README.splitlines() if line.startswith(f"| `{group}=`")]
        for path in (project / "conf" / group).glob("*.yaml"):
            assert f"`{path.stem}`" in row


def test_the_pictures_exist(project):
    for name in re.findall(r"!\[.*?\]\((.*?)\)", README):
        assert (project / name).exists()
