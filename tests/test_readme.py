"""Every command of README.md runs, as it stands there, on a tiny cohort."""

import re
import shutil
import tarfile
from pathlib import Path

import mlflow
import pandas as pd
import pytest
from omegaconf import OmegaConf

README = (Path(__file__).parents[1] / "README.md").read_text()
BLOCKS = re.findall(r"^```\n(.*?)^```", README, re.M | re.S)
LINES = [line.split("#")[0].strip() for block in BLOCKS for line in block.splitlines()]
MAKES = [line for line in LINES if line.startswith("make ")]


def test_the_first_two_commands_are_run_and_test():
    assert LINES[:2] == ["make run", "make test"]


@pytest.mark.parametrize("line", MAKES)
def test_a_make_target_exists(line, project):
    assert re.search(rf"^{line.split()[1]}:", (project / "Makefile").read_text(), re.M)


@pytest.fixture
def slices(tmp_path, cohort):
    """data/spleen of the working folder: phantom slices under the names of the spleen's."""
    for kind in ("images", "masks"):
        folder = tmp_path / "data" / "spleen" / kind
        folder.mkdir(parents=True)
        for path in (cohort / kind).iterdir():
            patient, number = re.match(r"p(\d+)_(\d+)", path.stem).groups()
            shutil.copy(path, folder / f"100{number}_spleen_{patient}.png")


def test_commands_of_one_run_work(readme_runs, readme_words, command, tmp_path, slices, tiny):
    """The sweep of models is run by test_run.py."""
    done = command(*tiny)
    trained = done.stdout.splitlines()[-1]
    apart = ("-m", "stages=[summary]", "model=custom")
    lines = [line for line in readme_runs if not {*apart} & {*line} and not of_a_source(line)]
    lines = [line for line in lines if not line[0].startswith("rerun=")]
    assert len(lines) == 4
    for line in lines:
        arguments = [a.replace("outputs/phantom/unet/TIME-ID", trained) for a in line]
        given = {argument.split("=")[0] for argument in arguments}
        options = [option for option in tiny if option.split("=")[0] not in given]
        if "dataset=spleen" in arguments:
            options = [option for option in options if "reader" not in option]
        done = command(*arguments, *options)
        assert done.returncode == 0, done.stderr
        assert (tmp_path / done.stdout.splitlines()[-1] / "cases.csv").exists()
    (words,) = readme_words("export")
    done = command(
        *(word.replace("outputs/phantom/unet/TIME-ID", trained) for word in words), module="export"
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / done.stdout.splitlines()[-1] / "export.json").is_file()
    (words,) = readme_words("predict")
    shutil.copytree(tmp_path / "data" / "spleen" / "images", tmp_path / "new_slices")
    words = [word.replace("outputs/phantom/unet/TIME-ID", trained) for word in words]
    done = command(*words, module="predict")
    assert (done.returncode, done.stdout) == (0, "masks\n"), done.stderr
    given, masks = (tmp_path / folder for folder in ("new_slices", "masks/masks"))
    assert {path.name for path in masks.iterdir()} == {path.name for path in given.iterdir()}


def test_an_earlier_run_again_and_both_compared(readme_runs, readme_words, command, tmp_path, tiny):
    """On the same machine the digits are the same."""
    first = command(*tiny).stdout.splitlines()[-1]
    again, other = [line for line in readme_runs if line[0].startswith("rerun=")]
    folders = [first]
    for line in (again, other):
        words = [word.replace("outputs/phantom/unet/TIME-ID", first) for word in line]
        done = command(*words)
        assert done.returncode == 0, done.stderr
        folders.append(done.stdout.splitlines()[-1])
    cases = [(tmp_path / folder / "cases.csv").read_text() for folder in folders]
    assert cases[0] == cases[1] != cases[2]
    curves = [pd.read_csv(tmp_path / folder / "history.csv") for folder in folders]
    same = [name for name in curves[0] if name.startswith(("train/", "val/", "lr/"))]
    pd.testing.assert_frame_equal(curves[0][same], curves[1][same], check_exact=True)
    configs = [OmegaConf.load(tmp_path / folder / "config.yaml") for folder in folders]
    assert configs[1].rerun == first
    configs[1].rerun = None
    assert configs[0] == configs[1]
    assert configs[2].loss.name == "dice"
    (synced,) = readme_words("sync")
    done = command(*synced, module="sync")
    assert (done.returncode, done.stdout) == (0, "runs: 3, with something left: 0\n")
    (query,) = [line for line in readme_words("compare") if "=" in line[0]]
    done = command(*query, module="compare")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / done.stdout.splitlines()[-1]
    assert len(pd.read_csv(folder / "runs.csv")) == 3
    assert pd.read_csv(folder / "pairs.csv").loc[0, "mean_difference"] == 0
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/outputs/mlflow.db")
    (told,) = client.search_runs(["1"], "attributes.run_name LIKE 'comparison%'")
    sent = {file.path for file in client.list_artifacts(told.info.run_id)}
    assert sent == {"runs.csv", "pairs.csv", "cases.csv", "comparison.png", "slices.png"}


