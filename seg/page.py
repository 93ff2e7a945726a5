"""A run on one page: report.html, which needs no other file and no network."""

from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import yaml

from seg import report, tables

MOST_BYTES = 2_000_000  # of pictures, which are a third more as text
MOST_LEAKS = 20
SHEET, DICE = "figures/contact_sheet.png", "figures/test_dice.png"
OTHERS = ("figures", "describe", "summary")
COUNTS = ("patients", "cases", "cases_without_target", "false_alarms")


@dataclass(frozen=True)
class Picture:
    """A PNG file of the run.

    Attributes:
        name: its path in the run's folder.
        address: the file itself, as a browser reads it; empty where the page has no room for it.
    """

    name: str
    address: str


def write(folder: Path) -> Path:
    """Write report.html of what a run has left in its folder, and return its path.

    What a run has not left, since it was not trained or not tested, is not on the page. Pictures
    are in it up to MOST_BYTES, the most telling first; of others it says where they lie.
    """
    page = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    ).get_template("report.html.jinja")
    path = folder / "report.html"
    path.write_text(page.render(_content(folder)), encoding="utf-8")
    return path


def _content(folder: Path) -> dict[str, Any]:
    """Return what the template shows."""
    summary, origin = _json(folder, "summary.json"), _json(folder, "provenance.json")
    leaks = _json(folder, "splits.json").get("leaks", [])
    config, history = _text(folder, "config.yaml"), _rows(folder, "history.csv")
    known = yaml.safe_load(config) or {}
    return {
        "name": folder.name,
        "title": [(known.get(group) or {}).get("name") for group in ("dataset", "model")],
        "leaks": leaks[:MOST_LEAKS],
        "n_leaks": len(leaks),
        "sides": [_side(summary, side) for side in report.SIDES if f"{side}/dice" in summary],
        "chosen": tables.chosen(summary),
        "plain": tables.number(summary["val/dice_plain"]) if "val/dice_plain" in summary else "",
        "strata": tables.strata(_rows(folder, "strata.csv")),
        "training": _training(summary, len(history)),
        "pictures": _pictures(folder, list(history[0]) if history else []),
        "cases": tables.cases(_rows(folder, "cases.csv")),
        "data": tables.data(_json(folder, "data.json")),
        "config": config,
        "origin": tables.origin(origin.get("tags", {})),
        "command": report.command(origin["overrides"]) if origin else "",
        "numbers": tables.numbers(summary),
    }


def _side(summary: tables.Summary, side: str) -> dict[str, Any]:
    """Return what is known of the scores of a side."""
    dice, *classes = tables.dice(summary, side)
    return {
        "name": report.SIDES[side],
        "dice": dice,
        "classes": classes,
        "scores": tables.scores(summary, side),
        **{name: tables.exact(summary[f"{side}/{name}"]) for name in COUNTS},
    }


def _training(summary: tables.Summary, epochs: int) -> dict[str, str]:
    """Return what the best epoch was; nothing of a run that was not trained."""
    if "best/epoch" not in summary:
        return {}
    losses = {
        side: tables.number(summary.get(f"best/{side}_loss"), digits=4) for side in ("train", "val")
    }
    return {"epoch": tables.exact(summary["best/epoch"]), "epochs": str(epochs or ""), **losses}


def _pictures(folder: Path, columns: Sequence[str]) -> dict[str, list[Picture]]:
    """Return the pictures by their part of the page.

    Args:
        folder: of the run.
        columns: of history.csv, each of training with a picture of its own.
    """
    start = "train/"
    curves = [f"figures/{c.removeprefix(start)}.png" for c in columns if c.startswith(start)]
    wanted: Mapping[str, list[str]] = {"sheet": [SHEET], "dice": [DICE], "curves": curves}
    known = {name for names in wanted.values() for name in names}
    others = {part: _others(folder, part) for part in OTHERS}
    room, pictures = MOST_BYTES, {}
    for part, names in (*wanted.items(), *others.items()):
        pictures[part] = []
        for name in names:
            path = folder / name
            if not path.exists() or (part in OTHERS and name in known):
                continue
            content = path.read_bytes()
            fits = len(content) <= room
            room -= len(content) * fits
            code = base64.b64encode(content).decode()
            pictures[part].append(Picture(name, f"data:image/png;base64,{code}" if fits else ""))
    return pictures


def _others(folder: Path, part: str) -> list[str]:
    """Return the pictures of a folder of the run; samples last, for they are large."""
    names = [str(path.relative_to(folder)) for path in (folder / part).glob("*.png")]
    return sorted(names, key=lambda name: ("samples" in name, name))


def _text(folder: Path, name: str) -> str:
    path = folder / name
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _json(folder: Path, name: str) -> dict[str, Any]:
    return json.loads(_text(folder, name) or "{}")


def _rows(folder: Path, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(_text(folder, name))))
