"""A progress bar on a terminal's standard error, and none elsewhere."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TimeRemainingColumn


def progress(*columns: ProgressColumn) -> Progress:
    """Return a bar with the task's name, these columns and the time that is left."""
    return Progress(
        "{task.description}",
        BarColumn(),
        *columns,
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
