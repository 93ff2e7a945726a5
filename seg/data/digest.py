"""What data a number was computed from: a fingerprint of its pixels, and how much it is."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from seg.contracts import Case, Slice
from seg.data.prepared import sha256

LETTERS = 36


def contents(cases: Sequence[Case]) -> dict[str, object]:
    """Describe the cases of one side of a split.

    Returns:
        digest: the first 36 letters of the SHA-256 of all names and files, whatever their order;
        patients, cases, slices, slices_with_target: how many there are.
    """
    slices = [(case, slice_) for case in cases for slice_ in case.slices]
    with ThreadPoolExecutor() as pool:
        entries = sorted(pool.map(lambda pair: _entry(*pair), slices))
    return {
        "digest": hashlib.sha256("\n".join(entries).encode()).hexdigest()[:LETTERS],
        "patients": len({case.patient for case in cases}),
        "cases": len(cases),
        "slices": len(slices),
        "slices_with_target": sum((slice_.target_px or 0) > 0 for _, slice_ in slices),
    }


def _entry(case: Case, slice_: Slice) -> str:
    files = sha256(slice_.image), sha256(slice_.mask)
    return "\t".join((case.patient, case.volume, slice_.id, *files))
