"""Facts about `seg.predict`: models that are formulas, so that every voxel is known in advance."""

import json
import shutil
from pathlib import Path

import cv2
import keras
import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from seg.contracts import SegError
from seg.models.manual import Cleanup, Manual, write

WINDOW = {
    "_target_": "seg.data.recipe.Recipe",
    "intensity": {"_target_": "seg.data.intensity.Window", "centre_hu": 50, "width_hu": 400},
    "known_labels": None,
    "target_labels": [1],
    "square_pixels": True,
    "bits": 8,
    "merge_labels": True,
}
VOLUMES = {"plane": "axial", "time_point": None}


def formula(size, weight, bias):
    """Return a model whose logit is a multiple of the grey value, plus a bias."""
    inputs = keras.Input((*size, 1))
    layer = keras.layers.Conv2D(1, 1)
    model = keras.Model(inputs, layer(inputs))
    layer.set_weights([np.full((1, 1, 1, 1), weight), np.array([bias])])
    return model


@pytest.fixture
def trained(tmp_path):
    """Save a model whose logit turns at a grey value, 0..1, and return its file."""

    def save(turn=0.5, size=(16, 16), name="model", weight=200.0, **known):
        file = tmp_path / f"{name}.keras"
        formula(size, weight, -weight * turn).save(file)
        about = {"channels": 1, "labels": {}, "seen": size, "stacked": True}
        write(Manual(size=size, **about | known), file)
        return file

    return save


@pytest.fixture
def predict(tmp_path):
    """Predict into tmp_path/out in this process; return how many files failed, and the folder."""
    from hydra import compose, initialize

    from seg import predict as module
    from seg.config import validate_prediction

    def start(model, given, *words, out="out"):
        module.register()
        with initialize(None, version_base="1.3"):
            cfg = compose("predict", [f"model={model}", f"input={given}", "output=x", *words])
        folder = tmp_path / out
        folder.mkdir()
        return module.predict(validate_prediction(cfg), folder), folder

    return start


def table(folder):
    return pd.read_csv(folder / "predictions.csv").set_index("input")


@pytest.mark.parametrize("codes", ["LPS", "RAS", "PIR", "SAL"])
@pytest.mark.parametrize("ending", [".nii.gz", ".nii"])
def test_a_volume_comes_back_in_its_own_grid(codes, ending, trained, predict, tmp_path, volumes):
    """The window is -150 to 250 HU: 50 HU, the middle, is where the logit turns."""
    spacing = [4.0 if code in "SI" else 1.0 for code in codes]
    shape = [6 if code in "SI" else 16 for code in codes]
    rng = np.random.default_rng(0)
    voxels = rng.choice([-1000, 0, 40, 60, 200, 3000], shape)
    file = tmp_path / "in" / f"a{ending}"
    volumes.save_nifti(file, voxels, volumes.affine_of(codes, spacing), "int16")
    model = trained(raw=VOLUMES, prepare=WINDOW)
    failed, out = predict(model, file)
    assert failed == 0
    given, mask = nib.load(file), nib.load(out / "masks" / f"a{ending}")
    np.testing.assert_array_equal(np.asarray(mask.dataobj), voxels > 50)
    assert mask.get_data_dtype() == np.uint8
    assert np.asarray(mask.dataobj).dtype == np.uint8
    np.testing.assert_array_equal(mask.affine, given.affine)
    for key in ("dim", "pixdim", "qform_code", "sform_code", "xyzt_units", "qoffset_x", "srow_x"):
        np.testing.assert_array_equal(mask.header[key], given.header[key], key)
    row = table(out).loc[str(file)]
    assert row["target_px"] == (voxels > 50).sum()
    assert row["target_ml"] == pytest.approx((voxels > 50).sum() * 4 / 1000)


