"""Which finished runs a command means: by folder, MLflow id, sweep or query."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import yaml

from seg.contracts import SegError
from seg.jobs import record

FILES = ("config.yaml", "cases.csv", "summary.json", "splits.json", "predictions", "overlays")


def runs(
    words: Sequence[str], uri: str | None, experiment: str | None, outputs: Path
) -> list[tuple[str, Path]]:
    """Find the runs that each word means.

    Args:
        words: the folder of a run or a sweep; the MLflow id of a run or a sweep; or a query, see
            `seg.track.find.runs`.
        uri: of the tracking server or store; None for the default.
        experiment: where a query searches; None for all.
        outputs: holds the default store, and what is downloaded.

    Returns:
        Label and folder of each, each once; a label is model and loss with the last letters of the
        folder's name, or the name in MLflow, and numbered where it is taken.

    Raises:
        SegError: a word means no run.
    """
    found: list[tuple[str, Path]] = []
    for word in words:
        folder = Path(word).resolve()
        if jobs := record.records(folder):
            done = [Path(job.folder) for job in jobs if job.state == record.FINISHED]
            found += [(_label(job), job) for job in done]
        elif folder.is_dir():
            found.append((_label(folder), folder))
        else:
            found += _tracked(word, uri, experiment, outputs)
    named: dict[str, Path] = {}
    times: Counter[str] = Counter()
    for label, folder in found:
        if folder in named.values():
            continue
        times[label] += 1
        named[f"{label} ({times[label]})" if times[label] > 1 else label] = folder
    return list(named.items())


def _tracked(
    word: str, uri: str | None, experiment: str | None, outputs: Path
) -> list[tuple[str, Path]]:
    from seg.track import find

    uri = uri or find.default_uri(outputs)
    return [
        (run.info.run_name, find.folder(run, uri, FILES, outputs / "downloaded"))
        for run in find.runs(word, uri, experiment)
    ]


def _label(folder: Path) -> str:
    """Name model and loss by a run's config; a checkpoint's are not in it."""
    try:
        config = yaml.safe_load((folder / "config.yaml").read_text())
    except FileNotFoundError:
        raise SegError(
            f"{folder} has no config.yaml; give the folder of a run, OUTPUTS/DATASET/MODEL/TIME-ID"
        ) from None
    parts = [config["model"]["name"], config["loss"]["name"]]
    return " ".join([*(["checkpoint"] if config["checkpoint"] else parts), folder.name[-6:]])
