"""Datasets from their publisher's files to a trained model, by configuration alone."""

import json
import logging
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest

from seg.contracts import SegError

SMALL = ("dataset.image_size=32", "model.levels=2", "model.base_filters=4", "trainer.epochs=1")


def sides(folder: Path) -> dict[str, set[str]]:
    splits = json.loads((folder / "splits.json").read_text())
    return {side: set(splits[side]) for side in ("train", "valid", "test")}


@pytest.mark.parametrize("name", ["spleen", "pancreas_t1", "ms_flair", "breastdm", "lgg"])
def test_a_publishers_tree_trains_and_is_scored_per_patient(name, experiment, tmp_path, publisher):
    source = publisher(name, tmp_path / "raw")
    _, folder = experiment(f"dataset={name}", f"dataset.source={source}", "trainer.epochs=1")
    split = sides(folder)
    assert sum(map(len, split.values())) == len(set().union(*split.values())) == 4
    cases = pd.read_csv(folder / "cases.csv", dtype={"patient": str})
    assert set(cases.patient) == split["test"]
    assert (cases.truth_px > 0).all()
    (home,) = (tmp_path / "data" / name).glob("prepared-*")
    manifest = pd.read_csv(home / "manifest.csv", dtype={"patient": str})
    tested = manifest[manifest.patient.isin(split["test"])]
    assert cases.truth_px.sum() == tested.target_px.sum()
    assert {p.name for p in (folder / "predictions").iterdir()} == {
        Path(p).name for p in tested.image
    }
    if name == "breastdm":
        assert split["valid"] == {"BreaDM-Ma-1901"}
        assert split["test"] == {"BreaDM-Ma-2001"}


@pytest.fixture
def mni(tmp_path, volumes):
    """The layout of ms_mni: three patients."""
    for n in (7, 19, 26):
        affine = volumes.affine_of("LAS", (1, 1, 1))
        image, label = volumes.scan(affine, (44, 52, 20), (0, 110, 190 + n), 1)
        for name, voxels in (("FLAIR", image), ("lesions", label)):
            path = tmp_path / f"ms/patient{n:02d}/{name}.nii.gz"
            volumes.save_nifti(path, voxels, affine, "int16")
    return tmp_path / "ms"


def test_two_patients_train_and_the_third_is_tested(mni, experiment, caplog):
    caplog.set_level("INFO")
    objective, folder = experiment(
        "dataset=ms_mni",
        f"dataset.source={mni}",
        "dataset.fractions=[0.67,0,0.33]",
        "trainer.monitor=train/loss",
    )
    assert {side: len(patients) for side, patients in sides(folder).items()} == {
        "train": 2,
        "valid": 0,
        "test": 1,
    }
    summary = json.loads((folder / "summary.json").read_text())
    assert np.isnan(objective)
    assert 0 <= summary["test/dice"] <= 1
    said = f"test: Dice {summary['test/dice']:.4f} (too few for an interval) over 1 patients"
    assert said in caplog.text
    history = pd.read_csv(folder / "history.csv")
    assert summary["best/epoch"] == history.epoch[history["train/loss"].idxmin()]
    assert (folder / "figures/loss.png").exists()


def test_training_without_validation_must_be_asked_for(mni, experiment):
    with pytest.raises(SegError, match="trainer.monitor=train/loss"):
        experiment("dataset=ms_mni", f"dataset.source={mni}", "dataset.fractions=[0.67,0,0.33]")


SEVENTH = """
# Kidneys and their tumours in CT, a folder per case.
name: seventh
raw:
  _target_: seg.data.nifti.NiftiPairs
  image_pattern: 'case_(?P<patient>\\d+)/imaging\\.nii\\.gz$'
  label_pattern: 'case_(?P<patient>\\d+)/segmentation\\.nii\\.gz$'
  plane: coronal
  time_point: null
  grid_tolerance_voxels: 0.1
prepare:
  _target_: seg.data.recipe.Recipe
  intensity: {_target_: seg.data.intensity.Window, centre_hu: 40, width_hu: 300}
  known_labels: [0, 1, 2]
  target_labels: [1, 2]
  square_pixels: true
  bits: 16
"""


def test_a_seventh_dataset_is_one_yaml_in_a_folder_of_the_users(tmp_path, volumes, command):
    for n in range(4):
        affine = volumes.affine_of("LPS", (1, 1, 2))
        image, label = volumes.scan(affine, (44, 40, 12), (-1000, 30, 180), 1 + n % 2)
        for name, voxels in (("imaging", image), ("segmentation", label)):
            path = tmp_path / f"kits/case_{n:05d}/{name}.nii.gz"
            volumes.save_nifti(path, voxels, affine, "int16")
    (tmp_path / "mine/dataset").mkdir(parents=True)
    (tmp_path / "mine/dataset/seventh.yaml").write_text(SEVENTH)
    mine = (f"--config-dir={tmp_path / 'mine'}", "dataset=seventh")
    done = command(*mine, *SMALL, "dataset.source=kits")
    assert done.returncode == 0, done.stderr
    cases = pd.read_csv(tmp_path / done.stdout.splitlines()[-1] / "cases.csv")
    assert cases.slices.tolist() == [40]
    assert (cases.truth_px > 0).all()
    again = command(*mine, "stages=[prepare]")
    assert again.returncode == 0, again.stderr
    assert "preparing" not in again.stderr


