"""The main job, from the command line to files and MLflow and back."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import keras
import mlflow
import numpy as np
import pandas as pd
import pytest
from omegaconf import OmegaConf

from seg.contracts import SegError

FILES = {
    "config.yaml",
    "history.csv",
    "cases.csv",
    "summary.json",
    "splits.json",
    "model.keras",
    "run.log",
}


def store(root: Path) -> mlflow.MlflowClient:
    return mlflow.MlflowClient(f"sqlite:///{root.resolve()}/outputs/mlflow.db")


def runs(root: Path, experiment: str = "phantom") -> list:
    client = store(root)
    found = client.get_experiment_by_name(experiment)
    return client.search_runs([found.experiment_id], order_by=["attributes.start_time"])


@pytest.fixture(scope="module")
def finished(tmp_path_factory, tiny):
    """One complete run of the command line: (working folder, run folder, process)."""
    root = tmp_path_factory.mktemp("finished")
    done = subprocess.run(
        [sys.executable, "-m", "seg.run", *tiny], cwd=root, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return root, root / done.stdout.splitlines()[-1], done


def test_the_last_line_on_stdout_is_the_run_folder_and_the_log_goes_to_stderr(finished):
    root, folder, done = finished
    assert folder.is_dir()
    assert folder.relative_to(root).parts[:3] == ("outputs", "phantom", "unet")
    assert len(done.stdout.splitlines()) == 1
    assert "epoch 2/2" in done.stderr
    assert "epoch 2/2" in (folder / "run.log").read_text()


def test_a_run_folder_holds_everything(finished):
    _, folder, _ = finished
    assert {path.name for path in folder.iterdir()} >= FILES
    for kind in ("predictions", "overlays", "figures"):
        assert list((folder / kind).glob("*.png"))
    assert OmegaConf.load(folder / "config.yaml").trainer.epochs == 2
    assert len(pd.read_csv(folder / "history.csv")) == 2


def test_predictions_are_lossless_masks_of_every_test_slice_at_its_own_size(finished):
    _, folder, _ = finished
    splits = json.loads((folder / "splits.json").read_text())
    slices = {name for ids in splits["test"].values() for name in ids}
    assert {path.stem for path in (folder / "predictions").iterdir()} == slices
    for path in (folder / "predictions").iterdir():
        mask = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert mask.shape == (32, 32)
        assert set(np.unique(mask)) <= {0, 255}


def test_the_reported_dice_is_that_of_the_written_masks_pooled_per_patient(finished):
    root, folder, _ = finished
    masks = next((root / "data" / "phantom").iterdir()) / "masks"
    splits = json.loads((folder / "splits.json").read_text())
    expected = {}
    for patient, ids in splits["test"].items():
        read = [
            [cv2.imread(str(where / f"{name}.png"), 0) > 127 for name in ids]
            for where in (folder / "predictions", masks)
        ]
        predicted, truth = np.stack(read[0]), np.stack(read[1])
        total = predicted.sum() + truth.sum()
        expected[patient] = 2 * (predicted & truth).sum() / total if total else np.nan
    cases = pd.read_csv(folder / "cases.csv").set_index("case")["dice"]
    assert set(cases.index) == set(expected)
    for patient, dice in expected.items():
        assert cases[patient] == pytest.approx(dice, nan_ok=True)
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["test/dice"] == pytest.approx(np.nanmean(list(expected.values())))


def test_no_patient_is_on_two_sides_and_all_are_on_one(finished):
    _, folder, _ = finished
    splits = json.loads((folder / "splits.json").read_text())
    patients = [patient for side in ("train", "valid", "test") for patient in splits[side]]
    assert sorted(patients) == [f"p{i:03d}" for i in range(8)]


def test_mlflow_holds_what_the_folder_holds(finished):
    root, folder, _ = finished
    (run,) = runs(root)
    client = store(root)
    assert run.info.status == "FINISHED"
    summary = json.loads((folder / "summary.json").read_text())
    rest = ("_sd", "_median", "_undefined")
    sent = {
        key: value
        for key, value in summary.items()
        if "/dice" in key or not (value is None or key.endswith(rest))
    }
    assert {"test/dice_sd", "test/hd95_mm", "test/iou_ci_low", "infer/threshold"} <= {*sent}
    for key, value in sent.items():
        logged = run.data.metrics[key]
        assert (value is None and np.isnan(logged)) or logged == pytest.approx(value), key
    assert not ({*summary} - {*sent}) & {*run.data.metrics}
    history = pd.read_csv(folder / "history.csv")
    logged = client.get_metric_history(run.info.run_id, "val/dice_coef")
    assert [point.step for point in logged] == [1, 2]
    assert [point.value for point in logged] == pytest.approx(list(history["val/dice_coef"]))
    assert all(len(client.get_metric_history(run.info.run_id, key)) == 1 for key in sent)
    swept = [name for name in run.data.params if "." in name]
    assert 10 <= len(run.data.params) - len(swept) <= 20
    assert run.data.params["model"] == "unet"
    assert run.data.params["model.base_filters"] == "4"
    assert run.data.params["parameters"] == str(
        keras.saving.load_model(folder / "model.keras").count_params()
    )
    for tag in ("version.tensorflow", "host", "devices", "data.leakage"):
        assert run.data.tags[tag]
    artifacts = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert artifacts >= (FILES - {"model.keras"}) | {"predictions", "overlays", "figures", "images"}


def test_epoch_images_form_a_slider(finished):
    root, folder, _ = finished
    (run,) = runs(root)
    names = [file.path for file in store(root).list_artifacts(run.info.run_id, "images")]
    steps = {int(re.search(r"[%+]step[%+](\d+)", name)[1]) for name in names}
    assert steps == {0, 1, 2}
    (slice_folder,) = (folder / "epoch_change").iterdir()
    assert len(list(slice_folder.glob("epoch_*.png"))) == 3


def test_the_model_in_mlflow_predicts_what_the_one_in_the_folder_does(finished, monkeypatch):
    root, folder, _ = finished
    (run,) = runs(root)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{root}/outputs/mlflow.db")
    uri = f"runs:/{run.info.run_id}/model"
    images = np.random.default_rng(0).random((2, 32, 32, 1), dtype=np.float32)
    expected = keras.saving.load_model(folder / "model.keras").predict(images, verbose=0)
    np.testing.assert_array_equal(mlflow.keras.load_model(uri).predict(images, verbose=0), expected)
    np.testing.assert_array_equal(mlflow.pyfunc.load_model(uri).predict(images), expected)
    assert mlflow.models.get_model_info(uri).signature.inputs.inputs[0].shape == (-1, 32, 32, 1)


def test_a_trained_model_is_used_again_by_folder_by_file_and_by_run_id(experiment, tmp_path):
    _, first = experiment("tracking.register=organ")
    (run,) = runs(tmp_path)
    wanted = pd.read_csv(first / "cases.csv")
    wanted_by = (first, first / "model.keras", run.info.run_id, "models:/organ@best")
    for checkpoint in wanted_by:
        value, again = experiment("stages=[evaluate,infer]", f"checkpoint={checkpoint}")
        pd.testing.assert_frame_equal(pd.read_csv(again / "cases.csv"), wanted)
        assert np.isnan(value)
        assert not (again / "history.csv").exists()
        assert again.parent.name == "checkpoint"
        assert list((again / "predictions").iterdir())


def test_a_checkpoint_that_has_learned_test_patients_is_reported(experiment, tmp_path, caplog):
    _, first = experiment()
    _, again = experiment("stages=[evaluate]", f"checkpoint={first}", "seed=1")
    assert "DATA LEAKAGE" in caplog.text
    params = runs(tmp_path)[-1].data.params
    assert (params["model"], params["checkpoint"]) == ("unet", str(first))
    assert "loss" not in params
    assert json.loads((again / "splits.json").read_text())["leaks"]
    assert runs(tmp_path)[-1].data.tags["data.leakage"] == "true"
    with pytest.raises(SegError, match="checkpoint: .* patients"):
        experiment("stages=[infer]", f"checkpoint={first}", "seed=1", "dataset.leakage=error")


def test_training_alone_returns_the_objective_and_never_predicts_the_test_side(experiment):
    value, folder = experiment("stages=[train]", "objective=val/iou")
    summary = json.loads((folder / "summary.json").read_text())
    assert value == summary["val/iou"]
    assert not any(key.startswith("test/") for key in summary)
    assert not (folder / "predictions").exists()


def test_the_same_seed_gives_the_same_digits_and_overwrites_nothing(experiment):
    _, first = experiment("stages=[train]")
    before = {path: path.read_bytes() for path in first.rglob("*") if path.is_file()}
    _, second = experiment("stages=[train]")
    _, other = experiment("stages=[train]", "seed=1")
    assert len({first, second, other}) == 3
    curves = [
        pd.read_csv(folder / "history.csv")[["train/loss", "val/loss"]].to_numpy()
        for folder in (first, second, other)
    ]
    np.testing.assert_array_equal(curves[0], curves[1])
    assert not np.array_equal(curves[0], curves[2])
    assert before == {path: path.read_bytes() for path in first.rglob("*") if path.is_file()}


def test_training_learns_the_phantom(experiment):
    _, folder = experiment(
        "trainer.epochs=12", "augment=off", "optimizer.learning_rate=5e-3", "model.base_filters=8"
    )
    loss = pd.read_csv(folder / "history.csv")["train/loss"]
    assert loss.iloc[-1] < 0.7 * loss.iloc[0]


@pytest.mark.parametrize(("monitor", "best"), [("val/loss", "idxmin"), ("val/dice_coef", "idxmax")])
def test_the_best_epoch_is_that_of_the_monitored_curve(experiment, monitor, best):
    _, folder = experiment(f"trainer.monitor={monitor}", "trainer.epochs=4", "stages=[train]")
    history = pd.read_csv(folder / "history.csv").set_index("epoch")
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["best/epoch"] == getattr(history[monitor], best)()
    assert summary["best/val_loss"] == pytest.approx(history["val/loss"][summary["best/epoch"]])


def test_a_model_that_gives_probabilities_is_refused(experiment, tmp_path):
    inputs = keras.Input((32, 32, 1))
    outputs = keras.layers.Conv2D(1, 1, activation="sigmoid")(inputs)
    keras.Model(inputs, outputs).save(tmp_path / "sigmoid.keras")
    with pytest.raises(SegError, match="must give logits"):
        experiment("stages=[evaluate]", f"checkpoint={tmp_path}/sigmoid.keras")


def test_a_model_that_would_not_come_back_from_disk_is_refused_before_it_trains(
    experiment, tmp_path, monkeypatch
):
    (tmp_path / "mine_lambda.py").write_text(
        "import keras\n"
        "def model(input_shape, **others):\n"
        "    inputs = keras.Input(input_shape)\n"
        "    return keras.Model(inputs, keras.layers.Lambda(lambda x: 5 * x - 2)(inputs))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SegError, match="model unet: cannot be saved and loaded again"):
        experiment("model._target_=mine_lambda.model")


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (("model.classes=2",), "augment.mixup: blends masks, which one logit per pixel can learn"),
        (("trainer.batch_size=1",), "trainer.batch_size must be 2 or more, or augment.mixup"),
    ],
)
def test_samples_that_cannot_be_mixed_are_refused(experiment, overrides, sentence):
    with pytest.raises(SegError, match=sentence):
        experiment("augment.mixup.p=0.5", *overrides)


def test_what_fails_in_the_input_pipeline_is_one_sentence_and_ends(command, tmp_path, tiny):
    (tmp_path / "mine.py").write_text(
        "from seg.contracts import SegError\n"
        "class Bad:\n"
        "    def __init__(self, p): self.p = p\n"
        "    def change(self, image, rng): raise SegError('a.png: cut off; mend it')\n"
    )
    own = "+augment.bad={_target_:mine.Bad,p:1.0}"
    done = command(*tiny, "augment=off", own, PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: a.png: cut off; mend it (traceback: ")


def test_a_loss_that_is_not_finite_fails_the_run_with_its_traceback(experiment, tmp_path):
    with pytest.raises(SegError, match=r"loss is (nan|inf) in epoch \d+, step \d+: lower optim"):
        experiment(
            "optimizer.learning_rate=1e30", "optimizer.clipvalue=null", "model.normalization=none"
        )
    (run,) = runs(tmp_path)
    assert run.info.status == "FAILED"
    client = store(tmp_path)
    path = client.download_artifacts(run.info.run_id, "traceback.txt", str(tmp_path))
    assert "SegError: loss is" in Path(path).read_text()


def test_a_terminated_run_is_marked_killed_and_keeps_its_files(tmp_path, tiny):
    process = subprocess.Popen(
        [sys.executable, "-m", "seg.run", *tiny, "trainer.epochs=1000"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in process.stderr:
        if line.startswith("epoch 2/"):
            process.send_signal(signal.SIGTERM)
            break
    rest = process.stderr.read()
    process.wait(timeout=60)
    assert process.returncode != 0
    assert "error: interrupted" in rest
    assert "Traceback" not in rest
    (run,) = runs(tmp_path)
    assert run.info.status == "KILLED"
    (folder,) = (tmp_path / "outputs" / "phantom" / "unet").iterdir()
    assert len(pd.read_csv(folder / "history.csv")) >= 2
    assert (folder / "model.keras").exists()


def test_two_replicas_give_the_loss_curve_of_one(command, tmp_path, tiny):
    curves = []
    for devices in ("cpu", "cpu:2"):
        words = [*tiny, f"trainer.devices={devices}", "model.dropout=0", "trainer.epochs=3"]
        done = command(*words, "stages=[train]", "tracking.log_model=false")
        assert done.returncode == 0, done.stderr
        history = pd.read_csv(tmp_path / done.stdout.splitlines()[-1] / "history.csv")
        curves.append(history[["train/loss", "val/loss", "val/pooled_sensitivity"]].to_numpy())
    np.testing.assert_allclose(curves[0], curves[1], atol=1e-4)


def test_the_sweep_of_the_readme_runs_four_children_of_one_run(
    command, tmp_path, tiny, readme_runs, readme_words
):
    sweep = next(line for line in readme_runs if "model=unet,attention" in line)
    assert sweep == ["-m", "model=unet,attention", "loss=bce_dice,dice"]
    small = [item for item in tiny if not item.startswith("trainer.epochs")]
    done = command(*sweep, *small, "trainer.epochs=1", "tracking.register=organ")
    assert done.returncode == 0, done.stderr
    folders = done.stdout.splitlines()
    assert len(folders) == 4
    parent, *children = runs(tmp_path)
    assert parent.info.status == "FINISHED"
    assert {child.data.tags["mlflow.parentRunId"] for child in children} == {parent.info.run_id}
    assert {(child.data.params["model"], child.data.params["loss"]) for child in children} == {
        (model, loss) for model in ("unet", "attention") for loss in ("bce_dice", "dice")
    }
    scores = {child.info.run_name[-6:]: child.data.metrics["val/dice"] for child in children}
    best = max(scores, key=scores.get)
    assert re.search(rf"^sweep: 4 finished; the best by val/dice, .*{best}$", done.stderr, re.M)
    assert f"%27{parent.info.run_id}%27" in done.stderr.splitlines()[-1]
    (version,) = store(tmp_path).search_model_versions("name='organ'")
    held = store(tmp_path).get_model_version_by_alias("organ", "best")
    assert version.run_id == held.run_id
    (of_best,) = [child for child in children if child.info.run_name.endswith(best)]
    assert held.run_id == of_best.info.run_id
    (line,) = [line for line in readme_words("compare") if "sweeps" in line[0]]
    (folder,) = (tmp_path / "outputs" / "sweeps").iterdir()
    (again,) = [line for line in readme_runs if "sweep.resume=TIME" in line]
    done = command(*(word.replace("TIME", folder.name) for word in again))
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert len(runs(tmp_path)) == 5
    done = command(*(w.replace("outputs/sweeps/TIME", str(folder)) for w in line), module="compare")
    assert done.returncode == 0, done.stderr
    labels = [path.rpartition("-")[2] for path in folders]
    compared = pd.read_csv(tmp_path / done.stdout.splitlines()[-1] / "runs.csv")
    assert [label[-6:] for label in compared["run"]] == labels


def test_help_and_cfg_answer_without_tensorflow(tmp_path):
    for flag in (["--help"], ["--cfg", "job"]):
        code = (
            "import sys; from seg.run import main\n"
            f"sys.argv = ['seg.run', *{flag}]\n"
            "main()\n"
            "assert not {'tensorflow', 'keras', 'mlflow'} & set(sys.modules)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert "batch_size: 8" in done.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("model=unett", "error: model=unett: no such choice; take one of attention, custom"),
        ("trainer.epohcs=5", "error: trainer.epohcs: no such key; did you mean trainer.epochs?"),
        ("stages=[evaluate]", "error: checkpoint must name a trained model"),
    ],
)
def test_a_wrong_command_is_one_sentence_and_makes_no_folder(command, tmp_path, override, sentence):
    done = command(override)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(sentence)
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.rglob("*")] == ["outputs", "mlflow.db"]


def test_missing_data_says_where_to_get_it_and_that_the_phantom_needs_none(command, tmp_path):
    done = command("dataset=spleen")
    last = done.stderr.splitlines()[-1]
    assert done.returncode == 1
    assert last.startswith(f"error: dataset.root: no folder {tmp_path}/data/spleen")
    assert "dataset=phantom" in last
    assert "Traceback" not in done.stderr
    log = Path(tmp_path, last.rpartition("traceback: ")[2].rstrip(")"))
    assert "Traceback (most recent call last)" in log.read_text()
