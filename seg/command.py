"""How a command ends: what it says, and its exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable

from seg.contracts import SegError


def ended(work: Callable[[], str], left: str = "") -> int:
    """Do the work of a command, and print what it returns, or in a sentence why it does not.

    Args:
        work: returns what is printed; writes below --out.
        left: what is said to be left where the work is interrupted.

    Returns:
        The exit code: 0, 1 after an error, 130 after Ctrl-C.
    """
    try:
        said = work()
    except SegError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write(f"error: interrupted{left}\n")
        return 130
    except OSError as error:
        sys.stderr.write(f"error: {error.filename}: {error.strerror}; check --out and the disk\n")
        return 1
    sys.stdout.write(f"{said}\n")
    return 0