def test_preparation_and_description_need_no_model(mni, experiment, tmp_path):
    _, folder = experiment("dataset=ms_mni", f"dataset.source={mni}", "stages=[prepare,describe]")
    assert folder.parent.name == "data"
    assert not (folder / "model.keras").exists()
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/outputs/mlflow.db")
    (run,) = client.search_runs([client.get_experiment_by_name("ms_mni").experiment_id])
    sent = {file.path for file in client.list_artifacts(run.info.run_id, "describe")}
    assert {
        "describe/statistics.csv",
        "describe/statistics.png",
        "describe/samples_test.png",
        "describe/samples_augmented.png",
    } <= sent
    assert run.data.metrics["data/train_slices"] == 20
    assert "model" not in run.data.params


def test_each_patient_is_tested_in_one_fold_and_the_split_has_a_seed_of_its_own(experiment):
    tested, described = [], ("stages=[describe]", "dataset.folds=4", "dataset.split_seed=3")
    for fold in range(4):
        _, folder = experiment(*described, f"dataset.fold={fold}", f"seed={fold}")
        split = sides(folder)
        assert not split["test"] & (split["train"] | split["valid"])
        tested += split["test"]
    assert sorted(tested) == [f"p{i:03d}" for i in range(8)]


def test_slices_without_target_are_left_out_of_training_only(experiment, caplog):
    caplog.set_level(logging.INFO)
    _, folder = experiment("dataset.empty_ratio=0", "trainer.epochs=1")
    log = caplog.text
    counts = pd.read_csv(folder / "cases.csv").slices
    assert set(counts) == {4}
    assert "training slices without target are left out" in log
    split = json.loads((folder / "splits.json").read_text())
    listed = sum(map(len, split["train"].values()))
    learned = int(log.split("train: ")[1].split()[0])
    assert learned < listed


def test_a_bad_case_stops_the_run_or_is_left_out_and_listed(experiment, tmp_path, publisher):
    source = publisher("spleen", tmp_path / "raw")
    broken = source / "Task09_Spleen/imagesTr/spleen_3.nii.gz"
    broken.write_bytes(broken.read_bytes()[:500])
    use = ("dataset=spleen", f"dataset.source={source}", "stages=[prepare]")
    with pytest.raises(SegError, match=r"spleen_3\.nii\.gz.*dataset\.on_bad=skip"):
        experiment(*use)
    _, folder = experiment(*use, "dataset.on_bad=skip")
    assert set().union(*sides(folder).values()) == {"2", "6", "10"}
    with pytest.raises(SegError, match=r"1 cases were left out .*\(3\)"):
        experiment(*use)


def test_a_fetched_dataset_is_not_taken_for_another_source_of_the_same_recipe(
    experiment, tmp_path, publisher
):
    source = publisher("spleen", tmp_path / "raw")
    experiment("dataset=spleen", f"dataset.source={source}", "stages=[prepare]")
    nowhere = "dataset.fetch.url=http://127.0.0.1:9/Task09_Spleen.tar"
    with pytest.raises(SegError, match=r"127\.0\.0\.1:9"):
        experiment("dataset=spleen", "dataset.download=true", nowhere, "stages=[prepare]")


def test_raw_and_ready_made_files_of_a_person_have_one_name(experiment, tmp_path, publisher):
    """Or a checkpoint trained on the one would be tested, without a warning, on the other."""
    import cv2

    ready = {"spleen": "10003_spleen_{}", "ms_flair": "1{:0>2}003", "lgg": "{}_19970222_14"}
    for name, pattern in ready.items():
        source = publisher(name, tmp_path / "raw" / name)
        root = f"dataset.root={tmp_path}/{name}"
        how = (f"dataset={name}", "stages=[describe]")
        _, folder = experiment(*how, root, f"dataset.source={source}")
        people = set().union(*sides(folder).values())
        for kind in ("images", "masks"):
            (tmp_path / "ready" / name / kind).mkdir(parents=True)
            for person in people:
                file = tmp_path / "ready" / name / kind / f"{pattern.format(person)}.png"
                cv2.imwrite(str(file), np.eye(32, dtype=np.uint8) * 255)
        _, folder = experiment(*how, f"dataset.root={tmp_path}/ready/{name}")
        assert set().union(*sides(folder).values()) == people


def test_the_log_says_which_prepared_dataset_was_read(experiment, tmp_path, publisher, caplog):
    caplog.set_level(logging.INFO)
    source = publisher("ms_flair", tmp_path / "raw")
    experiment("dataset=ms_flair", f"dataset.source={source}", "stages=[prepare]")
    caplog.clear()
    experiment("dataset=ms_flair", "stages=[describe]")
    (home,) = (tmp_path / "data/ms_flair").glob("prepared-*")
    made = json.loads((home / "dataset.json").read_text())
    assert f"{home}, manifest {made['manifest_sha256'][:12]}" in caplog.text
