"""What every test shares: quiet TensorFlow, a tiny cohort, a tiny experiment."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
for variable in ("MLFLOW_TRACKING_URI", "SEG_DATA", "SEG_OUTPUTS"):
    os.environ.pop(variable, None)

FEW = (
    "dataset.reader.patients=8",
    "dataset.reader.slices_per_patient=4",
    "dataset.reader.size=32",
    "dataset.reader.empty_fraction=0.125",
)
SMALL = (
    "dataset.image_size=32",
    "model.levels=2",
    "model.base_filters=4",
    "trainer.epochs=2",
    "trainer.batch_size=4",
    "trainer.epoch_images=1",
)
TINY = FEW + SMALL
LONG = (
    "test_run.py",
    "test_readme.py",
    "test_every_model.py",
    "test_sweep.py",
    "test_datasets.py",
    "test_workers.py",
    "test_whole_run.py",
    "test_stages.py",
)


def pytest_collection_modifyitems(items):
    """Begin with the files that take minutes, longest first: no worker is left alone with them."""
    names = {name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: names.get(item.path.name, len(LONG)))


@pytest.fixture(autouse=True)
def never_drawn():
    """Keras lists the weights that a test leaves undrawn, and would draw them in a later one."""
    yield
    if "keras" in sys.modules:
        from keras.src.backend.common import global_state

        global_state.set_global_attribute("uninitialized_variables", [])


@pytest.fixture(scope="session")
def tiny():
    """Overrides that make a run of the phantom with a U-Net last a second or two."""
    return TINY


@pytest.fixture(scope="session")
def cohort(tmp_path_factory):
    """Folder with 6 patients of 4 slices, 32x32, one of them without target."""
    from seg.data.synthetic import phantom

    root = tmp_path_factory.mktemp("cohort")
    phantom(root, 6, 4, size=32, empty_fraction=0.17, noise=0.05, seed=0)
    return next(root.iterdir())


@pytest.fixture(scope="session")
def new_store(tmp_path_factory):
    """A file as MLflow makes it at its first run, which takes a second or two."""
    from seg.track import find

    root = tmp_path_factory.mktemp("store")
    find.client(find.default_uri(root))
    return root / "mlflow.db"


@pytest.fixture
def outputs(tmp_path, new_store):
    """Folder of a test's runs, with a store that holds none."""
    (tmp_path / "outputs").mkdir()
    return Path(shutil.copy(new_store, tmp_path / "outputs")).parent


@pytest.fixture
def experiment(tmp_path, outputs):
    """Run a tiny experiment in this process: overrides in, (objective, run folder) out."""
    from hydra import compose, initialize_config_dir

    from seg.config import conf_dir, validate
    from seg.run import new_folder, run

    def start(*overrides):
        paths = (f"paths.outputs={outputs}", f"paths.data={tmp_path}/data")
        with initialize_config_dir(conf_dir(), version_base="1.3"):
            phantom = not any(override.startswith("dataset=") for override in overrides)
            tiny = TINY if phantom else SMALL
            cfg = validate(compose("config", [*tiny, *paths, *overrides]))
        folder = new_folder(cfg)
        return run(cfg, folder), folder

    return start


@pytest.fixture
def command(tmp_path, outputs):
    """Run `python -m seg.run`, or another module, in a working folder that holds no run yet."""

    def start(*words, module="run", **environment):
        return subprocess.run(
            [sys.executable, "-m", f"seg.{module}", *words],
            cwd=tmp_path,
            env=os.environ | environment,
            capture_output=True,
            text=True,
            timeout=300,
        )

    return start