def test_oblong_pixels_are_squared_for_the_model_and_come_back(trained, predict, tmp_path, volumes):
    """Rows of 2 mm and columns of 1 mm: 8 rows are seen as 16."""
    voxels = np.zeros((16, 8, 4))
    voxels[4:12, 2:6] = 200
    file = tmp_path / "in" / "a.nii"
    volumes.save_nifti(file, voxels, volumes.affine_of("LPS", (1, 2, 5)), "int16")
    _, out = predict(trained(raw=VOLUMES, prepare=WINDOW), file)
    found = np.asarray(nib.load(out / "masks" / "a.nii").dataobj)
    np.testing.assert_array_equal(found, voxels > 0)


def test_the_second_time_point_of_a_4d_volume_gives_a_mask_of_3(
    trained, predict, tmp_path, volumes
):
    voxels = np.zeros((16, 16, 3, 2))
    voxels[3:9, ..., 1] = 200
    file = tmp_path / "in" / "a.nii.gz"
    volumes.save_nifti(file, voxels, volumes.affine_of("LPS", (1, 1, 3)), "int16")
    _, out = predict(trained(raw=VOLUMES | {"time_point": 1}, prepare=WINDOW), file)
    mask = nib.load(out / "masks" / "a.nii.gz")
    np.testing.assert_array_equal(np.asarray(mask.dataobj), voxels[..., 1] > 0)


def pictures(folder, n=5, size=16):
    """Write pictures of noise, and return them by name."""
    rng = np.random.default_rng(0)
    made = {}
    for i in range(n):
        name = f"{'deep/er/' if i % 2 else ''}{i}"
        made[name] = rng.integers(0, 256, (size, size), np.uint8)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / f"{name}.png"), made[name])
    return made


def grey(file):
    return cv2.imread(str(file), cv2.IMREAD_UNCHANGED)


@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_a_folder_of_pictures_is_predicted_at_any_depth(batch_size, trained, predict, tmp_path):
    made = pictures(tmp_path / "in")
    (tmp_path / "in" / ".hidden.png").write_bytes(b"")
    (tmp_path / "in" / "notes.txt").write_text("no picture")
    failed, out = predict(trained(), tmp_path / "in", f"batch_size={batch_size}")
    assert failed == 0
    for name, pixels in made.items():
        mask = grey(out / "masks" / f"{name}.png")
        np.testing.assert_array_equal(mask, np.where(pixels > 127, 255, 0))
        assert (out / "overlays" / f"{name}.png").is_file()
    assert len(table(out)) == len(made)
    assert not (out / "probabilities").exists()


