"""Export a trained model, and see that it answers as before: `python -m seg.export RUN`."""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from seg import command, parts, runfolder
from seg.contracts import SegError
from seg.data.images import SUFFIXES
from seg.data.prepared import sha256
from seg.exported import formats

if TYPE_CHECKING:
    import keras

    from seg.models.manual import Manual

log = logging.getLogger(__name__)

MOST_PICTURES = 16


def export(
    checkpoint: Path, name: str, out: Path, pictures: Sequence[Path] = (), called: str = ""
) -> dict[str, Any]:
    """Write a model in a format, run it there, and compare it with Keras.

    Args:
        checkpoint: .keras file, perhaps with its run's config.yaml beside it.
        name: of the format, see `seg.exported.formats`.
        out: new or empty folder for the file and export.json.
        pictures: to compare on, such as the model was trained on, besides what is made up.
        called: what the model was called where the file is a copy that goes.

    Returns:
        What export.json says.

    Raises:
        SegError: the model cannot be exported so, or would answer otherwise; nothing is left then.
    """
    formats.require_packages(name)
    with _made(out), tempfile.TemporaryDirectory() as aside:
        # Converters and runtimes write pages about themselves to standard error.
        with runfolder.stderr_to(Path(aside, "said")):
            from seg.exported import about, verify
            from seg.models import deployed, manual, saved

            model, known = saved.load(checkpoint), manual.read(checkpoint)
            trained_in = deployed.in_float32(model)
            size, scale = _size(checkpoint, model, known), verify.scale(known)
            path = out / formats.FORMATS[name].file
            formats.write(name, deployed.deployed(model, size, scale), path)
            shape = (model.input_shape[-1], size, scale)
            found = verify.compared(
                verify.in_keras(model, scale),
                formats.load(name, path),
                [verify.read(picture, *shape) for picture in pictures],
                verify.made_up(*shape),
            )
        said = {
            "model": {
                "name": model.name,
                "given": called or str(checkpoint),
                "sha256": sha256(checkpoint),
                "trained_in": trained_in,
            },
            "input": about.of_input(*shape),
            **about.of_output(model, size, known),
            "left_out": about.left_out(known, scale),
            "prepare": known.prepare if known else None,
            "compared_with_keras": found,
            **about.of_format(name),
        }
        runfolder.write_json(out / "export.json", said)
    if known is None:
        log.warning("%s does not say how it is used: taken for a model of pictures", checkpoint)
    return said


def main(argv: Sequence[str] | None = None) -> int:
    """Export the model of a command line, print how it compares, return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m seg.export", description=__doc__)
    what = "run folder, .keras file, MLflow run id or models:/NAME@best"
    parser.add_argument("run", metavar="RUN", help=what)
    parser.add_argument("--format", required=True, choices=formats.FORMATS)
    parser.add_argument("--out", type=Path, help="new folder, else OUTPUTS/export/TIME-ID")
    parser.add_argument("--uri", help="of the tracking server, else MLFLOW_TRACKING_URI or OUTPUTS")
    pictures = "picture or folder of them to compare on, else test images of the run"
    parser.add_argument("--verify", type=Path, metavar="PATH", help=pictures)
    given = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    outputs = Path(os.environ.get("SEG_OUTPUTS", "outputs"))
    return command.ended(lambda: _exported(given, outputs), "; nothing is left")


def _exported(given: argparse.Namespace, outputs: Path) -> str:
    """Find the model of a command line, and pictures for it, and export it."""
    formats.require_packages(given.format)
    pictures = _pictures(given.verify) if given.verify else []
    with tempfile.TemporaryDirectory() as folder:
        with runfolder.stderr_to(Path(folder, "said")):
            from seg.track import find

            checkpoint = _found(given.run, find.chosen(given.uri, outputs), Path(folder))
        pictures = pictures or _tested(checkpoint.parent)
        if not pictures:
            log.warning("no test image of the run is here: compared on what is made up only")
        out = given.out or runfolder.create(outputs / "export")
        said = export(checkpoint, given.format, out, _some(pictures), given.run)
        return f"{_summary(said)}\n{out}"


def _found(run: str, uri: str, folder: Path) -> Path:
    try:
        return parts.find_checkpoint(run, uri, folder)
    except SegError as error:
        raise SegError(str(error).replace("checkpoint:", "RUN:", 1)) from error


@contextmanager
def _made(out: Path) -> Iterator[None]:
    """Make a folder, that is gone again where what follows fails."""
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise SegError(f"--out {out}: is there already; name a new folder")
    out.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        shutil.rmtree(out)
        raise


def _size(checkpoint: Path, model: keras.Model, known: Manual | None) -> tuple[int, int]:
    """Return height and width of the input.

    Raises:
        SegError: neither the model nor its manual says them.
    """
    height, width = known.size if known else model.input_shape[1:3]
    if None in (height, width):
        raise SegError(
            f"{checkpoint}: takes images of any size, {model.input_shape}, and does not say on "
            "which it was trained; give it an input of fixed size, or train it with seg.run"
        )
    return height, width


def _tested(folder: Path) -> list[Path]:
    """Return those test images of a run that still lie where it read them."""
    dataset = _json_or_yaml(folder / "config.yaml").get("dataset") or {}
    test = _json_or_yaml(folder / "splits.json").get("test") or {}
    names = {name for slices in test.values() for name in slices}
    root = Path(dataset.get("root") or folder / "none").expanduser()
    return [path for path in _below(root, "images/*") if path.stem in names]


def _json_or_yaml(file: Path) -> dict[str, Any]:
    return (yaml.safe_load(file.read_text()) or {}) if file.is_file() else {}


def _pictures(given: Path) -> list[Path]:
    """Return the pictures that --verify means."""
    found = [given] if given.is_file() else _below(given, "*")
    if not found:
        raise SegError(f"--verify {given}: holds no picture ({', '.join(SUFFIXES)})")
    return found


def _below(folder: Path, pattern: str) -> list[Path]:
    return sorted(path for path in folder.rglob(pattern) if path.suffix.lower() in SUFFIXES)


def _some(pictures: Sequence[Path]) -> list[Path]:
    """Return at most MOST_PICTURES, from all over."""
    step = max(1, len(pictures) / MOST_PICTURES)
    return [pictures[int(place)] for place in np.arange(0, len(pictures), step)]


def _summary(said: dict[str, Any]) -> str:
    found, name = said["compared_with_keras"], said["format"]["name"]
    images = f"{found['real_images']} images of the data and {found['made_up_images']} made up"
    return (
        f"largest difference to Keras {found['largest_difference']:.1e}, in {images}\n"
        f"Keras {found['keras_images_per_s']:.1f} images/s, "
        f"{name} {found['images_per_s']:.1f} images/s"
    )


if __name__ == "__main__":
    sys.exit(main())
