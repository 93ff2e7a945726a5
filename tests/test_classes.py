"""Several classes, end to end: from masks of labels to scores, pictures and masks of labels."""

import json
from types import SimpleNamespace

import cv2
import keras
import numpy as np
import pandas as pd
import pytest

from seg.contracts import SegError
from seg.data.cache import in_memory
from seg.figures.panels import CAPTION_PX
from seg.figures.pictures import Style
from seg.train import EpochImages

LABELS = {"organ": 1, "spine": 2}
COLOURS = Style().truth(1), Style().truth(2)
LABELLED = ("dataset.reader.classes=2", "dataset.labels={organ:1,spine:2}", "model.classes=3")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """One MLflow store for all: to make one takes longer than to train."""
    return f"tracking.uri=sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"


@pytest.fixture(scope="module")
def once():
    return {}


@pytest.fixture
def trained(once, experiment, tmp_path, store):
    """One run of three classes: (folder of data, run folder)."""
    if not once:
        small = ("trainer.epochs=1", "trainer.steps_per_epoch=6", "optimizer.learning_rate=2e-2")
        fast = ("augment=off", "tracking.log_model=false", "metrics.pooled_specificity=null")
        _, folder = experiment(store, *LABELLED, *small, *fast)
        (home,) = (tmp_path / "data" / "phantom").iterdir()
        once["run"] = home, folder
    return once["run"]


def test_a_case_has_a_row_for_each_class_that_is_scored_on_the_written_masks(trained):
    home, folder = trained
    tested = json.loads((folder / "splits.json").read_text())["test"]
    cases = pd.read_csv(folder / "cases.csv")
    wanted = [(patient, name) for patient in tested for name in LABELS]
    assert sorted(zip(cases["case"], cases["class"], strict=True)) == sorted(wanted)
    for row in cases.itertuples():
        value = LABELS[row[cases.columns.get_loc("class") + 1]]
        read = [
            [cv2.imread(str(where / f"{name}.png"), -1) == value for name in tested[row.case]]
            for where in (folder / "predictions", home / "masks")
        ]
        predicted, truth = np.stack(read[0]), np.stack(read[1])
        total = predicted.sum() + truth.sum()
        dice = 2 * (predicted & truth).sum() / total if total else np.nan
        assert row.dice == pytest.approx(dice, nan_ok=True)
        assert (row.truth_px, row.predicted_px) == (truth.sum(), predicted.sum())


def test_the_summary_has_the_mean_over_patients_and_classes_and_each_class(trained):
    _, folder = trained
    cases = pd.read_csv(folder / "cases.csv")
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["test/dice"] == pytest.approx(cases.groupby("patient")["dice"].mean().mean())
    for name in LABELS:
        of_class = cases[cases["class"] == name]["dice"].mean()
        assert summary[f"test/dice_{name}"] == pytest.approx(of_class, nan_ok=True)
        assert f"val/dice_{name}_ci_low" in summary


def test_predictions_hold_the_values_of_the_labels_and_no_others(trained):
    _, folder = trained
    masks = [cv2.imread(str(path), -1) for path in (folder / "predictions").iterdir()]
    found = set(np.unique(masks))
    assert found <= {0, 1, 2}
    assert len(found) > 1