def test_a_bad_file_is_listed_and_the_others_are_predicted(trained, predict, tmp_path, volumes):
    """One that is no picture, two of one name, a volume that is cut off, one without contrast."""
    made = pictures(tmp_path / "in")
    (tmp_path / "in" / "1x.png").write_bytes(b"no picture")
    shutil.copy(tmp_path / "in" / "0.png", tmp_path / "in" / "0.bmp")
    affine = volumes.affine_of("LPS", (1, 1, 3))
    volumes.save_nifti(tmp_path / "in" / "v.nii.gz", np.ones((16, 16, 3)), affine, "int16")
    whole = (tmp_path / "in" / "v.nii.gz").read_bytes()
    (tmp_path / "in" / "cut.nii.gz").write_bytes(whole[: len(whole) // 2])
    prepare = WINDOW | {
        "intensity": {
            "_target_": "seg.data.intensity.Percentiles",
            "low_percent": 1,
            "high_percent": 99,
        }
    }
    failed, out = predict(trained(raw=VOLUMES, prepare=prepare), tmp_path / "in")
    assert failed == 4
    rows = table(out)
    problems = {Path(path).name: why for path, why in rows["problem"].dropna().items()}
    assert set(problems) == {"1x.png", "0.png", "v.nii.gz", "cut.nii.gz"}
    assert "not a readable image" in problems["1x.png"]
    assert "shares its name with 0.bmp" in problems["0.png"]
    assert "equal" in problems["v.nii.gz"]
    assert "no readable NIfTI" in problems["cut.nii.gz"]
    done = [path for path in (out / "masks").rglob("*") if path.is_file()]
    assert len(done) == rows["mask"].count() == len(made)


def test_the_mean_of_several_models_is_taken(trained, predict, tmp_path):
    """Probabilities that rise linearly near a half: 0.3, 0.7 turn where their mean does, at 0.5."""
    made = pictures(tmp_path / "in", n=1, size=16)
    low, high = trained(0.3, name="low", weight=1.0), trained(0.7, name="high", weight=1.0)
    _, out = predict(f"[{low},{high}]", tmp_path / "in", "write=[masks,probabilities]")
    np.testing.assert_array_equal(grey(out / "masks" / "0.png"), np.where(made["0"] > 127, 255, 0))
    x = made["0"] / np.float32(255)
    mean = (1 / (1 + np.exp(0.3 - x)) + 1 / (1 + np.exp(0.7 - x))) / 2
    found = grey(out / "probabilities" / "0.png")
    assert found.dtype == np.uint16
    np.testing.assert_allclose(found / 65535, mean, atol=1e-5)
    about = json.loads((out / "models.json").read_text())["models"]
    assert [each["model"] for each in about] == [str(low), str(high)]
    assert len({each["sha256"] for each in about}) == 2


def test_models_of_other_classes_do_not_predict_together(trained, predict, tmp_path):
    pictures(tmp_path / "in", n=1)
    other = trained(name="other", labels={"organ": 1})
    with pytest.raises(SegError, match="same classes.*organ"):
        predict(f"[{trained()},{other}]", tmp_path / "in")


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"raw": VOLUMES | {"plane": "coronal"}, "prepare": WINDOW}, "same plane.*coronal"),
        ({}, "same plane of volumes, or from pictures.*pictures"),
        (
            {
                "raw": VOLUMES,
                "prepare": WINDOW,
                "cleanup": Cleanup(min_size=9.0, unit="px"),
            },
            "one unit.*mm3, px",
        ),
    ],
)
def test_models_that_look_at_volumes_in_other_ways_do_not_predict_together(
    other, said, trained, predict, tmp_path
):
    pictures(tmp_path / "in", n=1)
    cleanup = Cleanup(min_size=9.0, unit="mm3")
    first = trained(raw=VOLUMES, prepare=WINDOW, cleanup=cleanup)
    with pytest.raises(SegError, match=f"model: all must.*{said}"):
        predict(f"[{first},{trained(name='other', **other)}]", tmp_path / "in")


def test_one_volume_is_not_what_a_model_of_several_wants(trained, predict, tmp_path, volumes):
    affine = volumes.affine_of("LPS", (1, 1, 3))
    volumes.save_nifti(tmp_path / "in" / "v.nii.gz", np.ones((16, 16, 3)), affine, "int16")
    failed, out = predict(trained(raw=VOLUMES, prepare=WINDOW, sequences=3), tmp_path / "in")
    assert failed == 1
    assert "has learned from 3 of each case" in table(out)["problem"].iloc[0]


def test_a_size_in_mm3_is_no_number_of_pixels(trained, predict, tmp_path):
    pictures(tmp_path / "in", n=2)
    model = trained(stacked=False, cleanup=Cleanup(min_size=9.0, unit="mm3"))
    failed, out = predict(model, tmp_path / "in")
    assert failed == 2
    assert "chosen in mm3, and the spacing is unknown" in table(out)["problem"].iloc[0]
    failed, _ = predict(model, tmp_path / "in", "infer.min_size=9", out="given")
    assert failed == 0


def test_a_picture_with_several_pages_is_not_taken_for_its_first(trained, predict, tmp_path):
    (tmp_path / "in").mkdir()
    cv2.imwritemulti(str(tmp_path / "in" / "a.tif"), [np.zeros((16, 16), np.uint8)] * 3)
    failed, out = predict(trained(), tmp_path / "in")
    assert failed == 1
    assert "has several pages" in table(out)["problem"].iloc[0]


