"""A run whose server is killed while it trains, told later, and then looked at in a browser."""

import os
import re
import subprocess
import sys
import time

import keras
import numpy as np
import pandas as pd
import pytest


def seg(module, *words, cwd, uri, on_line=None):
    """Run a command of this package, calling `on_line` with each line of its log."""
    process = subprocess.Popen(
        [sys.executable, "-m", f"seg.{module}", *words],
        cwd=cwd,
        env=os.environ | {"MLFLOW_TRACKING_URI": uri},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    log = []
    for line in process.stderr:
        log.append(line)
        if on_line:
            on_line(line)
    out = process.stdout.read().splitlines()
    assert process.wait() == 0, "".join(log)
    return out, "".join(log)


@pytest.fixture(scope="module")
def told(tmp_path_factory, server, tiny):
    """(folder of an undisturbed run, of one whose server died, what that one and seg.sync said)."""
    home = tmp_path_factory.mktemp("whole")
    words = [*tiny, "trainer.epochs=4", "model=unet"]
    undisturbed, _ = seg("run", *words, cwd=home, uri=server.uri)

    def kill(line):
        if line.startswith("epoch 2/"):
            server.kill()

    lonely, log = seg("run", *words, cwd=home, uri=server.uri, on_line=kill)
    server.start()
    synced, _ = seg("sync", "outputs", cwd=home, uri=server.uri)
    again, _ = seg("sync", "outputs", cwd=home, uri=server.uri)
    return home / undisturbed[-1], home / lonely[-1], log, synced, again


@pytest.fixture(scope="module")
def run(told, server):
    """The run of the second folder, as the server has it."""
    found = server.client().get_experiment_by_name("phantom").experiment_id
    runs = {r.info.run_name[-6:]: r for r in server.client().search_runs([found])}
    assert len(runs) == 2
    return runs[told[1].name[-6:]]


def test_a_dying_server_changes_no_result(told):
    undisturbed, lonely, log, _, _ = told
    for name in ("cases.csv", "splits.json", "data.json"):
        assert (lonely / name).read_text() == (undisturbed / name).read_text()
    curves = [pd.read_csv(folder / "history.csv") for folder in (undisturbed, lonely)]
    same = [name for name in curves[0] if name.startswith(("train/", "val/", "lr/"))]
    pd.testing.assert_frame_equal(curves[0][same], curves[1][same], check_exact=True)
    assert "tracking: no answer; the run goes on" in log
    assert re.search(rf"things are not sent; python -m seg.sync outputs/.*{lonely.name}", log)


def test_sync_sends_what_was_missed_and_nothing_twice(told, run, server):
    _, lonely, _, synced, again = told
    assert re.fullmatch(rf"outputs/.*{lonely.name}: [1-9]\d* sent, 0 left", synced[0])
    assert synced[1:] == again == ["runs: 2, with something left: 0"]
    assert run.info.status == "FINISHED"
    history = pd.read_csv(lonely / "history.csv")
    for name in [name for name in history if name != "epoch"]:
        points = server.client().get_metric_history(run.info.run_id, name)
        assert sorted(point.step for point in points) == [1, 2, 3, 4], name
        values = {point.step: point.value for point in points}
        assert [values[n] for n in (1, 2, 3, 4)] == pytest.approx([*history[name]], nan_ok=True)
    pictures = server.client().list_artifacts(run.info.run_id, "images")
    steps = [int(re.search(r"\+step\+(\d+)", file.path)[1]) for file in pictures]
    assert sorted(steps) == [step for step in range(5) for _ in range(2)]


def test_what_a_person_needs_to_judge_and_repeat_is_there(told, run, server):
    client, id_ = server.client(), run.info.run_id
    artifacts = {file.path for file in client.list_artifacts(id_)}
    assert artifacts >= {
        *("config.yaml", "run.log", "history.csv", "cases.csv", "cases.json", "splits.json"),
        *("summary.json", "data.json", "provenance.json", "report.md"),
        *("figures", "predictions", "overlays", "images"),
    }
    pictures = {file.path for file in client.list_artifacts(id_, "figures")}
    assert "figures/contact_sheet.png" in pictures
    assert {each.tags[0].value for each in run.inputs.dataset_inputs} == {"train", "valid", "test"}
    note = run.data.tags["mlflow.note.content"]
    assert note == (told[1] / "report.md").read_text()
    assert f"{run.data.metrics['test/dice']:.3f}" in note.splitlines()[0]
    assert not [name for name in run.data.metrics if "/" not in name]


def test_the_model_loads_in_a_process_without_this_package(told, run, tmp_path, server):
    """And predicts what the file in the run's folder does."""
    images = np.random.default_rng(0).random((2, 32, 32, 1), dtype=np.float32)
    np.save(tmp_path / "images.npy", images)
    code = (
        "import sys; sys.modules['seg'] = None\n"
        "import mlflow, numpy as np\n"
        f"uri = 'models:/{run.outputs.model_outputs[0].model_id}'\n"
        "images = np.load('images.npy')\n"
        "np.save('keras.npy', mlflow.keras.load_model(uri).predict(images, verbose=0))\n"
        "np.save('pyfunc.npy', mlflow.pyfunc.load_model(uri).predict(images))\n"
    )
    subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"MLFLOW_TRACKING_URI": server.uri},
        check=True,
    )
    wanted = keras.saving.load_model(told[1] / "model.keras").predict(images, verbose=0)
    for name in ("keras", "pyfunc"):
        np.testing.assert_array_equal(np.load(tmp_path / f"{name}.npy"), wanted)


