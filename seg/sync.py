"""Send what a tracking server has missed: `python -m seg.sync outputs`."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from seg.contracts import SegError

log = logging.getLogger(__name__)


def run_folders(path: Path) -> list[Path]:
    """Return the run folders at and below a path that have something to send.

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
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    left = 0
    try:
        for folder in dict.fromkeys(run for path in given.folders for run in run_folders(path)):
            left += _said(folder, given.uri)
    except SegError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return int(left > 0)


def _said(folder: Path, uri: str | None) -> int:
    """Send what is pending of one run and say how it went; return how much is left."""
    from seg.track.run import resend

    try:
        sent, left = resend(folder, uri)
    except SegError as error:
        log.warning("%s", error)
        return 0
    sys.stdout.write(f"{folder}: {sent} sent, {left} left\n")
    return left


if __name__ == "__main__":
    sys.exit(main())
