"""A run's folder: made once, never reused, with the log and the traceback in it."""

from __future__ import annotations

import json
import logging
import math
import os
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger(__name__)


def create(parent: Path) -> Path:
    """Make PARENT/TIME-ID, never one that exists."""
    folder = parent / f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
    folder.mkdir(parents=True)
    return folder


@contextmanager
def logged(folder: Path) -> Iterator[None]:
    """Copy the log to run.log, and the traceback of an error, which then names that file."""
    handler = logging.FileHandler(folder / "run.log")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.getLogger().addHandler(handler)
    try:
        yield
    except BaseException as error:
        record = log.makeRecord(
            log.name, logging.ERROR, __file__, 0, "the run failed", (), sys.exc_info()
        )
        handler.handle(record)
        error.add_note(f"traceback: {folder / 'run.log'}")
        raise
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()


@contextmanager
def stderr_to(file: Path) -> Iterator[None]:
    """Send what libraries write to standard error to a file: no setting stops TensorFlow's."""
    kept = os.dup(2)
    with file.open("a") as log_file:
        os.dup2(log_file.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def write_json(path: Path, values: dict) -> None:
    """Write JSON; NaN and infinity, which JSON lacks, become null."""
    finite = {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in values.items()
    }
    path.write_text(json.dumps(finite, indent=2, allow_nan=False) + "\n")
