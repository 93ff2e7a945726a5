"""From a publisher's files to a folder of PNG slices that trains and that a person can open.

    ROOT/prepared-RECIPE/images/CASE_007.png  masks/CASE_007.png  manifest.csv  dataset.json

Axes: S slices, H height, W width, C channels.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from rich.progress import MofNCompleteColumn

from seg.contracts import SegError, Source, SourceReader
from seg.data.archive import is_archive, unpack
from seg.data.pairs import listings
from seg.data.prepared import DESCRIPTION, MANIFEST, VERSION, sha256
from seg.data.progress import progress
from seg.data.recipe import Recipe
from seg.data.slices import name_below, record_of, write_case, write_manifest

log = logging.getLogger(__name__)


def prepare(
    source: Path,
    root: Path,
    reader: SourceReader,
    recipe: Recipe,
    about: Mapping[str, Any],
    on_bad: str = "error",
) -> Path:
    """Prepare a source, unless that was done with this recipe, and return the prepared folder.

    A killed preparation goes on with the cases that it had not finished. Of several processes in
    one root, one prepares and the others wait.

    Args:
        source: archive or unpacked folder of the publisher.
        root: receives prepared-RECIPE.
        reader: of the publisher's format.
        recipe: how slices become pictures.
        about: for dataset.json, plain values: "recipe" with the arguments of reader and recipe,
            and what a person should know (name, licence, citation).
        on_bad: "error" stops at the first case that cannot be used, "skip" leaves it out.

    Raises:
        SegError: the source, or a case of it, cannot be used.
    """
    found = reader.find(source) if source.is_dir() else None
    origin = _id(_fingerprint(source, found))
    name = _id([VERSION, about["recipe"], origin])
    target, aside = root / f"prepared-{name}", root / f".preparing-{name}"
    with nullcontext() if target.is_dir() else _alone(root):
        if target.is_dir():
            log.info("already prepared: %s", target)
            return target
        log.info("preparing %s into %s", source, target)
        unpacked = root / f".unpacked-{origin}"
        folder = source if found else unpack(source, unpacked)
        cases, problems = found or reader.find(folder)
        for problem in problems.values():
            _refuse(problem, on_bad)
        left_out = problems | _write_cases(cases, folder, reader, recipe, aside, on_bad)
        counts = write_manifest(aside, cases)
        if not counts["slices_with_target"]:
            raise SegError(
                f"dataset.source: no slice under {folder} has a target; check "
                "dataset.prepare.target_labels"
            )
        left_out = {name: why.replace(f"{folder}/", "") for name, why in sorted(left_out.items())}
        description = {
            **about,
            "version": VERSION,
            "source": {"name": source.name, "id": origin},
            "counts": counts,
            "left_out": left_out,
            "manifest_sha256": sha256(aside / MANIFEST),
        }
        (aside / DESCRIPTION).write_text(json.dumps(description, indent=2) + "\n")
        shutil.rmtree(aside / "cases")
        aside.rename(target)
        for rest in (unpacked, *root.glob("..unpacked-*")):  # the latter of a killed unpacking
            shutil.rmtree(rest, ignore_errors=True)
    log.info("prepared %(cases)d cases of %(patients)d patients: %(slices)d slices", counts)
    return target


def _id(facts: object) -> str:
    """Name plain values by a checksum in which 50 and 50.0 are the same."""
    text = json.dumps(json.loads(json.dumps(facts), parse_int=float), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _fingerprint(source: Path, found: tuple[list[Source], dict[str, str]] | None) -> list:
    """Tell a source from any other, and from itself once it changed, without reading it all."""
    if found:
        cases, problems = found
        files = [file for case in cases for file in (*case.images, *case.labels)]
        files += listings(source)
    elif not source.exists():
        raise SegError(f"dataset.source: no file or folder {source.resolve()}")
    elif not is_archive(source):
        raise SegError(
            f"dataset.source: {source} is neither a folder nor an archive (.tar, .tar.gz, .zip); "
            "give the publisher's archive, or the folder that it unpacks to"
        )
    else:
        files, problems = [source], {}
    home = source if found else source.parent
    stats = [(file, file.stat()) for file in files if file.exists()]  # a link may lead nowhere
    return [
        [[name_below(file, home), stat.st_size, stat.st_mtime_ns] for file, stat in stats],
        sorted(problems),
    ]


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Hold the lock of a root's preparations, after another process that holds it."""
    root.mkdir(parents=True, exist_ok=True)
    lock = FileLock(root / ".prepare.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.info("another process is preparing in %s: waiting for it", root)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _cores() -> int:
    """Count the cores that this process may use, where the system tells."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _write_cases(
    cases: Sequence[Source],
    folder: Path,
    reader: SourceReader,
    recipe: Recipe,
    aside: Path,
    on_bad: str,
) -> dict[str, str]:
    """Write what an earlier try has not, one case a core at a time; return what was left out."""
    for kind in ("images", "masks", "cases"):
        (aside / kind).mkdir(parents=True, exist_ok=True)
    missing = [case for case in cases if not record_of(aside, case).exists()]
    if len(missing) < len(cases):
        log.info("%d of %d cases are there already", len(cases) - len(missing), len(cases))
    left_out: dict[str, str] = {}
    with progress(MofNCompleteColumn()) as bar, ThreadPoolExecutor(_cores()) as pool:
        jobs = {
            pool.submit(write_case, case, folder, reader, recipe, aside): case for case in missing
        }
        try:
            for job in bar.track(as_completed(jobs), total=len(jobs), description="preparing"):
                try:
                    job.result()
                except SegError as error:
                    _refuse(str(error), on_bad)
                    left_out[jobs[job].name] = str(error)
        finally:
            pool.shutdown(cancel_futures=True)
    if len(left_out) == len(cases):
        raise SegError(f"dataset.source: no case under {folder} can be used")
    return left_out


def _refuse(problem: str, on_bad: str) -> None:
    if on_bad == "error":
        raise SegError(f"{problem}; or leave such cases out with dataset.on_bad=skip")
    log.warning("left out: %s", problem)