def test_colours_become_grey_as_the_preparation_of_training_made_them(trained, predict, tmp_path):
    """Learned from colour files read as grey: pure red is 0.299, which is not bright."""
    red = np.zeros((16, 16, 3), np.uint8)
    red[:8, :, 2] = 255
    (tmp_path / "in").mkdir()
    cv2.imwrite(str(tmp_path / "in" / "a.png"), red)
    stored = WINDOW | {"intensity": {"_target_": "seg.data.intensity.AsStored"}}
    for turn, found in ((0.25, 128), (0.35, 0)):
        model = trained(turn, raw={"channels": 1}, prepare=stored, name=f"m{found}")
        _, out = predict(model, tmp_path / "in", out=f"out{found}")
        assert (grey(out / "masks" / "a.png") > 0).sum() == found


def test_what_was_chosen_on_validation_is_done_unless_something_else_is_given(
    trained, predict, tmp_path, volumes
):
    """Two bars, of 16 x 3 and 16 x 2 voxels in each of 3 slices, of 100 and 200 HU."""
    voxels = np.zeros((16, 16, 3))
    voxels[2:5], voxels[9:11] = 100, 200
    file = tmp_path / "in" / "a.nii.gz"
    volumes.save_nifti(file, voxels, volumes.affine_of("LPS", (1, 1, 3)), "int16")
    known = {"raw": VOLUMES, "prepare": WINDOW, "cleanup": Cleanup(largest_component=True)}
    model = trained(0.5, threshold=0.4, **known)

    def found(*words):
        _, out = predict(model, file, *words, out=f"out{len(words)}{words[-1:]}".replace("/", ""))
        return np.asarray(nib.load(out / "masks" / "a.nii.gz").dataobj)

    np.testing.assert_array_equal(found(), voxels == 100)
    np.testing.assert_array_equal(found("infer.largest_component=false"), voxels > 0)
    # 100 HU is 0.625 of the window: its logit is 25, that of 200 HU 75.
    high = found("infer.threshold=0.99999999999999", "infer.largest_component=false")
    np.testing.assert_array_equal(high, voxels > 0)


def test_a_picture_alone_is_not_cleaned_as_a_stack_was(trained, predict, tmp_path):
    made = pictures(tmp_path / "in", n=1)
    stacked = trained(cleanup=Cleanup(largest_component=True))
    _, out = predict(stacked, tmp_path / "in")
    np.testing.assert_array_equal(grey(out / "masks" / "0.png"), np.where(made["0"] > 127, 255, 0))
    _, given = predict(stacked, tmp_path / "in", "infer.largest_component=true", out="given")
    single = trained(name="single", stacked=False, cleanup=Cleanup(largest_component=True))
    _, own = predict(single, tmp_path / "in", out="own")
    cleaned = grey(given / "masks" / "0.png")
    assert 0 < (cleaned > 0).sum() < (made["0"] > 127).sum()
    np.testing.assert_array_equal(cleaned, grey(own / "masks" / "0.png"))


def test_a_model_that_learned_from_pictures_refuses_volumes(trained, predict, tmp_path, volumes):
    affine = volumes.affine_of("LPS", (1, 1, 3))
    volumes.save_nifti(tmp_path / "in" / "v.nii.gz", np.ones((16, 16, 3)), affine, "int16")
    failed, out = predict(trained(), tmp_path / "in")
    assert failed == 1
    assert "learned from pictures" in table(out)["problem"].iloc[0]


def test_a_preparation_that_is_no_part_of_seg_is_not_run(trained, predict, tmp_path, volumes):
    """A model is anyone's file, and could name anything."""
    affine = volumes.affine_of("LPS", (1, 1, 3))
    volumes.save_nifti(tmp_path / "in" / "v.nii.gz", np.ones((16, 16, 3)), affine, "int16")
    evil = WINDOW | {"intensity": {"_target_": "pathlib.Path.touch", "self": "x"}}
    failed, out = predict(trained(raw=VOLUMES, prepare=evil), tmp_path / "in")
    assert failed == 1
    assert "pathlib.Path.touch, which is no part of seg" in table(out)["problem"].iloc[0]