def shown(browser, *texts):
    """Wait until a page shows some texts; return all its text."""
    for _ in range(60):
        page = " ".join(browser.find_element("tag name", "body").text.split())
        if all(text in page for text in texts):
            return page
        time.sleep(0.2)
    missing = [text for text in texts if text not in page]
    raise AssertionError(f"{page}\n{missing} not in this page")


def page_of(run, server):
    return f"{server.uri}/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"


def test_the_address_of_all_runs_opens_their_charts(browser, told, run):
    (address,) = re.findall(r"^all runs: (.*)$", told[2], re.M)
    browser.get(address)
    sections = ("best (3)", "epoch (2)", "epoch_change (1)", "lr (1)", "train (", "test (", "val (")
    page = shown(browser, run.info.run_name, *sections)
    assert not re.search(r"(train|test|val) \(0\)", page)


def test_the_page_of_a_run_shows_report_parameters_and_inputs(browser, told, run, server):
    browser.get(f"{page_of(run, server)}?workflowType=machine_learning")
    dice = f"{run.data.metrics['test/dice']:.3f}"
    shown(
        browser, run.info.run_name, f"Test Dice {dice}", "Parameters", "bce_dice", "phantom train"
    )


def test_pictures_by_epoch_have_a_slider(browser, told, run, server):
    browser.get(f"{page_of(run, server)}/model-metrics")
    shown(browser, "epoch_change")
    for _ in range(150):
        marks = browser.find_elements("css selector", "[role=slider]")
        images = browser.find_elements("css selector", "img[src*='images']")
        if marks and images:
            break
        time.sleep(0.2)
    assert {mark.get_attribute("aria-valuemax") for mark in marks} == {"4"}
    assert browser.execute_script("return arguments[0].naturalWidth", images[0]) > 0


def test_the_table_of_cases_opens(browser, told, run, server):
    browser.get(f"{page_of(run, server)}/artifacts/cases.json")
    cases = pd.read_csv(told[1] / "cases.csv")
    shown(browser, "cases.json", *cases["case"].astype(str))


def test_two_runs_are_compared(browser, told, run, server):
    found = server.client().search_runs([run.info.experiment_id])
    ids = ",".join(f'"{each.info.run_id}"' for each in found)
    browser.get(
        f'{server.uri}/#/compare-runs?runs=[{ids}]&experiments=["{run.info.experiment_id}"]'
    )
    shown(browser, "Comparing 2 Runs", *(each.info.run_name for each in found), "best/epoch")
