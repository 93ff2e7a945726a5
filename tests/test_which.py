"""Runs by folder, id, sweep and query, of a real store."""

import shutil

import pytest
from omegaconf import OmegaConf

from seg import which
from seg.contracts import SegError
from seg.jobs import record
from seg.track import find
from seg.track.run import Target, start


def finish(home, name, loss, sweep=None, checkpoint=None):
    folder = home / "outputs" / "phantom" / name
    folder.mkdir(parents=True)
    config = {"model": {"name": "unet"}, "loss": {"name": loss}, "checkpoint": checkpoint}
    OmegaConf.save(config, folder / "config.yaml")
    for file in ("cases.csv", "summary.json", "splits.json"):
        (folder / file).write_text("case")
    target = Target(find.default_uri(home), "phantom", home, sweep)
    with start(folder, target, f"phantom unet {loss} {name[-6:]}", {}) as run:
        run.params({"loss": loss})
        run.metrics({"test/dice": 0.5})
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Two runs, and a sweep of two with its folder."""
    home = tmp_path_factory.mktemp("home")
    sweep = home / "outputs" / "sweeps" / "20260102"
    sweep.mkdir(parents=True)
    finish(home, "20260101-aaaaaa", "dice")
    finish(home, "20260101-bbbbbb", "bce")
    for k, name in enumerate(("20260102-cccccc", "20260102-dddddd")):
        folder = str(finish(home, name, "iou", sweep.name))
        record.write(sweep, record.Record(k, (), record.FINISHED, folder, 0.5))
    return home


@pytest.fixture
def found(home):
    """Last letters of the folders that words mean."""

    def names(*words, experiment=None):
        runs = which.runs(words, find.default_uri(home), experiment, home / "outputs")
        return [folder.name[-6:] for _, folder in runs]

    return names


def ids(home):
    client = find.client(find.default_uri(home))
    return {run.info.run_name[-6:]: run for run in client.search_runs(["1"])}


def test_folders_keep_their_order_and_each_is_there_once(found, home):
    a, b = (str(home / f"outputs/phantom/20260101-{name}") for name in ("aaaaaa", "bbbbbb"))
    assert found(b, a, f"{home}/outputs/phantom/../phantom/20260101-bbbbbb") == ["bbbbbb", "aaaaaa"]
    assert found(b, ids(home)["bbbbbb"].info.run_id) == ["bbbbbb"]


def test_the_folder_and_the_id_of_a_sweep_are_its_jobs(found, home):
    parent = ids(home)["cccccc"].data.tags["mlflow.parentRunId"]
    assert found(str(home / "outputs/sweeps/20260102")) == ["cccccc", "dddddd"]
    assert found(parent) == ["cccccc", "dddddd"]


def test_a_query_is_mlflows_own(found):
    assert found("params.loss = 'iou'") == ["cccccc", "dddddd"]
    assert found("params.loss != 'iou'", experiment="phantom") == ["aaaaaa", "bbbbbb"]


def test_labels_name_model_and_loss(home):
    folder = home / "outputs/phantom/20260101-aaaaaa"
    id_ = ids(home)["bbbbbb"].info.run_id
    labelled = which.runs([str(folder), id_], find.default_uri(home), None, home / "outputs")
    assert [label for label, _ in labelled] == ["unet dice aaaaaa", "phantom unet bce bbbbbb"]


def test_a_checkpoints_model_is_not_in_its_config(tmp_path):
    folder = finish(tmp_path, "20260103-eeeeee", "dice", checkpoint="a/model.keras")
    assert which.runs([str(folder)], None, None, tmp_path)[0][0] == "checkpoint eeeeee"


def test_a_folder_that_is_gone_is_downloaded_once(tmp_path):
    folder = finish(tmp_path, "20260103-ffffff", "dice")
    (run,) = ids(tmp_path).values()
    shutil.rmtree(folder)
    words = ([run.info.run_id], find.default_uri(tmp_path), None, tmp_path / "outputs")
    ((_, got),) = which.runs(*words)
    assert got == tmp_path / "outputs" / "downloaded" / run.info.run_id
    assert (got / "cases.csv").read_text() == "case"
    before = (got / "cases.csv").stat().st_mtime_ns
    assert which.runs(*words)[0][1] == got
    assert (got / "cases.csv").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("nobody", "nobody: no folder, and no run or query of runs to sqlite:"),
        ("params.loss = 'other'", "params.loss = 'other': no finished run"),
        ("params.loss == dice", "params.loss == dice: no folder, and no run or query"),
    ],
)
def test_nobody_and_nonsense_are_refused(found, word, said):
    with pytest.raises(SegError) as error:
        found(word)
    assert str(error.value).startswith(said)


def test_a_store_that_is_not_there_is_not_made(tmp_path):
    with pytest.raises(SegError, match="is not there"):
        which.runs(["nobody"], None, None, tmp_path / "outputs")
    assert not (tmp_path / "outputs").exists()