def test_larger_pictures_are_seen_in_windows_at_the_scale_of_training(trained, predict, tmp_path):
    """Learned from 16 x 16 as they are: 40 x 16 keeps each pixel, or is shrunk to 16 x 6."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (40, 16), np.uint8)
    (tmp_path / "in").mkdir()
    cv2.imwrite(str(tmp_path / "in" / "a.png"), pixels)
    wanted = np.where(pixels > 127, 255, 0)
    _, out = predict(trained(), tmp_path / "in")
    np.testing.assert_array_equal(grey(out / "masks" / "a.png"), wanted)
    _, shrunk = predict(trained(), tmp_path / "in", "infer.tile=never", out="shrunk")
    assert (grey(shrunk / "masks" / "a.png") != wanted).mean() > 0.2


def test_flips_are_for_models_that_know_them(trained, predict, tmp_path):
    pictures(tmp_path / "in", n=1)
    with pytest.raises(SegError, match="infer.tta=true: the model was trained without flips"):
        predict(trained(), tmp_path / "in", "infer.tta=true")
    failed, _ = predict(trained(flips=("horizontal",)), tmp_path / "in", "infer.tta=true", out="b")
    assert failed == 0


def test_several_classes_have_their_labels_values_and_a_probability_each(predict, tmp_path):
    inputs = keras.Input((16, 16, 1))
    layer = keras.layers.Conv2D(3, 1)
    model = keras.Model(inputs, layer(inputs))
    layer.set_weights([np.array([0.0, 100, 200]).reshape(1, 1, 1, 3), np.array([0.0, -25, -100])])
    model.save(tmp_path / "m.keras")
    labels = {"liver": 3, "tumour": 200}
    write(Manual((16, 16), 1, labels, (16, 16), stacked=False), tmp_path / "m.keras")
    made = pictures(tmp_path / "in", n=1)
    kinds = "write=[masks,overlays,probabilities]"
    _, out = predict(tmp_path / "m.keras", tmp_path / "in", kinds)
    pixels = made["0"]
    wanted = np.select([pixels > 191, pixels > 63], [200, 3])
    np.testing.assert_array_equal(grey(out / "masks" / "0.png"), wanted)
    found = [grey(out / "probabilities" / f"0_{name}.png") / 65535 for name in labels]
    np.testing.assert_array_equal(np.argmax([1 - sum(found), *found], axis=0) > 0, wanted > 0)


def test_the_overlay_of_a_volume_shows_slices_with_what_was_found(
    trained, predict, tmp_path, volumes
):
    voxels = np.zeros((16, 16, 30))
    voxels[4:9, 4:9, 10:14] = 200
    file = tmp_path / "in" / "a.nii.gz"
    volumes.save_nifti(file, voxels, volumes.affine_of("LPS", (1, 1, 3)), "int16")
    _, out = predict(trained(raw=VOLUMES, prepare=WINDOW), file, "overlay.opacity=1")
    picture = grey(out / "overlays" / "a.png")[..., ::-1]
    pink = (picture == (255, 64, 160)).all(axis=-1)
    # Four slices, each pixel of 16 x 16 enlarged 16 times, 5 x 5 of them found.
    assert 0.9 < pink.sum() / (4 * 25 * 16 * 16) < 1.1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["input=in", "output=out"], "model=... is missing"),
        (["model=m.keras", "input=in", "output=out"], "model: no file"),
        (["model=m", "input=nowhere", "output=out"], "input: nowhere is no picture"),
        (["model=m", "input=in", "output=in"], "output: in is not empty"),
        (["model=m", "input=in", "output=in/out"], "output: in/out lies in the input"),
        (["model=m", "input=in", "output=out", "infer.treshold=1"], "did you mean infer.threshold"),
        (["model=m", "input=in", "output=out", "infer.threshold=2"], "infer.threshold must be"),
        (["model=m", "input=in", "output=out", "overlay.opacity=2"], "overlay.opacity is 2"),
        (["model=old.keras", "input=in", "output=out"], "old.keras does not say how it is used"),
    ],
)
def test_a_mistake_is_one_sentence(words, said, command, tmp_path):
    pictures(tmp_path / "in", n=1)
    formula((16, 16), 1.0, 0.0).save(tmp_path / "old.keras")
    ended = command(*words, module="predict")
    assert ended.returncode == 1
    assert said in ended.stderr
    assert ended.stderr.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in ended.stderr