def test_epoch_pictures_show_the_truth_in_the_colours_of_its_classes(trained):
    home, folder = trained
    (slices,) = (folder / "epoch_change").iterdir()
    picture = cv2.imread(str(slices / "epoch_001.png"))[CAPTION_PX:, :, ::-1]
    truth = picture[:, picture.shape[1] // 3 : 2 * picture.shape[1] // 3][4::8, 4::8]
    mask = cv2.imread(str(home / "masks" / f"{slices.name}.png"), -1)
    for value in np.unique(mask):
        colour = COLOURS[value - 1] if value else (0, 0, 0)
        np.testing.assert_array_equal((truth == colour).all(axis=-1), mask == value)


@pytest.mark.parametrize(
    ("logits", "colour"),
    [([-9.0, -9, 9], COLOURS[1]), ([-9.0, 9, -9], COLOURS[0]), ([9.0, -9, -9], (0, 0, 0))]
    + [([9.0], (255, 255, 255)), ([-9.0, 9], (255, 255, 255)), ([9.0, -9], (0, 0, 0))],
)
def test_epoch_pictures_show_each_class_in_its_colour_and_one_alone_in_white(
    tmp_path, logits, colour
):
    inputs = keras.Input((32, 32, 1))
    layer = keras.layers.Conv2D(len(logits), 1)
    model = keras.Model(inputs, layer(inputs))
    layer.set_weights([np.zeros((1, 1, 1, len(logits))), np.array(logits)])
    slices = in_memory(("a",), np.zeros((1, 32, 32, 1), "u2"), np.zeros((1, 32, 32, 1), "u1"))
    shown = EpochImages(slices, 1, tmp_path, SimpleNamespace(image=lambda *_, **__: None))
    shown.set_model(model)
    shown.on_train_begin()
    picture = cv2.imread(str(tmp_path / "a" / "epoch_000.png"))[CAPTION_PX:, :, ::-1]
    assert (picture[:, -256:] == colour).all()
    assert not picture[:, :-256].any()


def test_a_model_of_another_number_of_classes_is_refused_before_data_is_read(
    experiment, tmp_path, store
):
    with pytest.raises(SegError, match="output must be"):
        experiment(store, *LABELLED[:2], "model.classes=2")
    assert not (tmp_path / "data").exists()


def test_one_class_may_have_two_logits(experiment, tmp_path, store):
    inputs = keras.Input((32, 32, 1))
    keras.Model(inputs, keras.layers.Conv2D(2, 1)(inputs)).save(tmp_path / "two.keras")
    _, folder = experiment(store, "stages=[evaluate,infer]", f"checkpoint={tmp_path}/two.keras")
    assert "class" not in pd.read_csv(folder / "cases.csv")
    masks = [cv2.imread(str(path), -1) for path in (folder / "predictions").iterdir()]
    assert set(np.unique(masks)) == {0, 255}


def test_the_labels_of_volumes_are_kept_and_counted(experiment, tmp_path, volumes, store):
    for n in range(4):
        affine = volumes.affine_of("LPS", (1, 1, 3))
        image, label = volumes.scan(affine, (40, 32, 4), (-1000, 20, 130), 1)
        middle = int(np.median(np.argwhere(label)[:, 1]))
        label[:, middle:] *= 3
        for kind, voxels in (("images", image), ("labels", label)):
            path = tmp_path / f"raw/{kind}Tr/spleen_{n}.nii.gz"
            volumes.save_nifti(path, voxels, affine, "int16")
    _, folder = experiment(
        store,
        "dataset=spleen",
        f"dataset.source={tmp_path}/raw",
        "dataset.prepare.target_labels=null",
        "dataset.prepare.merge_labels=false",
        "dataset.labels={front:1,back:3}",
        "stages=[describe]",
    )
    facts = pd.read_csv(folder / "describe" / "slices.csv")
    assert (facts["target_px"] == facts["target_px_front"] + facts["target_px_back"]).all()
    assert facts["target_px_front"].sum() > 0 < facts["target_px_back"].sum()
    merged = ("stages=[prepare]", f"paths.data={tmp_path}/merged")
    targets = "dataset.prepare.target_labels=null"
    experiment(store, "dataset=spleen", f"dataset.source={tmp_path}/raw", targets, *merged)
    (home,) = (tmp_path / "merged" / "spleen").glob("prepared-*")
    stored = [cv2.imread(str(path), -1) for path in (home / "masks").iterdir()]
    assert set(np.unique(stored)) == {0, 255}
    assert "merge_labels" not in (home / "dataset.json").read_text()


@pytest.mark.parametrize("labels", ["null", "{spine:1,organ:2}", "{organ:1}"])
def test_a_checkpoint_is_not_used_with_other_labels_than_it_has_learned(
    trained, experiment, labels
):
    _, folder = trained
    given = f"dataset.labels={labels}", "dataset.reader.classes=2", "stages=[evaluate]"
    sentence = r"checkpoint has learned, \{'organ': 1, 'spine': 2\}. Received: "
    with pytest.raises(SegError, match=sentence):
        experiment(*given, f"checkpoint={folder}")


def test_the_order_in_which_labels_are_typed_does_not_matter():
    from hydra import compose, initialize_config_dir

    from seg.config import classes, conf_dir

    with initialize_config_dir(conf_dir(), version_base="1.3"):
        cfg = compose("config", ["dataset.labels={spine:2,organ:1}"])
    assert classes(cfg).names == ("organ", "spine")
    assert classes(cfg).values == (0, 1, 2)
