"""Facts about `seg.models.manual`: it comes back from a model's file, which stays a model."""

import json
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest

from seg.contracts import SegError
from seg.models.manual import MEMBER, Cleanup, Manual, read, write


@pytest.fixture
def file(tmp_path):
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(1, 1)])
    model.save(tmp_path / "model.keras")
    return tmp_path / "model.keras"


FULL = Manual(
    (32, 48),
    3,
    {"liver": 1, "tumour": 4},
    (512, 500),
    stacked=True,
    sequences=2,
    raw={"plane": "axial", "time_point": None},
    prepare={"bits": 8},
    flips=("horizontal",),
    threshold=0.35,
    cleanup=Cleanup(True, 30.0, True, "px"),
    flipped=True,
)


@pytest.mark.parametrize("manual", [FULL, Manual((8, 8), 1, {}, None, False)])
def test_a_manual_comes_back_as_it_was(manual, file):
    write(manual, file)
    assert read(file) == manual


def test_a_file_with_a_manual_is_the_model_that_it_was(file):
    before = keras.saving.load_model(file, compile=False).get_weights()
    write(FULL, file)
    after = keras.saving.load_model(file, compile=False).get_weights()
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_file_without_has_none(file, tmp_path):
    assert read(file) is None
    (tmp_path / "old.h5").write_bytes(b"no zip")
    assert read(tmp_path / "old.h5") is None


def test_a_manual_in_other_words_is_refused(file):
    write(FULL, file)
    with zipfile.ZipFile(file) as kept:
        known = json.loads(kept.read(MEMBER))
    for changed in (known | {"more": 1}, {k: v for k, v in known.items() if k != "seen"}):
        other = file.with_name("other.keras")
        with zipfile.ZipFile(other, "w") as made:
            made.writestr(MEMBER, json.dumps(changed))
        with pytest.raises(SegError, match="another version of seg"):
            read(other)


def test_a_full_disk_leaves_the_model_as_it_was(file):
    """A file may not grow beyond what the model has, so that its manual finds no room."""
    before = file.read_bytes()
    code = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from seg.models.manual import Manual, write\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({len(before)}, {len(before)}))\n"
        f"write(Manual((8, 8), 1, {{}}, None, False), Path({str(file)!r}))\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "File too large" in ended.stderr
    assert file.read_bytes() == before


def test_what_was_chosen_is_said():
    assert FULL.said() == (
        "holes filled, components from 30 px on, the largest component, mean over 2 flips"
    )
    assert Manual((8, 8), 1, {}, None, True, threshold=0.4).said() == "threshold 0.4"
    assert FULL.told() == {
        "infer/threshold": 0.35,
        "infer/fill_holes": 1.0,
        "infer/min_size": 30.0,
        "infer/largest_component": 1.0,
        "infer/tta": 1.0,
    }
