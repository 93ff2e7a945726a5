"""What must be known of an exported file to use it: what export.json says."""

from __future__ import annotations

from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import keras

from seg.exported import formats
from seg.models.deployed import Scale
from seg.models.manual import Manual


def of_format(name: str) -> dict[str, Any]:
    """Say what the file is, and how it is run."""
    chosen = formats.FORMATS[name]
    packages = ("seg", "tensorflow", "keras", "numpy", *chosen.packages)
    return {
        "format": {"name": name, "file": chosen.file, "used": chosen.used},
        "versions": {package: version(package) for package in packages},
    }


def of_input(channels: int, size: tuple[int, int], scale: Scale) -> dict[str, Any]:
    """Say what the file takes."""
    fit = f"scaled to {size[0]} x {size[1]} keeping its aspect ratio, the rest around it"
    if scale.steps is None:
        unit, what = "grey value, 0 to 255", f"a picture as the model has learned from, {fit} 0"
    else:
        unit, what = "HU", f"a CT slice, {fit} {scale.black:g} HU or less"
    return {
        "name": "image",
        "shape": [None, *size, channels],
        "dtype": "float32",
        "unit": unit,
        "meaning": what,
        **asdict(scale),
    }


def of_output(model: keras.Model, size: tuple[int, int], known: Manual | None) -> dict[str, Any]:
    """Say what the file gives, and what makes a mask of it."""
    n = model.output_shape[-1]
    of_which = "of each class, the background first" if n > 1 else "of the foreground"
    return {
        "output": {
            "shape": [None, *size, n],
            "dtype": "float32",
            "meaning": f"probability {of_which}",
        },
        "classes": dict(known.labels) if known else None,
        "threshold": known.threshold if known and n <= 2 else None,
        "cleanup": asdict(known.cleanup) if known else None,
    }


def left_out(known: Manual | None, scale: Scale) -> list[str]:
    """Say what this package does around the model, and the file does not."""
    prepare = (known and known.prepare) or {}
    steps = {
        "threshold, or choice of the most probable class, and cleanup": True,
        "how intensities became grey values (prepare)": bool(prepare) and scale.steps is None,
        "how pixels became square (prepare)": bool(prepare.get("square_pixels")),
        "mean over flips": bool(known and known.flipped),
        "windows over images larger than those it has learned from": bool(known and known.seen),
    }
    return [step for step, so in steps.items() if so]