@pytest.fixture
def begin():
    """Start processes, as `subprocess.Popen` does, that do not outlive the test."""
    begun = []

    def start(arguments, **options):
        begun.append(subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, **options))
        return begun[-1]

    yield start
    for process in begun:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def browser():
    """Chromium without a window, driven by selenium; skips where one is missing."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not program or not driver:
        pytest.skip("no chromium with chromedriver on this machine")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1700,2600"):
        options.add_argument(word)
    service = webdriver.ChromeService(executable_path=driver)
    browser = webdriver.Chrome(options=options, service=service)
    yield browser
    browser.quit()


@pytest.fixture(scope="session")
def readme_words(project):
    """Arguments of every `python -m seg.MODULE` of README.md, by module."""
    readme = (project / "README.md").read_text()

    def words(module):
        lines = re.findall(rf"^python -m seg.{module} (.*)$", readme, re.M)
        return [shlex.split(line, comments=True) for line in lines]

    return words


@pytest.fixture(scope="session")
def readme_runs(readme_words):
    """Arguments of every `python -m seg.run` of README.md."""
    return readme_words("run")


@pytest.fixture(scope="session")
def project():
    """Folder of the checkout."""
    return Path(__file__).parents[1]


def scan(affine, shape, intensities, label_at):
    """Image and label of a body with one organ, told in millimetres of the patient (RAS+).

    The organ lies on the patient's left (-x), in front (+y), in the upper half (+z).
    """
    import numpy as np
    from nibabel.affines import apply_affine

    voxels = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1)
    centre = apply_affine(affine, (np.array(shape) - 1) / 2)
    x, y, z = np.moveaxis(apply_affine(affine, voxels) - centre, -1, 0)
    air, body, organ = intensities
    image = np.where((x / 30) ** 2 + (y / 24) ** 2 < 1, body, air)
    inside = ((x + 12) / 9) ** 2 + ((y - 8) / 7) ** 2 + ((z - 6) / 14) ** 2 < 1
    rng = np.random.default_rng(shape[0])
    image = np.where(inside, organ, image) + rng.normal(0, 5, shape)
    return image, inside * label_at


def save_nifti(path, voxels, affine, dtype):
    import nibabel as nib
    import numpy as np

    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(np.rint(voxels).astype(dtype), affine)
    image.header.set_xyzt_units("mm", "sec")
    nib.save(image, path)


def affine_of(codes, spacing):
    """Affine of a grid whose axes run in the directions of `codes` ("LPS"), by its spacing."""
    import numpy as np
    from nibabel.orientations import axcodes2ornt

    affine = np.diag([0.0, 0, 0, 1])
    for axis, (world, flip) in enumerate(axcodes2ornt(codes)):
        affine[int(world), axis] = flip * spacing[axis]
    affine[:3, 3] = (17.5, -140.25, 33)
    return affine


def spleen(root):
    task = root / "Task09_Spleen"
    grids = [
        ("LPS", (64, 52, 10)),
        ("RAS", (64, 52, 9)),
        ("PIR", (52, 10, 64)),
        ("LAS", (64, 52, 8)),
    ]
    names = [2, 3, 6, 10]
    for name, (codes, shape) in zip(names, grids, strict=True):
        spacing = [5.0 if code in "SI" else 1.0 for code in codes]
        affine = affine_of(codes, spacing)
        image, label = scan(affine, shape, (-1000, 20, 130), 1)
        save_nifti(task / f"imagesTr/spleen_{name}.nii.gz", image, affine, "int16")
        save_nifti(task / f"labelsTr/spleen_{name}.nii.gz", label, affine, "uint8")
        (task / f"imagesTr/._spleen_{name}.nii.gz").write_bytes(b"\0\5\x16\7 Mac OS X")
    save_nifti(task / "imagesTs/spleen_1.nii.gz", image, affine, "int16")
    listing = {
        "name": "Spleen",
        "labels": {"0": "background", "1": "spleen"},
        "numTraining": 4,
        "training": [
            {"image": f"./imagesTr/spleen_{n}.nii.gz", "label": f"./labelsTr/spleen_{n}.nii.gz"}
            for n in names
        ],
        "test": ["./imagesTs/spleen_1.nii.gz"],
    }
    (task / "dataset.json").write_text(json.dumps(listing))
    return root


def pancreas_t1(root):
    for n, suffix in enumerate(["_0000", "_0000", "", "_0000"]):
        affine = affine_of("LPS", (1.25, 1.0, 3.0))
        image, label = scan(affine, (48, 52, 8 + n), (20, 400, 900), 1)
        save_nifti(root / f"t1/imagesTr/AHN_{n:04d}{suffix}.nii.gz", image, affine, "uint16")
        save_nifti(root / f"t1/labelsTr/AHN_{n:04d}.nii.gz", label, affine, "uint8")
    return root


def ms_flair(root):
    for n in (1, 2, 10, 11):
        affine = affine_of("RAS", (0.9, 0.9, 6.0))
        image, label = scan(affine, (70, 64, 6), (0, 120, 250), 1)
        for sequence in ("Flair", "T1", "T2"):
            save_nifti(root / f"Patient-{n}/{n}-{sequence}.nii", image, affine, "int16")
            save_nifti(root / f"Patient-{n}/{n}-LesionSeg-{sequence}.nii", label, affine, "uint8")
    return root


def breastdm(root):
    import cv2
    import numpy as np

    patients = {"train": ["Ma-1802", "Ma-1803", "Be-1910"], "val": ["Ma-1901"], "test": ["Ma-2001"]}
    for side, names in patients.items():
        for name in names:
            for series in ("SUB1", "SUB2", "VIBRANT+C1"):
                affine = affine_of("LPS", (1, 1, 3))
                image, label = scan(affine, (64, 52, 8), (2, 80, 200), 255)
                for k in range(2, 6):
                    below = f"BreaDM-{name}/{series}/p-{k:03d}"
                    for kind, suffix, pixels in (
                        ("images", "jpg", image),
                        ("labels", "png", label),
                    ):
                        file = root / "seg" / side / kind / f"{below}.{suffix}"
                        file.parent.mkdir(parents=True, exist_ok=True)
                        cv2.imwrite(str(file), np.clip(pixels[..., k].T, 0, 255).astype(np.uint8))
    return root


def lgg(root):
    import cv2
    import numpy as np

    for n, site in enumerate(
        ["CS_4941_19960909", "CS_4942_19970222", "DU_5849_19950405", "HT_A61A_2"]
    ):
        affine = affine_of("LPS", (1, 1, 3))
        image, label = scan(affine, (64, 64, 12), (2, 80, 200 - n), 255)
        for k in range(1, 12):
            stem = root / f"kaggle_3m/TCGA_{site}/TCGA_{site}_{k}"
            stem.parent.mkdir(parents=True, exist_ok=True)
            grey = np.clip(image[..., k].T, 0, 255).astype(np.uint8)
            cv2.imwrite(f"{stem}.tif", np.dstack([255 - grey, grey // 2, grey]))
            cv2.imwrite(f"{stem}_mask.tif", label[..., k].T.astype(np.uint8))
    (root / "kaggle_3m/data.csv").write_text("Patient,death01\nTCGA_CS_4941,1\n")
    return root


PUBLISHERS = {f.__name__: f for f in (spleen, pancreas_t1, ms_flair, breastdm, lgg)}


@pytest.fixture(scope="session")
def publisher():
    """Write a small raw tree in the layout of a dataset's publisher: name, folder -> folder."""
    return lambda name, root: PUBLISHERS[name](root)


@pytest.fixture(scope="session")
def volumes():
    """What raw trees are made of: scan, save_nifti, affine_of."""
    return SimpleNamespace(scan=scan, save_nifti=save_nifti, affine_of=affine_of)


@pytest.fixture
def dataset():
    """Reader, recipe and dataset.json text of a dataset's YAML: choice, overrides -> parts."""
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    from seg.build import build
    from seg.config import conf_dir, validate

    def parts(name, *overrides):
        with initialize_config_dir(conf_dir(), version_base="1.3"):
            data = validate(compose("config", [f"dataset={name}", *overrides])).dataset
        recipe = {key: OmegaConf.to_container(data[key]) for key in ("raw", "prepare")}
        about = {**data.about, "recipe": {"name": name, **recipe}}
        return build("dataset.raw", data.raw), build("dataset.prepare", data.prepare), about

    return parts