def test_the_summary_of_a_model_works(readme_runs, command, tmp_path):
    (line,) = [line for line in readme_runs if "stages=[summary]" in line]
    done = command(*line, "dataset.image_size=32", "model.base_filters=8", "model.skip_filters=8")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / done.stdout.splitlines()[-1] / "summary"
    assert {path.name for path in folder.iterdir()} == {"summary.txt", "architecture.png"}


MY_PACKAGE = """
import keras

@keras.saving.register_keras_serializable("mine")
class Mine(keras.Model):
    def __init__(self, width, **kwargs):
        super().__init__(**kwargs)
        self.width = width
        self.wide = keras.layers.Conv2D(width, 3, padding="same", activation="relu")
        self.last = keras.layers.Conv2D(1, 1)

    def call(self, images):
        return self.last(self.wide(images))

    def get_config(self):
        return super().get_config() | {"width": self.width}

def my_function(input_shape, width):
    return Mine(width, name="mine")
"""


def test_a_users_own_model_trains_and_is_used_again(readme_runs, command, tmp_path, tiny):
    """Even one whose layers Keras cannot see."""
    (tmp_path / "my_package.py").write_text(MY_PACKAGE)
    (line,) = [line for line in readme_runs if "model=custom" in line]
    small = [option for option in tiny if not option.startswith("model.")]
    done = command(*line, *small)
    assert done.returncode == 0, done.stderr
    trained = done.stdout.splitlines()[-1]
    done = command(*line, *small, "stages=[evaluate]", f"checkpoint={trained}")
    assert done.returncode == 0, done.stderr
    again = tmp_path / done.stdout.splitlines()[-1] / "cases.csv"
    assert again.read_text() == (tmp_path / trained / "cases.csv").read_text()


def of_a_source(line):
    return {"dataset.source=downloads/Task09_Spleen.tar", "stages=[describe]"} & {*line}


def test_commands_on_a_publishers_archive_work(readme_runs, command, tmp_path, publisher, tiny):
    publisher("spleen", tmp_path / "downloads")
    with tarfile.open(tmp_path / "downloads/Task09_Spleen.tar", "w") as archive:
        archive.add(tmp_path / "downloads/Task09_Spleen", "Task09_Spleen")
    prepare, describe, augmented = [line for line in readme_runs if of_a_source(line)]
    small = [option for option in tiny if "reader" not in option]
    done = command(*prepare, *small)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / done.stdout.splitlines()[-1] / "cases.csv").exists()
    done = command(*describe, *small)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / done.stdout.splitlines()[-1] / "describe/samples_test.png").exists()
    done = command(*augmented, *tiny)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / done.stdout.splitlines()[-1] / "describe/samples_augmented.png").exists()


def test_the_sweep_over_folds_works(readme_runs, command, tiny):
    (folds,) = [line for line in readme_runs if "dataset.fold=0,1,2,3,4" in line]
    assert folds[0] == "-m"
    done = command(*folds[1:], *tiny, "stages=[describe]", "-m")  # it may come last too
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 5


def test_every_choice_is_in_the_table(project):
    for group in ("dataset", "model", "loss", "augment", "optimizer"):
        (row,) = [line for line in README.splitlines() if line.startswith(f"| `{group}=`")]
        for path in (project / "conf" / group).glob("*.yaml"):
            assert f"`{path.stem}`" in row


def test_the_pictures_exist(project):
    for name in re.findall(r"!\[.*?\]\((.*?)\)", README):
        assert (project / name).exists()
