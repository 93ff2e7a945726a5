"""Send what a tracking server has missed: `python -m seg.sync outputs`."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from seg.contracts import SegError


def run_folders(path: Path) -> list[Path]:
    """Return the run folders at and below a path that have a journal.

    Raises:
        SegError: there is no such folder, or none of a run below it.
    """
    found = sorted(events.parents[1] for events in path.rglob("tracking/events.jsonl"))
    if not found:
        what = "no run's folder there or below" if path.is_dir() else "no such folder"
        raise SegError(f"{path}: {what}; give a run's folder, or one that holds many, as outputs")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Send what is pending below the folders given; return 1 where something is left."""
    parser = argparse.ArgumentParser(prog="python -m seg.sync", description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--uri", help="of the server, where it has another address now")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # Nobody trains meanwhile: a large file on a slow line may take its time.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "300")
    try:
        folders = dict.fromkeys(run for path in given.folders for run in run_folders(path))
        left = [_left(folder, given.uri) for folder in folders]
    except SegError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("error: interrupted; what was sent is not sent again\n")
        return 130
    sys.stdout.write(f"runs: {len(left)}, with something left: {sum(map(bool, left))}\n")
    return int(any(left))


def _left(folder: Path, uri: str | None) -> int:
    """Send what is pending of one run, say so, and return how much is left."""
    from seg.track.run import resend

    try:
        sent, left = resend(folder, uri)
    except (SegError, OSError, ValueError, KeyError) as error:
        said = error if isinstance(error, SegError) else f"{folder}: cannot be sent ({error})"
        sys.stderr.write(f"{said}\n")
        return 1
    if sent or left:
        sys.stdout.write(f"{folder}: {sent} sent, {left} left\n")
    return left


if __name__ == "__main__":
    sys.exit(main())
