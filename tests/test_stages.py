"""Facts about `seg.stages`: what is opened when, and what a number can depend on."""

import json
import shutil
import sys

import cv2
import keras
import numpy as np
import pandas as pd
import pytest

from seg.contracts import SegError
from seg.models import manual

SIDES = {"train": ("p000", "p001", "p002"), "valid": ("p003",), "test": ("p004", "p005")}
QUICK = ("dataset=spleen", "augment=on", "trainer.epoch_images=1", "dataset.image_size=32")
PATTERN = r"dataset.reader.patient_pattern='^(p\d+)_'"


@pytest.fixture
def divided(cohort, tmp_path):
    """Folder of the cohort in ready-made sides."""
    for side, patients in SIDES.items():
        for kind in ("images", "masks"):
            (tmp_path / "data" / side / kind).mkdir(parents=True)
            for file in (cohort / kind).iterdir():
                if file.name.startswith(patients):
                    shutil.copy(file, tmp_path / "data" / side / kind)
    return tmp_path / "data"


def scramble(folder):
    """Give every picture of a side other pixels."""
    for i, file in enumerate(sorted(folder.rglob("*.png"))):
        rng = np.random.default_rng(i)
        pixels = rng.integers(0, 256, cv2.imread(str(file), cv2.IMREAD_UNCHANGED).shape)
        cv2.imwrite(str(file), np.where(pixels > 127, 255, 0).astype(np.uint8))


def learned(folder):
    """What a run has learned and chosen: weights, curves, manual, scores of validation."""
    weights = keras.saving.load_model(folder / "model.keras", compile=False).get_weights()
    curves = pd.read_csv(folder / "history.csv")
    timed = [name for name in curves if name.startswith("epoch/")]
    scores = json.loads((folder / "summary.json").read_text())
    kept = {k: v for k, v in scores.items() if not k.startswith(("test/", "train/images"))}
    known = manual.read(folder / "model.keras")
    return weights, curves.drop(columns=timed).to_dict("list"), known, kept


def test_no_number_depends_on_the_test_patients_but_theirs(divided, experiment):
    words = (*QUICK, PATTERN, f"dataset.root={divided}", "stages=[train,evaluate]")
    _, before = experiment(*words)
    scramble(divided / "test")
    _, after = experiment(*words)
    *first, scores = learned(before)
    *second, others = learned(after)
    for one, other in zip(first[0], second[0], strict=True):
        np.testing.assert_array_equal(one, other)
    assert first[1:] == second[1:]
    assert scores == others
    tested = [json.loads((f / "summary.json").read_text())["test/dice"] for f in (before, after)]
    assert tested[0] != tested[1]


OPENED = []
sys.addaudithook(lambda event, arguments: event == "open" and OPENED.append(arguments[:2]))


def test_the_test_side_is_closed_from_the_split_to_the_last_choice(divided, experiment):
    """Its files are checked and their digests taken when the split is made; then not until scored.

    The last choice is in the model's file when its manual is added.
    """
    OPENED.clear()
    words = (*QUICK, PATTERN, f"dataset.root={divided}")
    _, folder = experiment(*words)
    opened = [(str(path), mode) for path, mode in OPENED]
    tested = [i for i, (path, _) in enumerate(opened) if f"{divided}/test/" in path]
    split = opened.index((str(folder / "splits.json"), "w"))
    chosen = opened.index((str(folder / "model.tmp.keras"), "r+"))
    assert split < chosen
    assert any(i < split for i in tested)
    assert not any(split < i < chosen for i in tested)
    assert any(i > chosen for i in tested)
    valid = [i for i, (path, _) in enumerate(opened) if f"{divided}/valid/" in path]
    assert any(split < i < chosen for i in valid)


def test_what_was_chosen_on_validation_is_how_test_patients_are_masked(experiment):
    """The run's own masks are those that its model makes elsewhere, as its file says."""
    _, folder = experiment("stages=[train,evaluate,infer]")
    _, again = experiment("stages=[evaluate,infer]", f"checkpoint={folder}")
    known, scores = manual.read(folder / "model.keras"), []
    for run in (folder, again):
        summary = json.loads((run / "summary.json").read_text())
        assert {k: v for k, v in summary.items() if k.startswith("infer/")} == known.told()
        scores.append({k: v for k, v in summary.items() if k.startswith("test/")})
    assert scores[0] == scores[1]
    for file in (folder / "predictions").iterdir():
        assert file.read_bytes() == (again / "predictions" / file.name).read_bytes()
    _, plain = experiment(
        "stages=[evaluate]", f"checkpoint={folder}", "infer.threshold=0.95", "infer.tta=false"
    )
    assert json.loads((plain / "summary.json").read_text())["infer/threshold"] == 0.95


def test_the_step_of_training_is_traced_once(experiment, monkeypatch):
    """Keras traces it again where it makes variables meanwhile: seconds of any model."""
    traced = []
    step = keras.Model.train_step
    monkeypatch.setattr(
        keras.Model, "train_step", lambda *given: traced.append(given) or step(*given)
    )
    experiment("stages=[train]")
    assert len(traced) == 1


def test_without_validation_nothing_is_chosen_and_what_is_given_counts(experiment):
    words = ("dataset.fractions=[0.7,0,0.3]", "trainer.monitor=train/loss", "infer.threshold=0.3")
    _, folder = experiment("stages=[train]", *words, "infer.min_size=77")
    known = manual.read(folder / "model.keras")
    assert (known.threshold, known.cleanup.min_size, known.flipped) == (0.3, 77, False)


def test_a_bare_model_is_not_scored_under_other_names(experiment, tmp_path):
    classes = ("dataset.reader.classes=2", "model.classes=3", "stages=[train]")
    _, folder = experiment(*classes, "dataset.labels={organ:1,spine:2}")
    shutil.copy(folder / "model.keras", tmp_path / "bare.keras")
    words = ("dataset.reader.classes=2", f"checkpoint={tmp_path}/bare.keras", "stages=[evaluate]")
    with pytest.raises(SegError, match="dataset.labels must be what the checkpoint has learned"):
        experiment(*words, "dataset.labels={organ:2,spine:1}")


def test_flips_that_were_never_learned_are_refused_before_the_training(experiment):
    with pytest.raises(SegError, match="infer.tta=true"):
        experiment("stages=[train]", "augment=off", "infer.tta=true", "trainer.epochs=1000")


def test_the_manual_says_what_the_model_has_learned_from(experiment):
    _, folder = experiment("stages=[train]", "augment.flip_vertical=null")
    known = manual.read(folder / "model.keras")
    assert (known.size, known.channels, known.seen) == ((32, 32), 1, (32, 32))
    assert (known.stacked, known.sequences, known.of_volumes) == (True, 1, False)
    assert known.flips == ("horizontal",)
    _, off = experiment("stages=[train]", "augment=off", "infer.threshold=0.4", "infer.min_size=0")
    told = manual.read(off / "model.keras")
    assert (told.flips, told.flipped, told.threshold) == ((), False, 0.4)
    assert told.cleanup.min_size == 0
